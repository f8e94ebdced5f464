// Sessions one at a time: connecting, reading, ending.
import type { Session } from '../session.ts';
import { audit, eventWriter, tenantValues, underLock, visible, type Context, type VisibleApplication } from './context.ts';
import type { Credentials } from './credentials.ts';
import { statements, type Transaction, type Value } from './database.ts';
import { createdAt } from './id.ts';
import { CONNECTED, EXPIRED, LOST, OVER, keptActivity, readSession, sessionColumns, toSession, withActivity, type SessionRow } from './rows.ts';
import type { Connected, Credential, NewSession, Store } from './store.ts';

type CurrentRow = SessionRow & { current: number; revokedAt: number | null };
/** A row of `get`. */
function readCurrent(columns: readonly Value[]): CurrentRow {
  const row = readSession(columns) as CurrentRow; // it becomes one
  row.current = columns[9] as number;
  row.revokedAt = columns[10] as number | null;
  return row;
}

export function sessions(context: Context, credentials: Credentials) {
  const { db, now, newId, beats, ring } = context;
  const sql = statements('sessions');
  const events = eventWriter(context);

  const joined = `sessions s ${withActivity}`;
  const get = sql(`select ${sessionColumns}, a.generation as current, r.created_at as "revokedAt"
    from applications a join sessions s on s.application_id = a.id ${withActivity}
    left join revocations r on r.application_id = s.application_id and r.generation = s.generation
    where ${visible} and s.id = $4 and s.owner = coalesce($5, s.owner)`, readCurrent);
  const find = sql(`select ${sessionColumns} from ${joined} where s.application_id = $1 and s.id = $2`);
  // Locked: two who end the same session at once come one after the other, and the second sees that it is over.
  const findToClose = sql(`select ${sessionColumns} from ${joined} where s.application_id = $1 and s.id = $2 and s.owner = coalesce($3, s.owner)
    ${db.dialect.lockRows && `${db.dialect.lockRows} of s`}`);
  const findExternal = sql(`select ${sessionColumns} from ${joined}
    where s.application_id = $1 and s.generation = $2 and s.owner = $3 and s.external_id = $4 and s.state < ${OVER}`);
  const insert = sql(`insert into sessions (application_id, id, generation, state, owner, user_id, client_name, hostname, external_id,
    token_expires_at, connected_at, facts) values ($1, $2, $3, ${CONNECTED}, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing`);
  const beat = sql(`insert into session_activity (application_id, id, beat_at, last_active_at) values ($1, $2, $3, $4)
    on conflict (application_id, id) do update set beat_at = excluded.beat_at`);
  const refresh = sql(`update sessions set
      connected_at = case when state = ${LOST} and $4 > connected_at then $4 else connected_at end,
      disconnected_at = null,
      token_expires_at = coalesce($5, token_expires_at),
      state = case when coalesce($5, token_expires_at) <= $4 then ${EXPIRED} else ${CONNECTED} end
    where application_id = $1 and id = $2 and generation = $3 and state < ${OVER}`);
  const close = sql(`update sessions set state = ${OVER}, reason = $4, disconnected_at = coalesce(disconnected_at, $5), ${keptActivity}
    where application_id = $1 and id = $2 and generation = $3 and state < ${OVER}`);
  const still = sql('delete from session_activity where application_id = $1 and id = $2');
  const keepActivity = sql('update sessions set last_active_at = $3 where application_id = $1 and id = $2');

  /**
   * Makes a session connected again and current: token, credential, and from lost to connected. The caller holds the application's lock and has
   * seen that the row is not over and of the current generation; the statement asks again.
   */
  async function revive(tx: Transaction, applicationId: string, row: Revivable, at: number, tokenExpiresAt: number | null, credential: Credential | undefined): Promise<boolean> {
    if (await tx.run(refresh, applicationId, row.id, row.generation, at, tokenExpiresAt) === 0) return false;
    const renewed = tokenExpiresAt !== null && tokenExpiresAt !== row.tokenExpiresAt;
    if (credential) await credentials.remember(tx, applicationId, row.id, row.generation, credential, tokenExpiresAt, at);
    else if (renewed) await credentials.renew(tx, applicationId, row.id, tokenExpiresAt);
    await tx.run(beat, applicationId, row.id, at, row.lastActiveAt);
    if (renewed || row.state === LOST) await events.session(tx, applicationId, at, 'session.updated', row.id, row.generation);
    return true;
  }

  /** The client left, or an operator threw it out: over for good. Answers how many connections that closed, 0 or 1. */
  async function finish(tx: Transaction, applicationId: string, row: SessionRow, current: number, reason: 'ended' | 'revoked', at: number): Promise<0 | 1> {
    if (row.generation < current || row.state === OVER) return 0;
    await tx.run(close, applicationId, row.id, row.generation, reason, at);
    await tx.run(still, applicationId, row.id);
    const { lastActiveAt } = beats.overlay(applicationId, toSession(row, current, null));
    if (lastActiveAt !== row.lastActiveAt) await tx.run(keepActivity, applicationId, row.id, lastActiveAt);
    if (reason === 'revoked') await credentials.deny(tx, applicationId, [row.id], at);
    else await credentials.forget(tx, applicationId, [row.id]);
    await events.session(tx, applicationId, at, 'session.disconnected', row.id, row.generation, reason);
    return row.state === LOST ? 0 : 1;
  }

  async function create(tx: Transaction, app: VisibleApplication, session: NewSession, at: number): Promise<Session | undefined> {
    const id = newId(at), connectedAt = createdAt(id); // ids never step back, even when the clock does
    const facts = writeFacts(app, session, id);
    const inserted = await tx.run(insert, app.id, id, app.generation, session.owner, session.userId ?? null, session.clientInfo?.name ?? null,
      session.hostname, session.externalId ?? null, session.tokenExpiresAt, connectedAt, facts);
    if (inserted === 0) return undefined; // another call with this externalId was faster
    await tx.run(beat, app.id, id, at, null);
    if (session.credential) await credentials.remember(tx, app.id, id, app.generation, session.credential, session.tokenExpiresAt, at);
    await events.session(tx, app.id, at, 'session.connected', id, app.generation);
    return { id, generation: app.generation, connectedAt, tokenExpiresAt: session.tokenExpiresAt, lastActiveAt: null, disconnectReason: null, disconnectedAt: null, facts };
  }

  const connect: Store['connect'] = async (tenant, session) => {
    const { applicationId } = tenant;
    for (;;) {
      const result = await underLock(db, tenant, 'shared', async (tx, app): Promise<Connected | 'again'> => {
        const at = now();
        if (session.credential && await credentials.denied(tx, applicationId, session.credential.id, at)) return { outcome: 'credential-revoked' };
        const there = session.externalId === undefined ? undefined
          : await tx.first<SessionRow>(findExternal, applicationId, app.generation, session.owner, session.externalId);
        if (!there) {
          const created = await create(tx, app, session, at);
          return created ? { outcome: 'created', session: created, generation: app.generation } : 'again';
        }
        if (!await revive(tx, applicationId, there, at, session.tokenExpiresAt, session.credential)) return 'again';
        const row = await tx.first<SessionRow>(find, applicationId, there.id);
        return row ? { outcome: 'found', session: beats.overlay(applicationId, toSession(row, app.generation, null)), generation: app.generation } : 'again';
      });
      if (result === 'again') continue;
      if (result?.outcome === 'created' || result?.outcome === 'found') ring(applicationId, false);
      return result;
    }
  };

  const getSession: Store['getSession'] = async (tenant, sessionId, owner) => {
    const row = await db.first<CurrentRow>(get, ...tenantValues(tenant), sessionId, owner ?? null);
    return row && beats.overlay(tenant.applicationId, toSession(row, row.current, row.revokedAt));
  };

  const endSession: Store['endSession'] = async (tenant, owner, sessionId) => {
    const { applicationId } = tenant;
    const found = await underLock(db, tenant, 'shared', async (tx, app) => {
      const row = await tx.first<SessionRow>(findToClose, applicationId, sessionId, owner ?? null);
      if (row) await finish(tx, applicationId, row, app.generation, 'ended', now());
      return row !== undefined;
    });
    if (!found) return undefined;
    ring(applicationId, true);
    return getSession(tenant, sessionId, owner);
  };

  const revokeSession: Store['revokeSession'] = async (tenant, sessionId, actor) => {
    const { applicationId } = tenant;
    const count = await underLock(db, tenant, 'shared', async (tx, app) => {
      const row = await tx.first<SessionRow>(findToClose, applicationId, sessionId, null);
      if (!row) return undefined;
      const at = now();
      const count = await finish(tx, applicationId, row, app.generation, 'revoked', at);
      await audit(tx, context, applicationId, at, actor, { action: 'revokeSession', filter: { sessionId }, count });
      return count;
    }, 'vital');
    if (count !== undefined) ring(applicationId, true);
    return count;
  };

  return { connect, getSession, endSession, revokeSession, revive };
}

export type Sessions = ReturnType<typeof sessions>;

/** What must be known of a session to bring it up to date. */
export type Revivable = Pick<SessionRow, 'id' | 'state' | 'generation' | 'tokenExpiresAt' | 'lastActiveAt'>;

/** The members of a session that never change, as JSON without the braces: made once here, sent as they are ever after. */
function writeFacts(app: VisibleApplication, { name, userId, externalId, hostname, userAgent, clientInfo }: NewSession, id: string): string {
  return JSON.stringify({
    name, agentId: app.id, organizationId: app.organizationId, hostname, userAgent, clientInfo,
    createdAt: new Date(createdAt(id)).toISOString(), userId, externalId,
  }).slice(1, -1);
}

