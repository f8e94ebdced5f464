// What every part of the store shares, and the first thing each of them asks: may this caller see this application?
import type { Beats } from './beats.ts';
import { statements, type Database, type Queries, type Transaction, type Urgency, type Value } from './database.ts';
import type { Actor, Application, AuditFilter, Revocation, Tenant } from './store.ts';

export interface Context {
  readonly db: Database;
  readonly now: () => number;
  readonly newId: (now: number) => string;
  readonly beats: Beats;
  readonly idleAfter: number;
  readonly lease: number;
  readonly retention: number;
  readonly eventRetention: number;
  readonly auditRetention: number;
  /** Something about an application was committed; readers of its events should look, those elsewhere at once only when somebody was cut. */
  readonly ring: (applicationId: string, urgent: boolean) => void;
}

export interface VisibleApplication extends Application { readonly generation: number }

/** The tenancy condition on `a` (applications), with parameters $1 to $3: see `tenantValues`. */
export const visible = 'a.id = $1 and a.organization_id = $2 and a.id = coalesce($3, a.id) and a.deleted_at is null';
export const tenantValues = ({ applicationId, organizationId, boundTo }: Tenant): [Value, Value, Value] => [applicationId, organizationId, boundTo ?? null];

const sql = statements('context');
const findApplication = sql(`select a.id, a.name, a.organization_id as "organizationId", a.created_at as "createdAt", a.generation
  from applications a where ${visible}`);

export const applicationOf = (queries: Queries, tenant: Tenant): Promise<VisibleApplication | undefined> =>
  queries.first<VisibleApplication>(findApplication, ...tenantValues(tenant));

/**
 * A transaction that holds the application's lock, where the caller may see the application. That is asked before: who may not would otherwise wait for
 * those who write there, and keep them waiting. And again under the lock, because it may have been deleted meanwhile.
 */
export async function underLock<T>(db: Database, tenant: Tenant, mode: 'shared' | 'exclusive', work: (tx: Transaction, app: VisibleApplication) => Promise<T>, urgency?: Urgency): Promise<T | undefined> {
  if (!await applicationOf(db, tenant)) return undefined;
  return db.transaction(async (tx) => {
    await tx.lock(tenant.applicationId, mode);
    const app = await applicationOf(tx, tenant);
    return app && work(tx, app);
  }, urgency);
}

/** What follows `id` for the rows of these ids (parameter `n`) of application $1, locked in order. An array, which is made once: a set that is joined may be made for every row. */
export const lockedIn = ({ dialect }: Database, table: 'sessions' | 'session_activity', n: number): string =>
  dialect.lockRows === '' ? dialect.among(n) : `= any (array(select x.id from ${table} x where x.application_id = $1 and x.id ${dialect.among(n)} order by x.id${dialect.lockRows}))`;

export type EventType = 'session.connected' | 'session.updated' | 'session.disconnected' | 'sessions.revoked';

/** Writes down, in the transaction of a change, that it happened to these sessions. */
export function eventWriter({ db: { dialect } }: Pick<Context, 'db'>) {
  const sql = statements('events');
  const one = sql('insert into events (application_id, at, type, session_id, generation, reason) values ($1, $2, $3, $4, $5, $6)');
  const many = sql(`insert into events (application_id, at, type, session_id, generation, reason)
    select x.application_id, $2, 'session.disconnected', x.id, $3, $4 from sessions x where x.application_id = $1 and x.id ${dialect.among(5)} order by x.id`);
  const all = sql(`insert into events (application_id, at, type, generation, revocation_id, count) values ($1, $2, 'sessions.revoked', $3, $4, $5)`);
  return {
    session: (tx: Transaction, applicationId: string, at: number, type: EventType, sessionId: string, generation: number, reason: string | null = null) =>
      tx.run(one, applicationId, at, type, sessionId, generation, reason),
    disconnected: (tx: Transaction, applicationId: string, at: number, generation: number, reason: string, ids: readonly string[]) =>
      tx.run(many, applicationId, at, generation, reason, JSON.stringify(ids)),
    revokedAll: (tx: Transaction, applicationId: string, at: number, generation: number, revocationId: string, count: number) =>
      tx.run(all, applicationId, at, generation, revocationId, count),
  };
}

const insertRevocation = sql(`insert into revocations (application_id, id, created_at, action, subject, request_id, filter, count, state, generation, settled_at, touched_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $3)`);

/** A row of the audit. Answers its id. */
export async function audit(tx: Transaction, context: Context, applicationId: string, now: number, actor: Actor,
  { action, filter, count = 0, state = 'done', generation = null, settledAt = null }:
  { action: Revocation['action'] | 'deleteApplication'; filter: AuditFilter; count?: number; state?: 'running' | 'done'; generation?: number | null; settledAt?: number | null }): Promise<string> {
  const id = context.newId(now);
  await tx.run(insertRevocation, applicationId, id, now, action, actor.subject, actor.requestId, JSON.stringify(filter), count, state, generation, settledAt);
  return id;
}
