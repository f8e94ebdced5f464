// Reading an application's events, in order and without gaps, from any position.
import { toSession, sessionColumns, type SessionRow } from './rows.ts';
import { applicationOf, type Context, type EventType } from './context.ts';
import { statements } from './database.ts';
import type { EventPosition, Store, StoredEvent } from './store.ts';

export function eventLog(context: Context) {
  const { db, beats } = context;
  const { dialect } = db;
  const sql = statements('log');

  const after = sql(`select e.tx, e.seq, e.at, e.type, e.session_id as "sessionId", e.generation as "eventGeneration", e.reason as "eventReason",
      e.revocation_id as "revocationId", e.count, a.generation as current, r.created_at as "revokedAt", ${sessionColumns}
    from events e join applications a on a.id = e.application_id
    left join sessions s on s.application_id = e.application_id and s.id = e.session_id and e.type in ('session.connected', 'session.updated')
    left join session_activity b on b.application_id = s.application_id and b.id = s.id
    left join revocations r on r.application_id = s.application_id and r.generation = s.generation
    where e.application_id = $1 and (e.tx, e.seq) > ($2, $3) and ${dialect.settledTransactions}
    order by e.tx, e.seq limit $4`);
  const newest = sql(`select e.tx, e.seq from events e where e.application_id = $1 and ${dialect.settledTransactions} order by e.tx desc, e.seq desc limit 1`);

  type Row = SessionRow & { tx: number; seq: number; at: number; type: EventType; sessionId: string | null; eventGeneration: number; eventReason: 'revoked' | 'ended' | 'lost' | null;
    revocationId: string | null; count: number | null; current: number; revokedAt: number | null };

  const readEvents: Store['readEvents'] = async (applicationId, position, limit) => {
    const rows = await db.all<Row>(after, applicationId, position.tx, position.seq, limit);
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
