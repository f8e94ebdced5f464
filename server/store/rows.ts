// From a row of `sessions` to a Session: the one place that knows what states and generations mean.
import type { Session } from '../session.ts';

export const CONNECTED = 0, EXPIRED = 1, LOST = 2, OVER = 3;

/** The columns every reader of sessions selects, from `s` (sessions) and `b` (session_activity). */
export const sessionColumns = `s.id, s.state, s.reason, s.generation, s.token_expires_at as "tokenExpiresAt", s.connected_at as "connectedAt",
  s.disconnected_at as "disconnectedAt", coalesce(b.last_active_at, s.last_active_at) as "lastActiveAt", s.facts`;

export interface SessionRow {
  id: string; state: number; reason: 'ended' | 'revoked' | null; generation: number; tokenExpiresAt: number | null; connectedAt: number;
  disconnectedAt: number | null; lastActiveAt: number | null; facts: string;
}

/** @param revokedAt when the row's generation was revoked, if it was. */
export function toSession(row: SessionRow, current: number, revokedAt: number | null): Session {
  const { id, generation, connectedAt, tokenExpiresAt, lastActiveAt, facts } = row;
  const revoked = row.generation < current && row.state !== OVER;
  const disconnectReason = revoked ? 'revoked' : row.state === LOST ? 'lost' : row.reason;
  return { id, generation, connectedAt, tokenExpiresAt, lastActiveAt, facts, disconnectReason, disconnectedAt: row.disconnectedAt ?? (revoked ? revokedAt : null) };
}
