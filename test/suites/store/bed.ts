// What the store's conformance suite stands on: one store, one clock and one application for each test, and short words for the calls.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach } from 'vitest';
import { connectedStatuses, derivedStatus, everyStatus, type DerivedStatus, type Session, type SessionFilter } from '../../../server/session.ts';
import type { Bounds, Credential, Heartbeat, NewSession, Page, PageRequest, Revoked, Store, StoredEvent, Tenant } from '../../../server/store/store.ts';
import { createClock, type Clock } from '../../support/service.ts';
import { actor, DAY, HOUR, MINUTE, ORGANIZATION, SECOND, times } from '../../support/store-times.ts';

export interface Opened {
  readonly store: Store;
  /** Closes the store and opens it again on the same data. */
  reopen?(): Promise<Store>;
  close(): Promise<void>;
}
/** Each opening has data of its own. */
export type Open = (clock: Clock) => Promise<Opened>;

export { actor, DAY, HOUR, MINUTE, ORGANIZATION, SECOND, times };
/** A lease may be noticed so much late. */
export const LATE = 10 * SECOND;

export interface Bed {
  readonly store: Store;
  readonly clock: Clock;
  readonly tenant: Tenant;
  reopen(): Promise<void>;
  /** @returns the tenant of a new application. */
  application(organizationId?: string): Promise<Tenant>;
  connect(session?: Partial<NewSession>, tenant?: Tenant): Promise<Session>;
  get(session: Pick<Session, 'id'>, tenant?: Tenant): Promise<Session | undefined>;
  /** `active`, ..., or with the reason: `lost`, `ended`, `revoked`; or `absent`. */
  state(session: Pick<Session, 'id'>, tenant?: Tenant): Promise<string>;
  beat(session: Pick<Session, 'id'>, beat?: Partial<Heartbeat>): ReturnType<Store['recordHeartbeats']>;
  /** All pages. */
  list(filter?: Partial<SessionFilter>, options?: { limit?: number; tenant?: Tenant }): Promise<Session[]>;
  ids(filter?: Partial<SessionFilter>): Promise<string[]>;
  end(session: Pick<Session, 'id'>): Promise<Session | undefined>;
  revoke(session: Pick<Session, 'id'>): Promise<number | undefined>;
  /** The outcome, which is a number where it went through. */
  revokeAll(bounds?: Bounds): Promise<number | 'too-many' | undefined>;
  revokeMatching(filter: Partial<SessionFilter>, bounds?: Bounds): Promise<number | 'too-many' | undefined>;
  settle(): Promise<void>;
  /** Time passes with the service running: its duties are done every second, and these sessions beat every ten. */
  pass(ms: number, beating?: readonly Pick<Session, 'id'>[]): Promise<void>;
  /** All are silent for a lease, but these. */
  silence(butFor?: readonly Pick<Session, 'id'>[]): Promise<void>;
  denied(): Promise<Record<string, number>>;
  /** Would a client with this credential be let in? */
  admits(credentialId: string): Promise<boolean>;
  events(): Promise<StoredEvent[]>;
}

export const credential = (id: string, expiresAt: number | null = null): Credential => ({ id, expiresAt });

export const newSession = (session: Partial<NewSession> = {}): NewSession => ({
  name: 'Client', userId: undefined, externalId: undefined, hostname: null, userAgent: null, clientInfo: null, credential: undefined, tokenExpiresAt: null, owner: '', ...session,
});

export const beatOf = (sessionId: string, beat: Partial<Heartbeat> = {}): Heartbeat =>
  ({ sessionId, lastActiveAt: undefined, tokenExpiresAt: undefined, credential: undefined, ...beat });

export async function everyPage<T>(fetch: (page: PageRequest) => Promise<Page<T> | undefined>, limit = 100): Promise<T[]> {
  const items: T[] = [];
  for (let after: string | undefined; ;) {
    const page = await fetch({ after, limit });
    if (!page) throw new Error('the application is not there');
    items.push(...page.items);
    if (page.next === undefined) return items;
    after = page.next;
  }
}

const outcome = (revoked: Revoked | undefined) => revoked?.outcome === 'done' ? revoked.count : revoked?.outcome;

/** A store that is open for each test of the `describe` this is called in. */
export function bed(open: Open): Bed {
  let opened: Opened, store: Store, clock: Clock, tenant: Tenant;

  beforeEach(async () => {
    clock = createClock();
    opened = await open(clock);
    store = opened.store;
    await store.maintain(); // the service has been there before
    clock.advance(times.lease * 2);
    await store.maintain();
    tenant = await application();
  });
  afterEach(() => opened.close());

  const application: Bed['application'] = async (organizationId = ORGANIZATION) => {
    const { id } = await store.createApplication(organizationId, 'Test');
    return { organizationId, applicationId: id, boundTo: undefined };
  };
  const beat: Bed['beat'] = (session, fields) => store.recordHeartbeats(tenant, undefined, [beatOf(session.id, fields)]);
  const list: Bed['list'] = (filter = {}, { limit, tenant: other = tenant } = {}) =>
    everyPage((page) => store.pageSessions(other, { statuses: everyStatus, ...filter }, page), limit);
  const pass: Bed['pass'] = async (ms, beating = []) => {
    for (let left = ms; left > 0; left -= SECOND) {
      clock.advance(Math.min(left, SECOND));
      if (beating.length > 0 && Math.ceil(left / SECOND) % 10 === 0) await store.recordHeartbeats(tenant, undefined, beating.map(({ id }) => beatOf(id)));
      await store.maintain();
    }
  };

  return {
    get store() { return store; }, get clock() { return clock; }, get tenant() { return tenant; },
    async reopen() {
      if (!opened.reopen) throw new Error('this store cannot be opened again');
      store = await opened.reopen();
    },
    application,
    async connect(session = {}, other = tenant) {
      const connected = await store.connect(other, newSession(session));
      if (!connected || connected.outcome === 'credential-revoked') throw new Error(`it was not let in: ${connected?.outcome}`);
      return connected.session;
    },
    get: ({ id }, other = tenant) => store.getSession(other, id),
    async state({ id }, other = tenant) {
      const session = await store.getSession(other, id);
      return session ? session.disconnectReason ?? derivedStatus(session, store.now(), times.idleAfter) : 'absent';
    },
    beat, list, pass,
    ids: async (filter) => (await list(filter)).map(({ id }) => id),
    end: ({ id }) => store.endSession(tenant, undefined, id),
    revoke: ({ id }) => store.revokeSession(tenant, id, actor),
    revokeAll: async (bounds = {}) => outcome(await store.revokeAll(tenant, bounds, actor)),
    revokeMatching: async (filter, bounds = {}) => outcome(await store.revokeMatching(tenant, { statuses: connectedStatuses, ...filter }, {}, bounds, actor)),
    settle: () => store.settleRevocations(tenant.applicationId),
    silence: (butFor) => pass(times.lease + LATE, butFor),
    denied: async () => Object.fromEntries((await everyPage((page) => store.listRevokedCredentials(tenant, page))).map(({ credentialId, deniedUntil }) => [credentialId, deniedUntil])),
    admits: async (credentialId) => (await store.connect(tenant, newSession({ credential: credential(credentialId) })))?.outcome === 'created',
    events: () => store.readEvents(tenant.applicationId, { tx: 0, seq: 0 }, 10_000),
  };
}

/** A signal that is aborted from the look after so many on: what looks before each batch does some and stops. */
export const abortedAfter = (looks: number): AbortSignal => Object.defineProperty(new AbortController().signal, 'aborted', { get: () => looks-- <= 0 });

export const statuses = (...some: DerivedStatus[]): { statuses: ReadonlySet<DerivedStatus> } => ({ statuses: new Set(some) });
export const unknownId = () => randomUUID();
