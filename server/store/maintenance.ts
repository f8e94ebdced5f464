// What the store does by itself: move expired sessions, end lost ones, settle revoke-alls, forget what is old. Always in small batches.
import { setImmediate as breathe } from 'node:timers/promises';
import { eventWriter, lockedIn, type Context } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements, type Transaction } from './database.ts';
import { firstId } from './id.ts';
import { CONNECTED, EXPIRED, LOST, OVER } from './rows.ts';

/** Rows in one transaction: some milliseconds on SQLite. */
const BATCH = 100;
/** Heartbeats looked at in one statement when looking for lost sessions. */
const STRIDE = 5_000;
/** Longer without a sign of the service than this, and nobody's silence in the meantime counts. */
const GAP_MS = 3_000;
const MARK_MS = 1_000;
/** A beat may be in some process's memory for a second before it is written. */
const FLUSH_LAG_MS = 2_000;
/** The sweeper says so each second; after so long without, another takes over. */
const SWEEPER_MS = 3_000;
/** A filtered revoke writes down each of its batches; one that has not for so long will not go on. */
const STALE_REVOCATION_MS = 30_000;
/** No application, and no session: where walks begin. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

export function maintenance(context: Context, credentials: Credentials, flush: () => Promise<void>) {
  const { db, now, beats, lease, retention, eventRetention, auditRetention, ring } = context;
  const { dialect } = db;
  const sql = statements('maintenance');
  const events = eventWriter(context);
  const ids = (rows: { id: string }[]) => JSON.stringify(rows.map(({ id }) => id));

  const mark = sql(`insert into service (id, seen_at, resumed_at) values (1, $1, $1) on conflict (id) do update set
    resumed_at = case when service.seen_at < $1 - ${GAP_MS} then $1 else service.resumed_at end, seen_at = $1 returning resumed_at as "resumedAt"`);
  const lead = sql(`update service set sweeper = $1, sweeper_until = $2 where id = 1 and (sweeper is null or sweeper = $1 or sweeper_until < $3) returning id`);
  const follow = sql('update service set sweeper = null where sweeper = $1');
  const sentinel = sql('select id from session_activity where application_id = $1 and id = $1');
  const setSentinel = sql('insert into session_activity (application_id, id, beat_at) values ($1, $1, $2) on conflict (application_id, id) do nothing');
  const connectedAfter = sql(`select id from sessions where application_id = $1 and bucket = $2 and id > $3 order by id limit ${BATCH}`);
  const restoreActivity = sql(`insert into session_activity (application_id, id, beat_at, last_active_at)
    select s.application_id, s.id, $3, s.last_active_at from sessions s where s.application_id = $1 and s.state < ${LOST} and s.id in ${dialect.uuids(2)}
    on conflict (application_id, id) do nothing`);
  const generationOf = sql('select generation from applications where id = $1');
  const everyApplication = sql('select id, generation, deleted_at as "deletedAt" from applications where id > $1 order by id limit 1000');

  const due = sql(`select id from sessions where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3 limit ${BATCH}`);
  const expire = sql(`update sessions set state = ${EXPIRED} where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3
    and id in ${lockedIn(db, 'sessions', 4)}`);

  const strideEnd = sql(`select id from session_activity where application_id = $1 and id > $2 order by id limit 1 offset ${STRIDE}`);
  const silent = sql('select id from session_activity where application_id = $1 and id > $2 and id <= $3 and beat_at < $4');
  const lose = sql(`update sessions set state = ${LOST}, disconnected_at = $4,
      last_active_at = coalesce((select b.last_active_at from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id), last_active_at)
    where application_id = $1 and generation = $2 and state < ${LOST} and id in ${lockedIn(db, 'sessions', 3)}
      and exists (select 1 from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id and b.beat_at < $5)
    returning id`);
  const still = sql(`delete from session_activity where application_id = $1 and id in ${lockedIn(db, 'session_activity', 2)}`);

  const unsettled = sql(`select id, generation, created_at as "revokedAt" from revocations
    where application_id = $1 and generation is not null and settled_at is null order by generation limit 1`);
  const connectedOf = sql(`select id from sessions where application_id = $1 and bucket in ($2, $3) limit ${BATCH}`);
  const lostOf = sql(`select id from sessions where application_id = $1 and generation = $2 and state = ${LOST} limit ${BATCH}`);
  const settle = sql(`update sessions set state = ${OVER}, reason = 'revoked', disconnected_at = coalesce(disconnected_at, $3),
      last_active_at = coalesce((select b.last_active_at from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id), last_active_at)
    where application_id = $1 and state < ${OVER} and id in ${lockedIn(db, 'sessions', 2)}`);
  const settled = sql('update revocations set settled_at = $3 where application_id = $1 and id = $2');

  // What a revoke-all has made final keeps its credentials until it is settled.
  const forgettable = `application_id = $1 and state >= ${LOST} and disconnected_at < $2 and (state = ${OVER} or generation = (select generation from applications where id = $1))`;
  const oldSessions = sql(`select id from sessions where ${forgettable} limit ${BATCH}`);
  const deleteSessions = sql(`delete from sessions where ${forgettable} and id in ${dialect.uuids(3)} returning id`);
  const deleteCredentials = sql(`delete from revoked_credentials where application_id = $1 and credential_id in (
    select credential_id from revoked_credentials where application_id = $1 and denied_until <= $2 order by denied_until limit ${BATCH})`);
  const deleteEvents = sql(`delete from events where application_id = $1 and (tx, seq) in (
    select x.tx, x.seq from (select tx, seq, at from events where application_id = $1 order by tx, seq limit ${BATCH}) x where x.at < $2)`);
  const deleteAudit = sql(`delete from revocations where application_id = $1 and id in (
    select id from revocations where application_id = $1 and id < $2 and (generation is null or settled_at is not null) order by id limit ${BATCH})`);
  const running = sql(`select 1 as one from revocations where application_id = $1 and state = 'running' and touched_at < $2 limit 1`);
  const interrupt = sql(`update revocations set state = 'interrupted' where application_id = $1 and state = 'running' and touched_at < $2`);

  type Pause = () => Promise<void>;

  /** Repeats a batch until it does nothing more, letting others in between. */
  async function repeat(signal: AbortSignal | undefined, pause: Pause, batch: (tx: Transaction) => Promise<number>): Promise<void> {
    while (!signal?.aborted) {
      const done = await db.transaction(batch);
      await pause();
      if (done < BATCH) return;
    }
  }

  async function expireTokens(applicationId: string, generation: number, pause: Pause, signal?: AbortSignal): Promise<void> {
    const at = now();
    if (!await db.first(due, applicationId, generation, at)) return;
    await repeat(signal, pause, async (tx) => {
      const rows = await tx.all<{ id: string }>(due, applicationId, generation, at);
      if (rows.length > 0) await tx.run(expire, applicationId, generation, at, ids(rows));
      return rows.length;
    });
  }

  async function endLost(applicationId: string, cutoff: number, signal?: AbortSignal): Promise<void> {
    for (let from = NOBODY; !signal?.aborted;) {
      const end = (await db.first<{ id: string }>(strideEnd, applicationId, from))?.id;
      const rows = await db.all<{ id: string }>(silent, applicationId, from, end ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff', cutoff);
      for (let at = 0; at < rows.length; at += BATCH) {
        const batch = rows.slice(at, at + BATCH);
        await db.transaction(async (tx) => {
          await tx.lock(applicationId, 'shared');
          const { generation } = (await tx.first<{ generation: number }>(generationOf, applicationId))!; // applications stay
          const time = now();
          const lost = await tx.all<{ id: string }>(lose, applicationId, generation, ids(batch.filter(({ id }) => !beats.has(applicationId, id))), time, cutoff);
          if (lost.length === 0) return;
          await tx.run(still, applicationId, ids(lost));
          await events.disconnected(tx, applicationId, time, generation, 'lost', lost.map(({ id }) => id));
        });
        ring(applicationId, true);
        await breathe();
        await beServing();
      }
      if (end === undefined) return;
      from = end;
      await breathe();
    }
  }

  async function settleRevocations(applicationId: string, signal?: AbortSignal, pause: Pause = breathe): Promise<void> {
    for (;;) {
      const revocation = await db.first<{ id: string; generation: number; revokedAt: number }>(unsettled, applicationId);
      if (!revocation || signal?.aborted) return;
      const { id, generation, revokedAt } = revocation;
      await flush(); // what is closed keeps the activity that was known
      const close = async (tx: Transaction, rows: { id: string }[]) => {
        if (rows.length === 0) return 0;
        await tx.run(settle, applicationId, ids(rows), revokedAt);
        await tx.run(still, applicationId, ids(rows));
        await credentials.deny(tx, applicationId, rows.map((row) => row.id), revokedAt);
        return rows.length;
      };
      await repeat(signal, pause, async (tx) => close(tx, await tx.all(connectedOf, applicationId, generation * 2 + CONNECTED, generation * 2 + EXPIRED)));
      await repeat(signal, pause, async (tx) => close(tx, await tx.all(lostOf, applicationId, generation)));
      if (!signal?.aborted) await db.transaction((tx) => tx.run(settled, applicationId, id, now()));
    }
  }

  async function forgetOld(applicationId: string, deleted: boolean, signal?: AbortSignal): Promise<void> {
    const at = now();
    const sessionsBefore = deleted ? Number.MAX_SAFE_INTEGER : at - retention;
    await repeat(signal, breathe, async (tx) => {
      const rows = await tx.all<{ id: string }>(oldSessions, applicationId, sessionsBefore);
      if (rows.length === 0) return 0;
      const gone = await tx.all<{ id: string }>(deleteSessions, applicationId, sessionsBefore, ids(rows));
      await credentials.forget(tx, applicationId, gone.map(({ id }) => id));
      return rows.length;
    });
    await repeat(signal, breathe, (tx) => tx.run(deleteEvents, applicationId, at - eventRetention));
    await repeat(signal, breathe, (tx) => tx.run(deleteCredentials, applicationId, at));
    await repeat(signal, breathe, (tx) => tx.run(deleteAudit, applicationId, firstId(at - auditRetention)));
  }

  interface Swept { id: string; generation: number; deletedAt: number | null }
  const each = async (signal: AbortSignal | undefined, work: (app: Swept) => Promise<void>) => {
    for (let after = NOBODY; !signal?.aborted;) {
      const apps = await db.all<Swept>(everyApplication, after);
      for (const app of apps) {
        if (signal?.aborted) return;
        await work(app);
      }
      if (apps.length < 1000) return;
      after = apps.at(-1)!.id;
    }
  };

  const interruptStale = (before: number) => each(undefined, async ({ id }) => {
    if (await db.first(running, id, before)) await db.transaction((tx) => tx.run(interrupt, id, before));
  });

  let markedAt = -Infinity;
  let resumedAt = 0;
  /** The mark of service, at most once a second: it is what makes an outage count for nobody, so a long round of work must not look like one. */
  async function beServing(): Promise<void> {
    const at = now();
    if (Math.abs(at - markedAt) < MARK_MS) return;
    ({ resumedAt } = (await db.transaction((tx) => tx.first<{ resumedAt: number }>(mark, at)))!); // an upsert returns its row
    markedAt = at;
  }

  /** One of the processes that share the database sweeps; when it is gone or hangs, another takes over. Two at once do no harm, only work. */
  async function isSweeper(): Promise<boolean> {
    const at = now();
    return await db.transaction((tx) => tx.first(lead, db.instance, at + SWEEPER_MS, at)) !== undefined;
  }

  /** A crash of the database empties the table of heartbeats. Whoever was connected is given a whole lease again. */
  async function restoreHeartbeats(signal?: AbortSignal): Promise<void> {
    if (await db.first(sentinel, NOBODY)) return;
    await each(signal, async ({ id: applicationId, generation }) => {
      for (const bucket of [generation * 2 + CONNECTED, generation * 2 + EXPIRED]) {
        for (let after = NOBODY; !signal?.aborted;) {
          const rows = await db.all<{ id: string }>(connectedAfter, applicationId, bucket, after);
          if (rows.length > 0) await db.transaction((tx) => tx.run(restoreActivity, applicationId, ids(rows), now()));
          if (rows.length < BATCH) break;
          after = rows.at(-1)!.id;
          await breathe();
        }
      }
    });
    if (!signal?.aborted) await db.transaction((tx) => tx.run(setSentinel, NOBODY, now()));
  }

  /** What cannot wait. Answers whether this process sweeps. */
  async function watch(signal?: AbortSignal): Promise<boolean> {
    await beServing();
    await flush();
    if (!await isSweeper()) return false;
    await restoreHeartbeats(signal);
    await findLost(signal);
    return true;
  }

  async function findLost(signal?: AbortSignal): Promise<void> {
    // As of the mark, not of now: a process or a machine that was stopped in between wakes up to clients that could not be heard.
    const at = markedAt;
    if (at - resumedAt <= lease) return;
    await each(signal, async ({ id }) => {
      await endLost(id, at - lease - FLUSH_LAG_MS, signal);
      await breathe();
    });
  }

  return {
    settleRevocations: (applicationId: string, signal?: AbortSignal) => settleRevocations(applicationId, signal),
    /** One round of the frequent duties. What can take long is interrupted by what cannot wait. */
    async maintain(signal?: AbortSignal): Promise<void> {
      if (!await watch(signal)) return;
      await interruptStale(now() - STALE_REVOCATION_MS);
      let watched = performance.now();
      const pause = async () => {
        await breathe();
        if (performance.now() - watched < MARK_MS) return;
        await watch(signal);
        watched = performance.now();
      };
      await each(signal, async ({ id, generation }) => {
        await settleRevocations(id, signal, pause);
        await expireTokens(id, generation, pause, signal);
        await pause();
      });
    },
    /** One round of forgetting. */
    forget: (signal?: AbortSignal) => each(signal, ({ id, deletedAt }) => forgetOld(id, deletedAt !== null, signal)),
    /** A filtered revoke that was running when its process died will not go on. */
    interruptRevocations: interruptStale,
    stopSweeping: async () => { await db.transaction((tx) => tx.run(follow, db.instance)); },
  };
}
