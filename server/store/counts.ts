// Counting an application's sessions by what they are now; the counts are shared for five seconds.
import { LRUCache } from 'lru-cache';
import { applicationOf, type Context } from './context.ts';
import { statements } from './database.ts';
import { CONNECTED, EXPIRED } from './rows.ts';
import type { SessionCounts, Store } from './store.ts';

const FRESH_MS = 5_000;
const TOP = 50;

export function counts({ db, now, idleAfter }: Context) {
  const sql = statements('counts');
  const total = sql('select count(*) as count from sessions where application_id = $1');
  const connected = sql(`select count(*) as count from sessions where application_id = $1 and bucket in ($2, $3)`);
  const expired = sql(`select count(*) as count from sessions where application_id = $1
    and (bucket = $2 or (state = ${CONNECTED} and generation = $3 and token_expires_at <= $4))`);
  const idle = sql(`select count(*) as count from sessions s left join session_activity b on b.application_id = s.application_id and b.id = s.id
    where s.application_id = $1 and s.bucket = $2 and (s.token_expires_at is null or s.token_expires_at > $3)
    and coalesce(b.last_active_at, s.last_active_at, s.connected_at) <= $4`);
  const byName = sql(`select client_name as "clientName", count(*) as count from sessions
    where application_id = $1 and bucket in ($2, $3) group by client_name order by count(*) desc, client_name limit ${TOP}`);

  const recent = new LRUCache<string, { at: number; counts: Promise<SessionCounts> }>({ max: 1_000 });

  async function count(applicationId: string, generation: number, at: number): Promise<SessionCounts> {
    const live = generation * 2 + CONNECTED, late = generation * 2 + EXPIRED;
    const number = async (...query: Parameters<typeof db.first>) => (await db.first<{ count: number }>(...query))!.count; // an aggregate has a row
    const all = await number(total, applicationId);
    const open = await number(connected, applicationId, live, late);
    const expiredCount = await number(expired, applicationId, late, generation, at);
    const idleCount = await number(idle, applicationId, live, at, at - idleAfter);
    const items = await db.all<{ clientName: string | null; count: number }>(byName, applicationId, live, late);
    return {
      asOf: at,
      byDerivedStatus: { active: Math.max(0, open - expiredCount - idleCount), idle: idleCount, expired: expiredCount, disconnected: Math.max(0, all - open) },
      byClientName: { items, other: Math.max(0, open - items.reduce((sum, item) => sum + item.count, 0)) },
    };
  }

  const countSessions: Store['countSessions'] = async (tenant) => {
    const app = await applicationOf(db, tenant);
    if (!app) return undefined;
    const key = `${app.id} ${app.generation}`; // a revoke-all is seen at once
    const at = now();
    const known = recent.get(key);
    if (known && at - known.at < FRESH_MS && at >= known.at) return known.counts;
    const counting = count(app.id, app.generation, at);
    recent.set(key, { at, counts: counting });
    counting.catch(() => recent.delete(key));
    return counting;
  };

  return { countSessions };
}
