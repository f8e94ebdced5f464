// From a row of `sessions` to a Session: the one place that knows what states and generations mean.
import type { Session } from '../session.ts';
import { lockedIn } from './context.ts';
import type { Database, Value } from './database.ts';

export const CONNECTED = 0, EXPIRED = 1, LOST = 2, OVER = 3;

/** Joins to `s` (sessions) what heartbeats say of it, `b`. */
export const withActivity = 'left join session_activity b on b.application_id = s.application_id and b.id = s.id';

/** When a session was last seen: what the domain calls `lastSeenActive`. Of `s` and `b`. */
export const lastSeen = 'coalesce(b.last_active_at, s.last_active_at, s.connected_at)';

/** For an update of sessions whose heartbeats go: they keep the activity that those told of. */
export const keptActivity = 'last_active_at = coalesce((select b.last_active_at from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id), last_active_at)';

/** Nobody waits for the heartbeats of these any more: application $1, and the ids in $2. */
export const deleteActivity = (db: Database): string => `delete from session_activity where application_id = $1 and id ${lockedIn(db, 'session_activity', 2)}`;

/** The revoke-alls of application $1 that are not settled: the rows of what they ended do not say so yet. */
export const unsettled = 'from revocations where application_id = $1 and generation is not null and settled_at is null';

/** The columns every reader of sessions selects, from `s` (sessions) and `b` (session_activity). */
export const sessionColumns = `s.id, s.state, s.reason, s.generation, s.token_expires_at as "tokenExpiresAt", s.connected_at as "connectedAt",
  s.disconnected_at as "disconnectedAt", coalesce(b.last_active_at, s.last_active_at) as "lastActiveAt", s.facts`;

export interface SessionRow {
  id: string; state: number; reason: 'ended' | 'revoked' | null; generation: number; tokenExpiresAt: number | null; connectedAt: number;
  disconnectedAt: number | null; lastActiveAt: number | null; facts: string;
}

/** The same, read by place. The columns' types are the table's. */
export const readSession = (v: readonly Value[]): SessionRow => ({
  id: v[0] as string, state: v[1] as number, reason: v[2] as SessionRow['reason'], generation: v[3] as number, tokenExpiresAt: v[4] as number | null,
  connectedAt: v[5] as number, disconnectedAt: v[6] as number | null, lastActiveAt: v[7] as number | null, facts: v[8] as string,
});

/** @param revokedAt when the row's generation was revoked, if it was. */
export function toSession(row: SessionRow, current: number, revokedAt: number | null): Session {
  const { id, generation, connectedAt, tokenExpiresAt, lastActiveAt, facts } = row;
  const revoked = row.generation < current && row.state !== OVER;
  const disconnectReason = revoked ? 'revoked' : row.state === LOST ? 'lost' : row.reason;
  const disconnectedAt = row.disconnectedAt ?? (revoked ? revokedAt : null);
  // The clock may have been set back in between; nothing ends before it began.
  return { id, generation, connectedAt, tokenExpiresAt, lastActiveAt, facts, disconnectReason, disconnectedAt: disconnectedAt === null ? null : Math.max(disconnectedAt, connectedAt) };
}
