// What the store does by itself: move expired sessions, end lost ones, settle revoke-alls, forget what is old. Always in small batches.
import { setImmediate as breathe } from 'node:timers/promises';
import { eventWriter, type Context } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements, type Transaction } from './database.ts';
import { CONNECTED, EXPIRED, LOST, OVER } from './rows.ts';

/** Rows in one transaction: some milliseconds on SQLite. */
const BATCH = 250;
/** Heartbeats looked at in one statement when looking for lost sessions. */
const STRIDE = 5_000;
/** Longer without a sign of the service than this, and nobody's silence in the meantime counts. */
const GAP_MS = 3_000;
/** A beat may be in some process's memory for a second before it is written. */
const FLUSH_LAG_MS = 2_000;

export function maintenance(context: Context, credentials: Credentials, flush: () => Promise<void>) {
  const { db, now, lease, retention, eventRetention, auditRetention, ring } = context;
  const { dialect } = db;
  const sql = statements('maintenance');
  const events = eventWriter(context);
  const ids = (rows: { id: string }[]) => JSON.stringify(rows.map(({ id }) => id));

  const beServing = sql(`insert into service (id, seen_at, resumed_at) values (1, $1, $1) on conflict (id) do update set
    resumed_at = case when service.seen_at < $1 - ${GAP_MS} then $1 else service.resumed_at end, seen_at = $1 returning resumed_at as "resumedAt"`);
  const everyApplication = sql('select id, generation, deleted_at as "deletedAt" from applications where id > $1 order by id limit 1000');

  const due = sql(`select id from sessions where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3 limit ${BATCH}`);
  const expire = sql(`update sessions set state = ${EXPIRED} where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3
    and id in ${dialect.uuids(4)}`);

  const strideEnd = sql(`select id from session_activity where application_id = $1 and id > $2 order by id limit 1 offset ${STRIDE}`);
  const silent = sql('select id from session_activity where application_id = $1 and id > $2 and id <= $3 and beat_at < $4');
  const lose = sql(`update sessions set state = ${LOST}, disconnected_at = $4,
      last_active_at = coalesce((select b.last_active_at from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id), last_active_at)
    where application_id = $1 and generation = $2 and state < ${LOST} and id in ${dialect.uuids(3)}
      and exists (select 1 from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id and b.beat_at < $5)
    returning id`);
  const still = sql(`delete from session_activity where application_id = $1 and id in ${dialect.uuids(2)}`);

  const unsettled = sql(`select id, generation, created_at as "revokedAt" from revocations
    where application_id = $1 and generation is not null and settled_at is null order by generation limit 1`);
  const connectedOf = sql(`select id from sessions where application_id = $1 and bucket in ($2, $3) limit ${BATCH}`);
  const lostOf = sql(`select id from sessions where application_id = $1 and generation = $2 and state = ${LOST} limit ${BATCH}`);
  const settle = sql(`update sessions set state = ${OVER}, reason = 'revoked', disconnected_at = coalesce(disconnected_at, $3),
      last_active_at = coalesce((select b.last_active_at from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id), last_active_at)
    where application_id = $1 and state < ${OVER} and id in ${dialect.uuids(2)}`);
  const settled = sql('update revocations set settled_at = $3 where application_id = $1 and id = $2');

  const oldSessions = sql(`select id from sessions where application_id = $1 and generation <= $4 and state >= ${LOST} and disconnected_at < $2 limit $3`);
  const deleteSessions = sql(`delete from sessions where application_id = $1 and state >= ${LOST} and id in ${dialect.uuids(2)}`);
  const deleteCredentials = sql('delete from revoked_credentials where application_id = $1 and denied_until <= $2');
  const deleteEvents = sql(`delete from events where application_id = $1 and at < $2
    and seq in (select seq from events where application_id = $1 order by tx, seq limit ${BATCH})`);
  const deleteAudit = sql(`delete from revocations where application_id = $1 and created_at < $2 and (generation is null or settled_at is not null)`);
  const interrupt = sql(`update revocations set state = 'interrupted' where application_id = $1 and state = 'running' and created_at < $2`);

  /** Repeats a batch until it does nothing more, letting others in between. */
  async function repeat(signal: AbortSignal | undefined, batch: (tx: Transaction) => Promise<number>): Promise<void> {
    while (!signal?.aborted) {
      const done = await db.transaction(batch);
      await breathe();
      if (done < BATCH) return;
    }
  }

  async function expireTokens(applicationId: string, generation: number, signal?: AbortSignal): Promise<void> {
    const at = now();
    if (!await db.first(due, applicationId, generation, at)) return;
    await repeat(signal, async (tx) => {
      const rows = await tx.all<{ id: string }>(due, applicationId, generation, at);
      if (rows.length > 0) await tx.run(expire, applicationId, generation, at, ids(rows));
      return rows.length;
    });
  }

  async function endLost(applicationId: string, generation: number, cutoff: number, signal?: AbortSignal): Promise<void> {
    for (let from = '00000000-0000-0000-0000-000000000000'; !signal?.aborted;) {
      const end = (await db.first<{ id: string }>(strideEnd, applicationId, from))?.id;
      const rows = await db.all<{ id: string }>(silent, applicationId, from, end ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff', cutoff);
      for (let at = 0; at < rows.length; at += BATCH) {
        const batch = rows.slice(at, at + BATCH);
        await db.transaction(async (tx) => {
          await tx.lock(applicationId, 'shared');
          const time = now();
          const lost = await tx.all<{ id: string }>(lose, applicationId, generation, ids(batch), time, cutoff);
          if (lost.length === 0) return;
          await tx.run(still, applicationId, ids(lost));
          await events.disconnected(tx, applicationId, time, generation, 'lost', lost.map(({ id }) => id));
        });
        ring(applicationId);
        await breathe();
      }
      if (end === undefined) return;
      from = end;
      await breathe();
    }
  }

  async function settleRevocations(applicationId: string, signal?: AbortSignal): Promise<void> {
    for (;;) {
      const revocation = await db.first<{ id: string; generation: number; revokedAt: number }>(unsettled, applicationId);
      if (!revocation || signal?.aborted) return;
      const { id, generation, revokedAt } = revocation;
      const close = async (tx: Transaction, rows: { id: string }[]) => {
        if (rows.length === 0) return 0;
        await tx.run(settle, applicationId, ids(rows), revokedAt);
        await tx.run(still, applicationId, ids(rows));
        await credentials.deny(tx, applicationId, rows.map((row) => row.id), revokedAt);
        return rows.length;
      };
      await repeat(signal, async (tx) => close(tx, await tx.all(connectedOf, applicationId, generation * 2 + CONNECTED, generation * 2 + EXPIRED)));
      await repeat(signal, async (tx) => close(tx, await tx.all(lostOf, applicationId, generation)));
      if (!signal?.aborted) await db.transaction((tx) => tx.run(settled, applicationId, id, now()));
    }
  }

  async function forgetOld(applicationId: string, generation: number, deleted: boolean, signal?: AbortSignal): Promise<void> {
    const at = now();
    const sessionsBefore = deleted ? Number.MAX_SAFE_INTEGER : at - retention;
    await repeat(signal, async (tx) => {
      const rows = await tx.all<{ id: string }>(oldSessions, applicationId, sessionsBefore, BATCH, generation);
      if (rows.length === 0) return 0;
      await tx.run(deleteSessions, applicationId, ids(rows));
      await credentials.forget(tx, applicationId, rows.map(({ id }) => id));
      return rows.length;
    });
    await repeat(signal, (tx) => tx.run(deleteEvents, applicationId, at - eventRetention));
    await db.transaction((tx) => tx.run(deleteCredentials, applicationId, at));
    await db.transaction((tx) => tx.run(deleteAudit, applicationId, at - auditRetention));
  }

  const each = async (signal: AbortSignal | undefined, work: (app: { id: string; generation: number; deletedAt: number | null }) => Promise<void>) => {
    for (let after = '00000000-0000-0000-0000-000000000000'; !signal?.aborted;) {
      const apps = await db.all<{ id: string; generation: number; deletedAt: number | null }>(everyApplication, after);
      for (const app of apps) {
        if (signal?.aborted) return;
        await work(app);
      }
      if (apps.length < 1000) return;
      after = apps.at(-1)!.id;
    }
  };

  return {
    settleRevocations,
    /** One round of the frequent duties. The mark of service comes first: it is what makes an outage count for nobody. */
    async maintain(signal?: AbortSignal): Promise<void> {
      const { resumedAt } = (await db.transaction((tx) => tx.first<{ resumedAt: number }>(beServing, now())))!; // an upsert returns its row
      await flush();
      const at = now();
      const cutoff = at - resumedAt <= lease ? undefined : at - lease - FLUSH_LAG_MS;
      await each(signal, async ({ id, generation }) => {
        await settleRevocations(id, signal);
        await expireTokens(id, generation, signal);
        if (cutoff !== undefined) await endLost(id, generation, cutoff, signal);
        await breathe();
      });
    },
    /** One round of forgetting. */
    forget: (signal?: AbortSignal) => each(signal, ({ id, generation, deletedAt }) => forgetOld(id, generation, deletedAt !== null, signal)),
    /** A filtered revoke that was running when its process died will not go on. */
    interruptRevocations: (before: number) => each(undefined, async ({ id }) => { await db.transaction((tx) => tx.run(interrupt, id, before)); }),
  };
}
