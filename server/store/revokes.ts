// Revoking many: all of an application in one step, or what matches a filter in batches.
import { setImmediate as breathe } from 'node:timers/promises';
import { meansLost, type Session, type SessionFilter } from '../session.ts';
import { AFTER_ALL, BEFORE_ALL } from '../uuid.ts';
import { applicationOf, audit, eventWriter, lockedIn, underLock, type Context, type VisibleApplication } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements, type Queries, type Transaction } from './database.ts';
import { createdAt } from './id.ts';
import type { Lists } from './lists.ts';
import { deleteActivity, keptActivity, LOST, OVER, sessionColumns, toSession, withActivity, type SessionRow } from './rows.ts';
import type { Actor, Page, Revocation, Store, Tenant } from './store.ts';

/** Sessions in one statement that only looks for those to revoke. */
const LOOKED_AT = 500;
/** Sessions in one filtered revoke. */
const MOST = 100_000;
/** So often a filtered revoke writes down that it goes on; much longer without, and the sweep calls it interrupted. */
const TOUCH_MS = 5_000;

export function revokes(context: Context, credentials: Credentials, { walk }: Lists, flush: () => Promise<void>) {
  const { db, now, idleAfter, ring } = context;
  const { dialect } = db, { rowsAtOnce } = dialect;
  const sql = statements('revokes');
  const events = eventWriter(context);

  const countConnected = sql(dialect.countConnected);
  const nextGeneration = sql(`update applications set generation = generation + 1${dialect.onNewGeneration} where id = $1`);
  const anyLost = sql(`select 1 as one from sessions where application_id = $1 and generation = $2 and state = ${LOST} limit 1`);
  const markDeleted = sql('update applications set deleted_at = $2 where id = $1');
  const lostPage = sql(`select ${sessionColumns} from sessions s ${withActivity}
    where s.application_id = $1 and s.generation = $2 and s.state = ${LOST} and s.id > $3
      and (cast($4 as text) is null or s.user_id = $4) and (cast($5 as text) is null or s.client_name = $5) and (cast($6 as text) is null or s.hostname = $6)
    order by s.id limit ${rowsAtOnce}`);
  const close = sql(`update sessions set state = ${OVER}, reason = 'revoked', disconnected_at = coalesce(disconnected_at, $4), ${keptActivity}
    where application_id = $1 and generation = $2 and state < ${LOST} and id ${lockedIn(db, 'sessions', 3)} returning id`);
  // Also those that were connected at the start and are lost by now: final, and not counted.
  const closeLost = sql(`update sessions set state = ${OVER}, reason = 'revoked'
    where application_id = $1 and generation = $2 and state = ${LOST} and id ${lockedIn(db, 'sessions', 3)} returning id`);
  const still = sql(deleteActivity(db));
  const progress = sql(`update revocations set count = count + $3, state = $4, touched_at = $5 where application_id = $1 and id = $2`);
  const page = sql(`select id, created_at as "createdAt", action, subject, request_id as "requestId", filter, count as "disconnectedCount", state
    from revocations where application_id = $1 and id < $2 order by id desc limit $3`);

  /** The heart: one new generation, and everything of the old one is over. Answers the count, or undefined where more than `maxCount` are connected. */
  async function closeGeneration(tx: Transaction, applicationId: string, generation: number, actor: Actor, action: 'revokeSessions' | 'deleteApplication', maxCount = Infinity): Promise<number | undefined> {
    const { count } = (await tx.first<{ count: number }>(countConnected, applicationId, generation))!; // the row was just seen, under the lock
    if (count > maxCount) return undefined;
    const at = now();
    await tx.run(nextGeneration, applicationId);
    const settledAt = count > 0 || await tx.first(anyLost, applicationId, generation) ? null : at; // where nothing ended, nothing is to be written down
    const id = await audit(tx, context, applicationId, at, actor, { action, filter: {}, count, generation, settledAt });
    await events.revokedAll(tx, applicationId, at, generation, id, count);
    return count;
  }

  const revokeAll: Store['revokeAll'] = async (tenant, { maxCount, dryRun }, actor) => {
    const { applicationId } = tenant;
    const revoked = await underLock(db, tenant, 'exclusive', async (tx, app) => {
      if (dryRun) {
        const { count } = (await tx.first<{ count: number }>(countConnected, applicationId, app.generation))!; // as above
        return count > (maxCount ?? Infinity) ? 'too-many' as const : count;
      }
      return await closeGeneration(tx, applicationId, app.generation, actor, 'revokeSessions', maxCount) ?? 'too-many';
    }, 'vital');
    if (revoked === undefined) return undefined;
    if (revoked === 'too-many') return { outcome: 'too-many', limit: maxCount! }; // only where there is one
    if (!dryRun) ring(applicationId, true);
    return { outcome: 'done', count: revoked };
  };

  const deleteApplication: Store['deleteApplication'] = async (tenant, actor) => {
    const { applicationId } = tenant;
    const count = await underLock(db, tenant, 'exclusive', async (tx, app) => {
      const count = await closeGeneration(tx, applicationId, app.generation, actor, 'deleteApplication');
      await tx.run(markDeleted, applicationId, now());
      return count;
    }, 'vital');
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

    let touchedAt = now();
    const id = await db.transaction((tx) => audit(tx, context, applicationId, touchedAt, actor, { action: 'revokeSessions', filter: auditFilter, state: 'running' }), 'vital');
    const touch = async () => {
      if (Math.abs(now() - touchedAt) < TOUCH_MS) return;
      touchedAt = now();
      await db.transaction((tx) => tx.run(progress, applicationId, id, 0, 'running', touchedAt), 'vital');
    };
    try {
      await flush().catch(() => {}); // what is closed keeps the activity that was known; if it cannot be written, that is no reason not to close
      for (let after = BEFORE_ALL; ;) {
        const rows: SessionRow[] = await db.all(lostPage, applicationId, app.generation, after, filter.userId ?? null, filter.clientName ?? null, filter.hostname ?? null);
        await closeLostBatch(tenant, app.generation, rows.filter((row) => meansLost(toSession(row, app.generation, null), now(), idleAfter, filter)).map((row) => row.id));
        await touch();
        if (rows.length < rowsAtOnce) break;
        after = rows.at(-1)!.id;
        await breathe();
      }
      // Who was lost at the start and came back before its turn, and so is what it is now. Beyond the limit too: to refuse now would not undo what is done.
      await walkAll(app, filter, ({ id, connectedAt }) => {
        if (connectedAt >= startedAt && createdAt(id) < startedAt) matched.add(id);
        return true;
      }, touch);
      const ids = [...matched];
      let ended = 0;
      for (let from = 0; from < ids.length; from += rowsAtOnce) {
        ended += await closeBatch(tenant, app.generation, ids.slice(from, from + rowsAtOnce), id);
        await breathe();
      }
      await db.transaction((tx) => tx.run(progress, applicationId, id, 0, 'done', now()), 'vital');
      return { outcome: 'done', count: ended };
    } catch (error) {
      // Not waited for: where the store is out of reach for this too, the caller has waited long enough, and a later sweep says it.
      db.transaction((tx) => tx.run(progress, applicationId, id, 0, 'interrupted', now()), 'vital').catch(() => {});
      throw error;
    }
  };

  /** Walks to the end, or until told to stop. Answers how many match. */
  async function walkAll(app: VisibleApplication, filter: SessionFilter, each: (session: Session, count: number) => boolean, between = async () => {}): Promise<number> {
    let count = 0, going = true;
    for (let after: string | undefined; ;) {
      after = await walk(app, filter, { after, limit: LOOKED_AT }, (session) => going = each(session, ++count));
      await between();
      if (after === undefined || !going) return count;
    }
  }

  const generationOf = async (queries: Queries, tenant: Tenant) => (await applicationOf(queries, tenant))?.generation;

  const closeBatch = async (tenant: Tenant, generation: number, ids: readonly string[], revocationId: string): Promise<number> => {
    const { applicationId } = tenant;
    const closed = await db.transaction(async (tx) => {
      await tx.lock(applicationId, 'shared');
      if (await generationOf(tx, tenant) !== generation) return 0; // a revoke-all was faster, and has counted them
      const at = now();
      const rows = await tx.all<{ id: string }>(close, applicationId, generation, JSON.stringify(ids), at);
      const closed = rows.map(({ id }) => id);
      const lost = await tx.all<{ id: string }>(closeLost, applicationId, generation, JSON.stringify(ids));
      await settleClosed(tx, applicationId, generation, [...closed, ...lost.map(({ id }) => id)], at);
      await tx.run(progress, applicationId, revocationId, closed.length, 'running', at);
      return closed.length;
    }, 'vital');
    ring(applicationId, true);
    return closed;
  };

  const closeLostBatch = async (tenant: Tenant, generation: number, ids: readonly string[]): Promise<void> => {
    const { applicationId } = tenant;
    if (ids.length === 0) return;
    await db.transaction(async (tx) => {
      await tx.lock(applicationId, 'shared');
      if (await generationOf(tx, tenant) !== generation) return;
      const rows = await tx.all<{ id: string }>(closeLost, applicationId, generation, JSON.stringify(ids));
      await settleClosed(tx, applicationId, generation, rows.map(({ id }) => id), now());
    }, 'vital');
    ring(applicationId, true);
  };

  async function settleClosed(tx: Transaction, applicationId: string, generation: number, ids: readonly string[], at: number): Promise<void> {
    if (ids.length === 0) return;
    await tx.run(still, applicationId, JSON.stringify(ids));
    await credentials.deny(tx, applicationId, ids, at);
    await events.disconnected(tx, applicationId, at, generation, 'revoked', ids);
  }

  const listRevocations: Store['listRevocations'] = async (tenant, { after = AFTER_ALL, limit }) => {
    if (!await applicationOf(db, tenant)) return undefined;
    const rows = await db.all<Omit<Revocation, 'filter'> & { filter: string }>(page, tenant.applicationId, after, limit + 1);
    const items = rows.slice(0, limit).map((row) => ({ ...row, filter: JSON.parse(row.filter) as Revocation['filter'] })); // written by `audit`
    return { items, next: rows.length > limit ? items.at(-1)!.id : undefined } satisfies Page<Revocation>;
  };

  return { revokeAll, revokeMatching, deleteApplication, listRevocations };
}

