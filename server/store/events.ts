// Reading an application's events, in order and without gaps, from any position.
import { setTimeout as wait } from 'node:timers/promises';
import { sessionColumns, toSession, withActivity, type SessionRow } from './rows.ts';
import { applicationOf, type Context, type EventType } from './context.ts';
import { statements, type Queries } from './database.ts';
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
    ${withActivity}
    left join revocations r on r.application_id = s.application_id and r.generation = s.generation
    where e.application_id = $1 and ${dialect.eventsAfter(2, 3)}
    order by e.tx, e.seq limit $4`);
  const newest = sql(`select e.tx, e.seq, ${dialect.settledTransactions} as settled from events e where e.application_id = $1 order by e.tx desc, e.seq desc limit 1`);
  const one = sql(`select e.tx, e.seq, ${dialect.settledTransactions} as settled from events e where e.application_id = $1 and e.tx = $2 and e.seq = $3`);

  type Position = EventPosition & { settled: boolean | 1 | 0 };
  type Row = SessionRow & Position & { at: number; type: EventType; sessionId: string | null; eventGeneration: number; eventReason: 'revoked' | 'ended' | 'lost' | null;
    revocationId: string | null; count: number | null; current: number; revokedAt: number | null };

  /** Whether somebody else's transaction was in the way when it was last looked. */
  let strangers = false;

  /**
   * Those of the rows that may be read: nothing can be committed before them any more. What was committed beside a transaction that began to write
   * earlier and is still open has to wait for that one. Others of ours take milliseconds. One that is none of ours, in any database of the
   * server, may take hours: then nobody but us is let in for a moment, because whoever writes events holds the application's lock.
   */
  async function settled<R extends Position>(applicationId: string, read: (queries: Queries) => Promise<R[]>): Promise<R[]> {
    let rows = await read(db);
    const wanted = rows.at(-1);
    const isOpen = (row: R) => !row.settled && (row.tx < wanted!.tx || (row.tx === wanted!.tx && row.seq <= wanted!.seq)); // where there is a row, there is a last
    for (let pause = 2, waited = 0; rows.some(isOpen); waited += pause, pause *= 2) {
      if (strangers || waited > PATIENCE_MS) {
        strangers = true;
        return db.transaction(async (transaction) => {
          await transaction.lock(applicationId, 'exclusive');
          return read(transaction);
        });
      }
      await wait(pause);
      rows = await read(db);
    }
    if (rows.length > 0) strangers = false;
    return rows.filter((row) => row.settled);
  }

  const readEvents: Store['readEvents'] = async (applicationId, position, limit) => {
    const rows = await settled(applicationId, (queries) => queries.all<Row>(after, applicationId, position.tx, position.seq, limit));
    return rows.map((row): StoredEvent => {
      const base = { position: { tx: row.tx, seq: row.seq }, at: row.at, generation: row.eventGeneration };
      if (row.type === 'sessions.revoked') return { ...base, type: row.type, revocationId: row.revocationId!, count: row.count! }; // written by `revokedAll`
      const sessionId = row.sessionId!; // written by `session` and `disconnected`
      if (row.type === 'session.disconnected') return { ...base, type: row.type, sessionId, reason: row.eventReason! };
      const session = row.id === null ? undefined : beats.overlay(applicationId, toSession(row, row.current, row.revokedAt));
      return { ...base, type: row.type, sessionId, session };
    });
  };

  const newestEvent: Store['newestEvent'] = async (applicationId): Promise<EventPosition> => {
    const row = await db.first<Position>(newest, applicationId);
    if (row && !row.settled) await settled(applicationId, (queries) => queries.all<Position>(one, applicationId, row.tx, row.seq));
    return row ? { tx: row.tx, seq: row.seq } : { tx: 0, seq: 0 };
  };

  const isVisible: Store['isVisible'] = async (tenant) => await applicationOf(db, tenant) !== undefined;

  return { readEvents, newestEvent, isVisible };
}
