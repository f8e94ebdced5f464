// What contenders that read the rows share: the statements, written by hand, and a row as the contract's session.
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { IDLE_AFTER_MS, readWorld } from '../world.ts';

export interface Row {
  id: string; state: number; reason: string | null; generation: number; current: number; token_expires_at: number | null; connected_at: number; disconnected_at: number | null;
  last_active_at: number | null; revoked_at: number | null; application_id: string; organization_id: string; name: string; user_id: string | null; hostname: string | null;
  user_agent: string | null; client_info: string | null; created_at: string; external_id: string | null;
}

export const openRows = () => new DatabaseSync(join(readWorld().directory, 'rollcall.db'), { readOnly: true });

const select = `select s.*, coalesce(b.last_active_at, s.last_active_at) as last_active_at, a.generation as current, r.created_at as revoked_at
  from applications a join plain_sessions s on s.application_id = a.id
  left join session_activity b on b.application_id = s.application_id and b.id = s.id
  left join revocations r on r.application_id = s.application_id and r.generation = s.generation
  where a.id = ? and a.organization_id = ? and a.deleted_at is null`;
export const statements = {
  get: `${select} and s.id = ?`,
  list: `${select} and s.state = 0 and s.generation = a.generation and s.id < ? order by s.id desc limit ?`,
};

const iso = (ms: number) => new Date(ms).toISOString();

export function toSession(row: Row, now: number) {
  const over = row.state === 3 || row.generation < row.current, lost = row.state === 2;
  const disconnectReason = row.generation < row.current && row.state !== 3 ? 'revoked' : lost ? 'lost' : row.reason;
  const derivedStatus = over || lost ? 'disconnected' : row.token_expires_at !== null && row.token_expires_at <= now ? 'expired'
    : now - (row.last_active_at ?? row.connected_at) >= IDLE_AFTER_MS ? 'idle' : 'active';
  return {
    id: row.id, status: over || lost ? 'disconnected' : 'active', derivedStatus, disconnectReason: disconnectReason ?? undefined,
    tokenExpiresAt: row.token_expires_at === null ? undefined : iso(row.token_expires_at), lastActiveAt: row.last_active_at === null ? undefined : iso(row.last_active_at),
    connectedAt: iso(row.connected_at), disconnectedAt: row.disconnected_at ?? row.revoked_at ? iso(row.disconnected_at ?? row.revoked_at!) : undefined, // the line above has looked
    name: row.name, agentId: row.application_id, organizationId: row.organization_id, hostname: row.hostname, userAgent: row.user_agent,
    clientInfo: row.client_info === null ? null : JSON.parse(row.client_info) as object, createdAt: row.created_at, userId: row.user_id ?? undefined, externalId: row.external_id ?? undefined,
  };
}
