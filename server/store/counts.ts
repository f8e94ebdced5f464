// Counting sessions by what they are now: an application's, shared for five seconds, and everybody's.
import { LRUCache } from 'lru-cache';
import { applicationOf, type Context } from './context.ts';
import { statements } from './database.ts';
import { eachApplication } from './each-application.ts';
import { CONNECTED, lastSeen, unsettled, withActivity } from './rows.ts';
import type { SessionCounts, Store, Survey } from './store.ts';

const FRESH_MS = 5_000;
const TOP = 50;
/** More sessions than this are not counted in one statement on the event loop's own connection. */
const MANY = 2_000;

type Kind = 'connected' | 'closed' | 'late' | 'named' | 'client' | 'live';
interface Row { kind: Kind; name: string | null; count: number; idle: number }

export function counts({ db, now, idleAfter }: Context) {
  const sql = statements('counts');

  // Only who is connected and not expired is looked up one by one; the rest are ranges of indexes.
  const many = sql(`select 1 as one from sessions where application_id = $1 order by id limit 1 offset ${MANY}`);
  const idleOf = `count(case when ${lastSeen} <= $5 then 1 end) from sessions s ${withActivity}`;
  const whole = sql(`with named as materialized (select client_name, count(*) as count from sessions
      where application_id = $1 and client_name is not null and bucket in ($3, $3 + 1) group by client_name)
    select 'connected' as kind, null as name, (${db.dialect.countConnected}) as count, 0 as idle
    union all select 'closed', null, count(*), 0 from sessions where application_id = $1 and bucket < $3
    union all select 'late', null, count(*), ${idleOf} where s.application_id = $1 and s.generation = $2 and s.state = ${CONNECTED} and s.token_expires_at <= $4
    union all select 'named', null, cast(coalesce(sum(count), 0) as bigint), 0 from named
    union all select kind, client_name, count, 0 from (select 'client' as kind, client_name, count from named order by count desc, client_name limit ${TOP}) x
    union all select 'live', null, count(*), ${idleOf} where s.application_id = $1 and s.bucket = $3`); // all at one moment

  const unsettledSince = sql(`select min(created_at) as due ${unsettled}`);
  const overdue = sql(`select min(token_expires_at) as due from sessions where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3`);

  const recent = new LRUCache<string, { at: number; counts: Promise<SessionCounts>; done: boolean }>({ max: 1_000 });

  async function countAll(applicationId: string, generation: number, at: number): Promise<SessionCounts> {
    const isMany = await db.first(many, applicationId) !== undefined;
    const rows = await (isMany ? db.aside : db.all)<Row>(whole, applicationId, generation, generation * 2 + CONNECTED, at, at - idleAfter);
    const of = (kind: Kind) => rows.find((row) => row.kind === kind)!; // each has one
    const clients = rows.filter(({ kind }) => kind === 'client').map(({ name, count }) => ({ clientName: name, count }));
    const open = of('connected').count, nameless = open - of('named').count, idle = of('live').idle - of('late').idle;
    const byDerivedStatus = { active: of('live').count - of('late').count - idle, idle, expired: open - of('live').count + of('late').count, disconnected: of('closed').count };
    return { asOf: at, byDerivedStatus, byClientName: byClientName(nameless > 0 ? [...clients, { clientName: null, count: nameless }] : clients, open) };
  }

  /** Counted less than five seconds ago, or now. Whoever asks meanwhile waits for the count that is under way. */
  function countLately(applicationId: string, generation: number): Promise<SessionCounts> {
    const key = `${applicationId} ${generation}`, at = now(), known = recent.get(key); // a revoke-all is seen at once
    if (known && at >= known.at && (!known.done || at - known.at < FRESH_MS)) return known.counts;
    const counting = { at, counts: countAll(applicationId, generation, at), done: false };
    recent.set(key, counting);
    counting.counts.then(() => { counting.done = true; }, () => recent.delete(key));
    return counting.counts;
  }

  const countSessions: Store['countSessions'] = async (tenant) => {
    const app = await applicationOf(db, tenant);
    return app && countLately(app.id, app.generation);
  };

  const survey: Store['survey'] = async (signal) => {
    const byDerivedStatus: Survey['byDerivedStatus'] = { active: 0, idle: 0, expired: 0, disconnected: 0 };
    const due: number[] = [];
    await eachApplication(db, signal, async ({ id, generation, deletedAt }) => {
      const at = now();
      for (const row of [await db.first<{ due: number | null }>(unsettledSince, id), await db.first<{ due: number | null }>(overdue, id, generation, at)]) if (typeof row?.due === 'number') due.push(row.due);
      if (deletedAt !== null) return; // nobody sees its sessions any more
      const counts = (await countLately(id, generation)).byDerivedStatus;
      for (const status of ['active', 'idle', 'expired', 'disconnected'] as const) byDerivedStatus[status] += counts[status];
    });
    return { byDerivedStatus, oldestDueAt: due.length > 0 ? due.reduce((a, b) => Math.min(a, b)) : undefined };
  };

  return { countSessions, survey };
}

type Client = SessionCounts['byClientName']['items'][number];

function byClientName(clients: readonly Client[], open: number): SessionCounts['byClientName'] {
  const items = [...clients].sort((a, b) => b.count - a.count || ((a.clientName ?? '') < (b.clientName ?? '') ? -1 : 1)).slice(0, TOP);
  return { items, other: open - items.reduce((sum, { count }) => sum + count, 0) };
}
