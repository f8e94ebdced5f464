// Which credentials sessions have used, and which are denied because of a revoke.
import { setImmediate as breathe } from 'node:timers/promises';
import { statements, type Queries, type Transaction } from './database.ts';
import { applicationOf, audit, underLock, type Context } from './context.ts';
import { unsettled } from './rows.ts';
import type { Credential, Page, Store } from './store.ts';

/** Rows of one generation looked at for one page; a page may be short. */
const SCAN = 2_000;

/** By bytes, as both databases order them. */
const inOrder = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

export function credentials(context: Context) {
  const { db, now, retention } = context;
  const { dialect } = db;
  const sql = statements('credentials');

  // A session that a revoke-all ended keeps its credentials where they were until it is settled; they are denied all the same.
  const deniedUntil = (revokedAt: string) => `coalesce(c.expires_at, c.token_expires_at, ${revokedAt})`;

  const isDenied = sql(`select 1 as yes from revoked_credentials where application_id = $1 and credential_id = $2 and denied_until > $3
    union all select 1 from session_credentials c
      where c.application_id = $1 and c.generation in (select generation ${unsettled}) and c.credential_id = $2 and ${deniedUntil('(select r.created_at + $4 from revocations r where r.application_id = $1 and r.generation = c.generation)')} > $3 limit 1`);
  // Where no token is reported with it, the one the session has counts.
  const remember = sql(`insert into session_credentials (application_id, session_id, credential_id, generation, expires_at, token_expires_at)
    values ($1, $2, $3, $4, $5, coalesce($6, (select token_expires_at from sessions where application_id = $1 and id = $2)))
    on conflict (application_id, session_id, credential_id) do update set expires_at = coalesce(excluded.expires_at, session_credentials.expires_at),
      token_expires_at = ${dialect.greatest('session_credentials.token_expires_at', '$6')}`);
  const renew = sql(`update session_credentials set token_expires_at = ${dialect.greatest('token_expires_at', '$3')} where application_id = $1 and session_id = $2`);
  const forgetExpired = sql(`delete from session_credentials where application_id = $1 and session_id = $2 and expires_at <= $3 and credential_id <> $4`);
  const forget = sql(`delete from session_credentials where application_id = $1 and session_id ${dialect.among(2)}`);
  const deny = sql(`insert into revoked_credentials (application_id, credential_id, denied_until)
    select c.application_id, c.credential_id, max(${deniedUntil('$3')})
    from session_credentials c
    where c.application_id = $1 and c.session_id ${dialect.among(2)} and ${deniedUntil('$3')} > $4
    group by c.application_id, c.credential_id order by c.credential_id
    on conflict (application_id, credential_id) do update set denied_until = ${dialect.greatest('excluded.denied_until', 'revoked_credentials.denied_until')}`);
  const settledPage = sql(`select credential_id as "credentialId", denied_until as "deniedUntil" from revoked_credentials
    where application_id = $1 and credential_id > $2 and denied_until > $3 order by credential_id limit $4`);
  const unsettledGenerations = sql(`select generation, created_at as "revokedAt" ${unsettled}`);
  // One generation at a time, in the order of the index: all together would have to be sorted, however many there are.
  const unsettledPage = sql(`select c.credential_id as "credentialId", ${deniedUntil('$5')} as "deniedUntil"
    from session_credentials c
    where c.application_id = $1 and c.generation = $2 and c.credential_id > $3 order by c.credential_id limit $4`);
  const unsettledEnd = sql(`select c.credential_id as "credentialId", max(${deniedUntil('$4')}) as "deniedUntil"
    from session_credentials c where c.application_id = $1 and c.generation = $2 and c.credential_id = $3 group by c.credential_id`);
  const allowSettled = sql('delete from revoked_credentials where application_id = $1 and credential_id = $2 and denied_until > $3');
  const allowUnsettled = sql(`delete from session_credentials where application_id = $1 and credential_id = $2 and generation in (select generation ${unsettled})`);

  async function denied(queries: Queries, applicationId: string, credentialId: string, at: number): Promise<boolean> {
    return await queries.first(isDenied, applicationId, credentialId, at, retention) !== undefined;
  }

  return {
    denied,
    /** @param tokenExpiresAt as it was reported with the credential, if it was. */
    async remember(tx: Transaction, applicationId: string, sessionId: string, generation: number, credential: Credential, tokenExpiresAt: number | null, at: number) {
      await tx.run(forgetExpired, applicationId, sessionId, at, credential.id);
      await tx.run(remember, applicationId, sessionId, credential.id, generation, credential.expiresAt, tokenExpiresAt);
    },
    /** The session has a new token and nobody says with which credential: it may be any that it has had. */
    renew: (tx: Transaction, applicationId: string, sessionId: string, tokenExpiresAt: number) => tx.run(renew, applicationId, sessionId, tokenExpiresAt),
    forget: (tx: Transaction, applicationId: string, sessionIds: readonly string[]) => tx.run(forget, applicationId, JSON.stringify(sessionIds)),
    /** Denies what these sessions have used, as of the moment they were revoked. */
    async deny(tx: Transaction, applicationId: string, sessionIds: readonly string[], revokedAt: number) {
      const ids = JSON.stringify(sessionIds);
      await tx.run(deny, applicationId, ids, revokedAt + retention, now());
      await tx.run(forget, applicationId, ids);
    },

    listRevokedCredentials: (async (tenant, { after = '', limit }) => {
      if (!await applicationOf(db, tenant)) return undefined;
      type Row = { credentialId: string; deniedUntil: number };
      const { applicationId } = tenant, at = now(), most = Math.max(limit + 1, SCAN);
      const until = new Map<string, number>();
      let horizon: string | undefined; // beyond it there may be more
      const add = ({ credentialId, deniedUntil }: Row) => { if (deniedUntil > at) until.set(credentialId, Math.max(until.get(credentialId) ?? 0, deniedUntil)); };
      // The unsettled first: settling moves rows from there to the other, never back.
      for (const { generation, revokedAt } of await db.all<{ generation: number; revokedAt: number }>(unsettledGenerations, applicationId)) {
        const open = await db.all<Row>(unsettledPage, applicationId, generation, after, most, revokedAt + retention);
        open.forEach(add);
        if (open.length === most) {
          const last = open.at(-1)!.credentialId;
          (await db.all<Row>(unsettledEnd, applicationId, generation, last, revokedAt + retention)).forEach(add); // more of it may follow, which may end later
          if (horizon === undefined || inOrder(last, horizon) < 0) horizon = last;
        }
        await breathe();
      }
      const settled = await db.all<Row>(settledPage, applicationId, after, at, limit + 1);
      settled.forEach(add);
      const found = [...until].map(([credentialId, deniedUntil]) => ({ credentialId, deniedUntil }))
        .filter(({ credentialId }) => horizon === undefined || inOrder(credentialId, horizon) <= 0).sort((a, b) => inOrder(a.credentialId, b.credentialId));
      const items = found.slice(0, limit);
      return { items, next: found.length > limit ? items.at(-1)!.credentialId : horizon } satisfies Page<Row>;
    }) satisfies Store['listRevokedCredentials'],

    // Alone: a revoke, or its settling, that has denied the credential and is not committed could not be seen.
    allowCredential: ((tenant, credentialId, actor) => underLock(db, tenant, 'exclusive', async (tx) => {
      const at = now();
      if (!await denied(tx, tenant.applicationId, credentialId, at)) return false;
      await tx.run(allowSettled, tenant.applicationId, credentialId, at);
      await tx.run(allowUnsettled, tenant.applicationId, credentialId);
      await audit(tx, context, tenant.applicationId, at, actor, { action: 'allowCredential', filter: { credentialId } });
      return true;
    })) satisfies Store['allowCredential'],
  };
}

export type Credentials = ReturnType<typeof credentials>;
