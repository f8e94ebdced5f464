// Revoking many: all of an application in one step, or what matches a filter in batches.
import { setImmediate as breathe } from 'node:timers/promises';
import { lastSeenActive, statusIfConnected, type Session, type SessionFilter } from '../session.ts';
import { applicationOf, audit, eventWriter, lockedIn, type Context, type VisibleApplication } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements, type Queries, type Transaction } from './database.ts';
import { createdAt } from './id.ts';
import type { Lists } from './lists.ts';
import { LOST, OVER, sessionColumns, toSession, type SessionRow } from './rows.ts';
import type { Actor, Page, Revocation, Store, Tenant } from './store.ts';

/** Sessions in one transaction of a filtered revoke, or of settling. */
const BATCH = 100;
/** Sessions in one filtered revoke. */
const MOST = 100_000;

export function revokes(context: Context, credentials: Credentials, { walk }: Lists, flush: () => Promise<void>) {
  const { db, now, idleAfter, ring } = context;
  const { dialect } = db;
  const sql = statements('revokes');
  const events = eventWriter(context);

  const countConnected = sql(dialect.countConnected);
  const nextGeneration = sql(`update applications set generation = generation + 1${dialect.onNewGeneration} where id = $1`);
  const markDeleted = sql('update applications set deleted_at = $2 where id = $1');
  const lostPage = sql(`select ${sessionColumns} from sessions s left join session_activity b on b.application_id = s.application_id and b.id = s.id
    where s.application_id = $1 and s.generation = $2 and s.state = ${LOST} and s.id > $3
      and (cast($4 as text) is null or s.user_id = $4) and (cast($5 as text) is null or s.client_name = $5) and (cast($6 as text) is null or s.hostname = $6)
    order by s.id limit ${BATCH}`);
  const close = sql(`update sessions set state = ${OVER}, reason = 'revoked', disconnected_at = coalesce(disconnected_at, $4),
      last_active_at = coalesce((select b.last_active_at from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id), last_active_at)
    where application_id = $1 and generation = $2 and state < ${LOST} and id in ${lockedIn(db, 'sessions', 3)} returning id`);
  // Also those that were connected at the start and are lost by now: final, and not counted.
  const closeLost = sql(`update sessions set state = ${OVER}, reason = 'revoked'
    where application_id = $1 and generation = $2 and state = ${LOST} and id in ${lockedIn(db, 'sessions', 3)} returning id`);
  const still = sql(`delete from session_activity where application_id = $1 and id in ${lockedIn(db, 'session_activity', 2)}`);
  const progress = sql(`update revocations set count = count + $3, state = $4, touched_at = $5 where application_id = $1 and id = $2`);
  const page = sql(`select id, created_at as "createdAt", action, subject, request_id as "requestId", filter, count as "disconnectedCount", state
    from revocations where application_id = $1 and id < $2 order by id desc limit $3`);

  /** The heart: one new generation, and everything of the old one is over. Answers the count, or undefined where more than `maxCount` are connected. */
  async function closeGeneration(tx: Transaction, applicationId: string, generation: number, actor: Actor, action: string, maxCount = Infinity): Promise<number | undefined> {
    const { count } = (await tx.first<{ count: number }>(countConnected, applicationId, generation))!; // the row was just seen, under the lock
    if (count > maxCount) return undefined;
    const at = now();
    await tx.run(nextGeneration, applicationId);
    const id = await audit(tx, context, applicationId, at, actor, { action, filter: {}, count, generation });
    await events.revokedAll(tx, applicationId, at, generation, id, count);
    return count;
  }

  const revokeAll: Store['revokeAll'] = async (tenant, { maxCount, dryRun }, actor) => {
    const { applicationId } = tenant;
    const revoked = await db.transaction(async (tx) => {
      await tx.lock(applicationId, 'exclusive');
      const app = await applicationOf(tx, tenant);
      if (!app) return undefined;
      if (dryRun) {
        const { count } = (await tx.first<{ count: number }>(countConnected, applicationId, app.generation))!; // as above
        return count > (maxCount ?? Infinity) ? 'too-many' as const : count;
      }
      return await closeGeneration(tx, applicationId, app.generation, actor, 'revokeSessions', maxCount) ?? 'too-many';
    });
    if (revoked === undefined) return undefined;
    if (revoked === 'too-many') return { outcome: 'too-many', limit: maxCount! }; // only where there is one
    if (!dryRun) ring(applicationId, true);
    return { outcome: 'done', count: revoked };
  };

  const deleteApplication: Store['deleteApplication'] = async (tenant, actor) => {
    const { applicationId } = tenant;
    const count = await db.transaction(async (tx) => {
      await tx.lock(applicationId, 'exclusive');
      const app = await applicationOf(tx, tenant);
      if (!app) return undefined;
      const count = await closeGeneration(tx, applicationId, app.generation, actor, 'deleteApplication');
      await tx.run(markDeleted, applicationId, now());
      return count;
    });
    if (count !== undefined) ring(applicationId, true);
    return count;
  };

  const revokeMatching: Store['revokeMatching'] = async (tenant, filter, auditFilter, { maxCount, dryRun }, actor) => {
    const { applicationId } = tenant;
    const app = await applicationOf(db, tenant);
    if (!app) return undefined;
    const limit = Math.min(maxCount ?? Infinity, dryRun ? Infinity : MOST);
    const startedAt = now();
    const matched = new Set<string>();
    const count = await walkAll(app, filter, (session, count) => {
      if (count <= MOST) matched.add(session.id);
      return count <= limit;
    });
    if (count > limit) return { outcome: 'too-many', limit };
    if (dryRun) return { outcome: 'done', count };

    const id = await db.transaction((tx) => audit(tx, context, applicationId, now(), actor, { action: 'revokeSessions', filter: auditFilter, state: 'running' }));
    try {
      await flush(); // what is closed keeps the activity that was known
      for (let after = '00000000-0000-0000-0000-000000000000'; ;) {
        const rows: SessionRow[] = await db.all(lostPage, applicationId, app.generation, after, filter.userId ?? null, filter.clientName ?? null, filter.hostname ?? null);
        await closeLostBatch(tenant, app.generation, rows.filter((row) => wouldMatch(row, app.generation, filter)).map((row) => row.id));
        if (rows.length < BATCH) break;
        after = rows.at(-1)!.id;
        await breathe();
      }
      // Who was lost at the start and came back before its turn.
      await walkAll(app, filter, ({ id, connectedAt }) => {
        if (connectedAt >= startedAt && createdAt(id) < startedAt) matched.add(id);
        return true;
      });
      const ids = [...matched];
      let ended = 0;
      for (let from = 0; from < ids.length; from += BATCH) {
        ended += await closeBatch(tenant, app.generation, ids.slice(from, from + BATCH), id);
        await breathe();
      }
      await db.transaction((tx) => tx.run(progress, applicationId, id, 0, 'done', now()));
      return { outcome: 'done', count: ended };
    } catch (error) {
      // Not waited for: where the store is out of reach for this too, the caller has waited long enough, and a later sweep says it.
      db.transaction((tx) => tx.run(progress, applicationId, id, 0, 'interrupted', now())).catch(() => {});
      throw error;
    }
  };

  /** Walks to the end, or until told to stop. Answers how many match. */
  async function walkAll(app: VisibleApplication, filter: SessionFilter, each: (session: Session, count: number) => boolean): Promise<number> {
    let count = 0, going = true;
    for (let after: string | undefined; ;) {
      after = await walk(app, filter, { after, limit: BATCH }, (session) => going = each(session, ++count));
      if (after === undefined || !going) return count;
    }
  }

  /** A lost session is meant when it would be if it came back now. */
  function wouldMatch(row: SessionRow, generation: number, { statuses, lastActiveBefore }: SessionFilter): boolean {
    const session = toSession(row, generation, null);
    return statuses.has(statusIfConnected(session, now(), idleAfter)) && (lastActiveBefore === undefined || lastSeenActive(session) < lastActiveBefore);
  }

  const generationOf = async (queries: Queries, tenant: Tenant) => (await applicationOf(queries, tenant))?.generation;

  const closeBatch = async (tenant: Tenant, generation: number, ids: readonly string[], revocationId: string): Promise<number> => {
    const { applicationId } = tenant;
    const closed = await db.transaction(async (tx) => {
      await tx.lock(applicationId, 'shared');
      if (await generationOf(tx, tenant) !== generation) return 0; // a revoke-all was faster, and has counted them
      const at = now();
      const rows = await tx.all<{ id: string }>(close, applicationId, generation, JSON.stringify([...ids].sort()), at);
      const closed = rows.map(({ id }) => id);
      const lost = await tx.all<{ id: string }>(closeLost, applicationId, generation, JSON.stringify(ids));
      await settleClosed(tx, applicationId, generation, [...closed, ...lost.map(({ id }) => id)], at);
      await tx.run(progress, applicationId, revocationId, closed.length, 'running', at);
      return closed.length;
    });
    ring(applicationId, true);
    return closed;
  };

  const closeLostBatch = async (tenant: Tenant, generation: number, ids: readonly string[]): Promise<void> => {
    const { applicationId } = tenant;
    if (ids.length === 0) return;
    await db.transaction(async (tx) => {
      await tx.lock(applicationId, 'shared');
      if (await generationOf(tx, tenant) !== generation) return;
      const rows = await tx.all<{ id: string }>(closeLost, applicationId, generation, JSON.stringify([...ids].sort()));
      await settleClosed(tx, applicationId, generation, rows.map(({ id }) => id), now());
    });
    ring(applicationId, true);
  };

  async function settleClosed(tx: Transaction, applicationId: string, generation: number, ids: readonly string[], at: number): Promise<void> {
    if (ids.length === 0) return;
    await tx.run(still, applicationId, JSON.stringify(ids));
    await credentials.deny(tx, applicationId, ids, at);
    await events.disconnected(tx, applicationId, at, generation, 'revoked', ids);
  }

  const listRevocations: Store['listRevocations'] = async (tenant, { after = 'ffffffff-ffff-ffff-ffff-ffffffffffff', limit }) => {
    if (!await applicationOf(db, tenant)) return undefined;
    const rows = await db.all<Omit<Revocation, 'filter'> & { filter: string }>(page, tenant.applicationId, after, limit + 1);
    const items = rows.slice(0, limit).map((row) => ({ ...row, filter: JSON.parse(row.filter) as Revocation['filter'] })); // written by `audit`
    return { items, next: rows.length > limit ? items.at(-1)!.id : undefined } satisfies Page<Revocation>;
  };

  return { revokeAll, revokeMatching, deleteApplication, listRevocations };
}

