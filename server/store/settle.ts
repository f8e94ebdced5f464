// Writing down what is so already: tokens that have expired, what a revoke-all has ended, revokes that will not go on.
import { setImmediate as breathe } from 'node:timers/promises';
import { idsOf, repeat, type Pause } from './batches.ts';
import { lockedIn, type Context } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements, type Statement, type Transaction, type Value } from './database.ts';
import { eachApplication } from './each-application.ts';
import { CONNECTED, deleteActivity, EXPIRED, keptActivity, LOST, OVER, unsettled } from './rows.ts';

export function settle({ db, now }: Context, credentials: Credentials, flush: () => Promise<void>) {
  const sql = statements('settle'), { rowsAtOnce } = db.dialect;

  const due = sql(`select id from sessions where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3 limit ${rowsAtOnce}`);
  const expire = sql(`update sessions set state = ${EXPIRED} where application_id = $1 and generation = $2 and state = ${CONNECTED} and token_expires_at <= $3
    and id ${lockedIn(db, 'sessions', 4)}`);

  const oldestUnsettled = sql(`select id, generation, created_at as "revokedAt" ${unsettled} order by generation limit 1`);
  const connectedOf = sql(`select id from sessions where application_id = $1 and bucket in ($2, $3) limit ${rowsAtOnce}`);
  const lostOf = sql(`select id from sessions where application_id = $1 and generation = $2 and state = ${LOST} limit ${rowsAtOnce}`);
  const closeRevoked = sql(`update sessions set state = ${OVER}, reason = 'revoked', disconnected_at = coalesce(disconnected_at, $3), ${keptActivity}
    where application_id = $1 and state < ${OVER} and id ${lockedIn(db, 'sessions', 2)}`);
  const settled = sql('update revocations set settled_at = $3 where application_id = $1 and id = $2');
  const still = sql(deleteActivity(db));

  const running = sql(`select 1 as one from revocations where application_id = $1 and state = 'running' and touched_at < $2 limit 1`);
  const interrupt = sql(`update revocations set state = 'interrupted' where application_id = $1 and state = 'running' and touched_at < $2`);

  async function expireTokens(applicationId: string, generation: number, pause: Pause, signal?: AbortSignal): Promise<void> {
    const at = now();
    if (!await db.first(due, applicationId, generation, at)) return;
    await repeat(db, signal, pause, async (tx) => {
      const rows = await tx.all<{ id: string }>(due, applicationId, generation, at);
      if (rows.length > 0) await tx.run(expire, applicationId, generation, at, idsOf(rows));
      return rows.length;
    });
  }

  async function settleRevocations(applicationId: string, signal?: AbortSignal, pause: Pause = breathe): Promise<void> {
    for (;;) {
      const revocation = await db.first<{ id: string; generation: number; revokedAt: number }>(oldestUnsettled, applicationId);
      if (!revocation || signal?.aborted) return;
      const { id, generation, revokedAt } = revocation;
      await flush(); // what is closed keeps the activity that was known
      const close = async (tx: Transaction, find: Statement, ...values: Value[]) => {
        await tx.lock(applicationId, 'shared'); // who allows a credential must find it before it is moved, or after
        const rows = await tx.all<{ id: string }>(find, applicationId, ...values);
        if (rows.length === 0) return 0;
        await tx.run(closeRevoked, applicationId, idsOf(rows), revokedAt);
        await tx.run(still, applicationId, idsOf(rows));
        await credentials.deny(tx, applicationId, rows.map((row) => row.id), revokedAt);
        return rows.length;
      };
      await repeat(db, signal, pause, (tx) => close(tx, connectedOf, generation * 2 + CONNECTED, generation * 2 + EXPIRED));
      await repeat(db, signal, pause, (tx) => close(tx, lostOf, generation));
      if (!signal?.aborted) await db.transaction((tx) => tx.run(settled, applicationId, id, now()));
    }
  }

  /** A filtered revoke that was running when its process died will not go on. */
  const interruptRevocations = (before: number) => eachApplication(db, undefined, async ({ id }) => {
    if (await db.first(running, id, before)) await db.transaction((tx) => tx.run(interrupt, id, before), 'vital');
  });

  return { expireTokens, settleRevocations, interruptRevocations };
}
