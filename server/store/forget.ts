// Forgetting what retention says.
import { setImmediate as breathe } from 'node:timers/promises';
import { idsOf, repeat } from './batches.ts';
import type { Context } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements } from './database.ts';
import { eachApplication } from './each-application.ts';
import { firstId } from './id.ts';
import { LOST, OVER } from './rows.ts';

export function forget({ db, now, retention, eventRetention, auditRetention }: Context, credentials: Credentials) {
  const sql = statements('forget'), { rowsAtOnce } = db.dialect;

  // What a revoke-all has made final keeps its credentials until it is settled.
  const forgettable = `application_id = $1 and state >= ${LOST} and disconnected_at < $2 and (state = ${OVER} or generation = (select generation from applications where id = $1))`;
  const oldSessions = sql(`select id from sessions where ${forgettable} limit ${rowsAtOnce}`);
  const deleteSessions = sql(`delete from sessions where ${forgettable} and id ${db.dialect.among(3)} returning id`);
  const deleteCredentials = sql(`delete from revoked_credentials where application_id = $1 and credential_id in (
    select credential_id from revoked_credentials where application_id = $1 and denied_until <= $2 order by denied_until limit ${rowsAtOnce})`);
  const deleteEvents = sql(`delete from events where application_id = $1 and (tx, seq) in (
    select x.tx, x.seq from (select tx, seq, at from events where application_id = $1 order by tx, seq limit ${rowsAtOnce}) x where x.at < $2)`);
  const deleteAudit = sql(`delete from revocations where application_id = $1 and id in (
    select id from revocations where application_id = $1 and id < $2 and (generation is null or settled_at is not null) order by id limit ${rowsAtOnce})`);
  // Nobody can name it any more: an id is given once.
  const deleteApplication = sql(`delete from applications where id = $1 and deleted_at is not null ${['sessions', 'events', 'revoked_credentials', 'revocations']
    .map((table) => `and not exists (select 1 from ${table} where application_id = $1)`).join(' ')}`);

  async function forgetOld(applicationId: string, deleted: boolean, signal?: AbortSignal): Promise<void> {
    const at = now();
    const sessionsBefore = deleted ? Number.MAX_SAFE_INTEGER : at - retention;
    await repeat(db, signal, breathe, async (tx) => {
      const rows = await tx.all<{ id: string }>(oldSessions, applicationId, sessionsBefore);
      if (rows.length === 0) return 0;
      const gone = await tx.all<{ id: string }>(deleteSessions, applicationId, sessionsBefore, idsOf(rows));
      await credentials.forget(tx, applicationId, gone.map(({ id }) => id));
      return rows.length;
    });
    await repeat(db, signal, breathe, (tx) => tx.run(deleteEvents, applicationId, at - eventRetention));
    await repeat(db, signal, breathe, (tx) => tx.run(deleteCredentials, applicationId, at));
    await repeat(db, signal, breathe, (tx) => tx.run(deleteAudit, applicationId, firstId(at - auditRetention)));
    if (deleted) await db.transaction((tx) => tx.run(deleteApplication, applicationId));
  }

  /** One round. */
  return (signal?: AbortSignal) => eachApplication(db, signal, ({ id, deletedAt }) => forgetOld(id, deletedAt !== null, signal), { done: true });
}
