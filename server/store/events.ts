// Reading an application's events, in order and without gaps, from any position.
import { setTimeout as wait } from 'node:timers/promises';
import { toSession, sessionColumns, type SessionRow } from './rows.ts';
import { applicationOf, type Context, type EventType } from './context.ts';
import { statements } from './database.ts';
import type { EventPosition, Store, StoredEvent } from './store.ts';

/** So long it is waited for other transactions to finish; then for those of this application alone. */
const PATIENCE_MS = 150;

export function eventLog(context: Context) {
  const { db, beats } = context;
  const { dialect } = db;
  const sql = statements('log');

  const after = sql(`select e.tx, e.seq, e.at, e.type, e.session_id as "sessionId", e.generation as "eventGeneration", e.reason as "eventReason",
      e.revocation_id as "revocationId", e.count, a.generation as current, r.created_at as "revokedAt", ${sessionColumns},
      ${dialect.settledTransactions} as settled
    from events e join applications a on a.id = e.application_id
    left join sessions s on s.application_id = e.application_id and s.id = e.session_id and e.type in ('session.connected', 'session.updated')
    left join session_activity b on b.application_id = s.application_id and b.id = s.id
    left join revocations r on r.application_id = s.application_id and r.generation = s.generation
    where e.application_id = $1 and ${dialect.eventsAfter(2, 3)}
    order by e.tx, e.seq limit $4`);
  const newest = sql(`select e.tx, e.seq from events e where e.application_id = $1 and ${dialect.settledTransactions} order by e.tx desc, e.seq desc limit 1`);

  type Row = SessionRow & { tx: number; seq: number; at: number; type: EventType; sessionId: string | null; eventGeneration: number; eventReason: 'revoked' | 'ended' | 'lost' | null;
    revocationId: string | null; count: number | null; current: number; revokedAt: number | null; settled: boolean | 1 | 0 };

  /**
   * All of these rows that may be read: those before which nothing can be committed any more. What was committed beside a transaction that began to write
   * before it and is still open has to wait for that one. Others of ours take milliseconds. One that is none of ours, in any database of the
   * server, may take hours: then nobody but us writes for a moment, because whoever writes events holds the application's lock.
   */
  async function settledRows(applicationId: string, { tx, seq }: EventPosition, limit: number): Promise<Row[]> {
    const read = () => db.all<Row>(after, applicationId, tx, seq, limit);
    let rows = await read();
    const last = rows.at(-1);
    const isUnsettled = (row: Row) => !row.settled && (row.tx < last!.tx || (row.tx === last!.tx && row.seq <= last!.seq)); // where there is a row, there is a last
    for (let pause = 2, waited = 0; rows.some(isUnsettled); waited += pause, pause *= 2) {
      if (waited > PATIENCE_MS) {
        return db.transaction(async (transaction) => {
          await transaction.lock(applicationId, 'exclusive');
          return transaction.all<Row>(after, applicationId, tx, seq, limit);
        });
      }
      await wait(pause);
      rows = await read();
    }
    return rows.filter((row) => row.settled);
  }

  const readEvents: Store['readEvents'] = async (applicationId, position, limit) => {
    const rows = await settledRows(applicationId, position, limit);
    return rows.map((row): StoredEvent => {
      const base = { position: { tx: row.tx, seq: row.seq }, at: row.at, generation: row.eventGeneration };
      if (row.type === 'sessions.revoked') return { ...base, type: row.type, revocationId: row.revocationId!, count: row.count! }; // written by `revokedAll`
      const sessionId = row.sessionId!; // written by `session` and `disconnected`
      if (row.type === 'session.disconnected') return { ...base, type: row.type, sessionId, reason: row.eventReason! };
      const session = row.id === null ? undefined : beats.overlay(applicationId, toSession(row, row.current, row.revokedAt));
      return { ...base, type: row.type, sessionId, session };
    });
  };

  const newestEvent: Store['newestEvent'] = async (applicationId): Promise<EventPosition> =>
    await db.first<EventPosition>(newest, applicationId) ?? { tx: 0, seq: 0 };

  const isVisible: Store['isVisible'] = async (tenant) => await applicationOf(db, tenant) !== undefined;

  return { readEvents, newestEvent, isVisible };
}
