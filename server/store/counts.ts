// Counting an application's sessions by what they are now; the counts are shared for five seconds.
import { LRUCache } from 'lru-cache';
import { setImmediate as breathe } from 'node:timers/promises';
import { applicationOf, type Context } from './context.ts';
import { statements } from './database.ts';
import { CONNECTED, EXPIRED } from './rows.ts';
import type { SessionCounts, Store } from './store.ts';

const FRESH_MS = 5_000;
const TOP = 50;
/** Sessions counted in one statement, and looked at more closely in one: a few milliseconds of SQLite's time each. */
const COUNTED = 20_000, SORTED = 2_000;
const NOBODY = '00000000-0000-0000-0000-000000000000';

export function counts({ db, now, idleAfter }: Context) {
  const sql = statements('counts');
  const count = sql(`select count(*) as count, max(cast(id as text)) as last from (
    select id from sessions where application_id = $1 and id > $2 order by id limit ${COUNTED}) x`);
  const sort = sql(`select client_name as "clientName", count(*) as count, max(cast(id as text)) as last,
      sum(case when token_expires_at <= $4 then 1 else 0 end) as expired,
      sum(case when (token_expires_at is null or token_expires_at > $4) and seen <= $5 then 1 else 0 end) as idle
    from (select s.id, s.client_name, s.token_expires_at, coalesce(b.last_active_at, s.last_active_at, s.connected_at) as seen
      from sessions s left join session_activity b on b.application_id = s.application_id and b.id = s.id
      where s.application_id = $1 and s.bucket = $2 and s.id > $3 order by s.id limit ${SORTED}) x group by client_name`);

  const recent = new LRUCache<string, { at: number; counts: Promise<SessionCounts> }>({ max: 1_000 });

  /** In pieces: of a million sessions, one statement would take a second in which nothing else happens on SQLite. */
  async function countAll(applicationId: string, generation: number, at: number): Promise<SessionCounts> {
    const byName = new Map<string | null, number>();
    let all = 0, expired = 0, idle = 0;
    for (const bucket of [generation * 2 + CONNECTED, generation * 2 + EXPIRED]) {
      for (let after = NOBODY, more = true; more; await breathe()) {
        const rows = await db.all<{ clientName: string | null; count: number; last: string; expired: number; idle: number }>(sort, applicationId, bucket, after, at, at - idleAfter);
        let seen = 0;
        for (const row of rows) {
          byName.set(row.clientName, (byName.get(row.clientName) ?? 0) + row.count);
          expired += row.expired;
          idle += row.idle;
          seen += row.count;
          if (row.last > after) after = row.last;
        }
        more = seen === SORTED;
      }
    }
    for (let after = NOBODY, more = true; more; await breathe()) {
      const { count: seen, last } = (await db.first<{ count: number; last: string | null }>(count, applicationId, after))!; // an aggregate has a row
      all += seen;
      after = last ?? after;
      more = seen === COUNTED;
    }
    const items = [...byName].map(([clientName, count]) => ({ clientName, count })).sort((a, b) => b.count - a.count || ((a.clientName ?? '') < (b.clientName ?? '') ? -1 : 1));
    const open = items.reduce((sum, item) => sum + item.count, 0), top = items.slice(0, TOP);
    return {
      asOf: at,
      byDerivedStatus: { active: open - expired - idle, idle, expired, disconnected: Math.max(0, all - open) },
      byClientName: { items: top, other: open - top.reduce((sum, item) => sum + item.count, 0) },
    };
  }

  const countSessions: Store['countSessions'] = async (tenant) => {
    const app = await applicationOf(db, tenant);
    if (!app) return undefined;
    const key = `${app.id} ${app.generation}`; // a revoke-all is seen at once
    const at = now();
    const known = recent.get(key);
    if (known && at - known.at < FRESH_MS && at >= known.at) return known.counts;
    const counting = countAll(app.id, app.generation, at);
    recent.set(key, { at, counts: counting });
    counting.catch(() => recent.delete(key));
    return counting;
  };

  return { countSessions };
}
