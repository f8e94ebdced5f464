// The store against a small pure model of it, over random histories: whatever happens in whatever order, both must say the same.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { connectedStatuses, everyStatus, type DerivedStatus, type DisconnectReason, type SessionFilter } from '../../server/session.ts';
import { createStore } from '../../server/store/index.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import type { Bounds, Credential, Store, Tenant } from '../../server/store/store.ts';
import { actor, beatOf, everyPage, newSession, ORGANIZATION } from './store/bed.ts';
import { createClock, type Clock } from '../support/service.ts';

const SECOND = 1_000;
/** Short, so that a history of seconds meets every edge. */
const TIMES = { idleAfter: 15 * SECOND, lease: 10 * SECOND, retention: 100 * SECOND, eventRetention: 50 * SECOND, auditRetention: 1_000 * SECOND };
const LATE = 10 * SECOND;

interface Known {
  id: string; generation: number; externalId: string | undefined; owner: string; userId: string | undefined; hostname: string | null; clientName: string | undefined;
  connectedAt: number; disconnectedAt: number | null; reason: DisconnectReason | null; tokenExpiresAt: number | null; lastActiveAt: number | null;
  beatAt: number; credentials: Map<string, { expiresAt: number | null; tokenExpiresAt: number | null }>;
  /** A revoke-all has ended it and nothing has written that down; until then it is not forgotten. */
  unsettled: boolean;
}

/** What product and contract say, without a database, a transaction, a batch or a settlement. */
class Model {
  sessions: Known[] = [];
  denied = new Map<string, number>();
  generation = 1;
  resumedAt: number;
  clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
    this.resumedAt = clock.now();
  }

  connected = () => this.sessions.filter(({ reason }) => reason === null);

  status({ reason, ...session }: Known): DerivedStatus { return reason === null ? this.ifConnected(session) : 'disconnected'; }
  ifConnected({ tokenExpiresAt, lastActiveAt, connectedAt }: Pick<Known, 'tokenExpiresAt' | 'lastActiveAt' | 'connectedAt'>): DerivedStatus {
    const now = this.clock.now();
    if (tokenExpiresAt !== null && tokenExpiresAt <= now) return 'expired';
    return (lastActiveAt ?? connectedAt) <= now - TIMES.idleAfter ? 'idle' : 'active';
  }
  meets(session: Known, status: DerivedStatus, { statuses, userId, hostname, clientName, lastActiveBefore }: SessionFilter): boolean {
    return statuses.has(status) && (userId === undefined || session.userId === userId)
      && (hostname === undefined || session.hostname === hostname) && (clientName === undefined || session.clientName === clientName)
      && (lastActiveBefore === undefined || (session.lastActiveAt ?? session.connectedAt) < lastActiveBefore);
  }
  list(filter: SessionFilter): string[] {
    return this.sessions.filter((session) => this.meets(session, this.status(session), filter)).map(({ id }) => id).sort().reverse();
  }
  isDenied = (credential: string) => (this.denied.get(credential) ?? 0) > this.clock.now();
  deniedNow = () => [...this.denied].filter(([id]) => this.isDenied(id)).sort(([a], [b]) => a < b ? -1 : 1);

  refresh(session: Known, tokenExpiresAt: number | null | undefined, credential: Credential | undefined): void {
    const now = this.clock.now();
    if (session.reason === 'lost') Object.assign(session, { reason: null, disconnectedAt: null, connectedAt: now });
    const before = session.tokenExpiresAt, later = (known: number | null) => tokenExpiresAt == null ? known : Math.max(tokenExpiresAt, known ?? tokenExpiresAt);
    session.tokenExpiresAt = tokenExpiresAt ?? before;
    session.beatAt = now;
    if (!credential) {
      if (session.tokenExpiresAt !== before) for (const used of session.credentials.values()) used.tokenExpiresAt = later(used.tokenExpiresAt);
      return;
    }
    for (const [id, { expiresAt }] of session.credentials) if (expiresAt !== null && expiresAt <= now && id !== credential.id) session.credentials.delete(id);
    const known = session.credentials.get(credential.id);
    session.credentials.set(credential.id, { expiresAt: credential.expiresAt ?? known?.expiresAt ?? null, tokenExpiresAt: known ? later(known.tokenExpiresAt) : session.tokenExpiresAt });
  }
  settle(): void { for (const session of this.sessions) session.unsettled = false; }
  revoke(session: Known): void {
    const now = this.clock.now();
    session.disconnectedAt ??= now;
    session.reason = 'revoked';
    for (const [id, { expiresAt, tokenExpiresAt }] of session.credentials) {
      const until = expiresAt ?? tokenExpiresAt ?? now + TIMES.retention;
      if (until > now) this.denied.set(id, Math.max(until, this.denied.get(id) ?? 0));
    }
    session.credentials.clear();
  }
}

interface World { model: Model; store: Store; tenant: Tenant; clock: Clock; unwatched: number; counted: number; reopen(): Promise<void>; maintain(): Promise<void> }
interface Step { readonly what: string; readonly run: (world: World) => Promise<void> }
const step = <Arguments>(name: string, details: fc.Arbitrary<Arguments>, run: (world: World, details: Arguments) => Promise<void>): fc.Arbitrary<Step> =>
  details.map((given) => ({ what: `${name} ${JSON.stringify(given)}`, run: (world) => run(world, given), toString: () => `${name} ${JSON.stringify(given)}` }));

const maybe = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: undefined });
const pick = (world: World, index: number): Known | undefined => world.model.sessions[world.model.sessions.length - 1 - index % (world.model.sessions.length || 1)];
const within = fc.integer({ min: -5, max: 40 }).map((seconds) => seconds * SECOND);
const credentials = fc.constantFrom('c1', 'c2', 'c3', 'c4');
const credential = fc.record({ id: credentials, within: maybe(within) });
const users = fc.constantFrom('u', 'v'), hosts = fc.constantFrom('h', 'i'), clients = fc.constantFrom('c', 'd');
const some = fc.subarray<'active' | 'idle' | 'expired'>(['active', 'idle', 'expired'], { minLength: 1 });
const bounds = fc.record({ dryRun: maybe(fc.boolean()), maxCount: maybe(fc.integer({ min: 0, max: 4 })) });

const at = (clock: Clock, offset: number | undefined) => offset === undefined ? undefined : clock.now() + offset;
const credentialOf = (clock: Clock, given: { id: string; within: number | undefined } | undefined): Credential | undefined => given && { id: given.id, expiresAt: at(clock, given.within) ?? null };
const bounded = (n: number, { maxCount, dryRun }: Bounds) => n > (maxCount ?? Infinity) ? { outcome: 'too-many', limit: maxCount, ends: false } : { outcome: 'done', count: n, ends: !dryRun };

const steps = fc.oneof(
  { weight: 8, arbitrary: step('connect', fc.record({ externalId: maybe(fc.constantFrom('x', 'y')), owner: fc.constantFrom('', '', 'a'), userId: maybe(users), host: maybe(hosts), clientName: maybe(clients), within: maybe(within), credential: maybe(credential) }),
    async ({ model, store, tenant, clock }, { externalId, owner, userId, host, clientName, within, credential }) => {
      const hostname = host ?? null, tokenExpiresAt = at(clock, within) ?? null, used = credentialOf(clock, credential);
      const connected = await store.connect(tenant, newSession({ externalId, owner, userId, hostname, clientInfo: clientName === undefined ? null : { name: clientName }, tokenExpiresAt, credential: used }));
      if (used && model.isDenied(used.id)) return expect(connected).toEqual({ outcome: 'credential-revoked' });
      const there = externalId === undefined ? undefined : model.sessions.find((one) => one.externalId === externalId && one.owner === owner && (one.reason === null || one.reason === 'lost'));
      expect(connected).toMatchObject({ outcome: there ? 'found' : 'created', generation: model.generation, session: there ? { id: there.id } : {} });
      if (connected?.outcome !== 'created' && connected?.outcome !== 'found') throw new Error('unreachable');
      const session = there ?? { id: connected.session.id, generation: model.generation, externalId, owner, userId, hostname, clientName, connectedAt: clock.now(), disconnectedAt: null, reason: null,
        tokenExpiresAt, lastActiveAt: null, beatAt: clock.now(), credentials: new Map(), unsettled: false };
      if (!there) model.sessions.push(session);
      model.refresh(session, tokenExpiresAt, used);
    }) },
  { weight: 8, arbitrary: step('beat', fc.array(fc.record({ index: fc.nat(9), active: maybe(within), token: maybe(within), credential: maybe(credential) }), { minLength: 1, maxLength: 3 }),
    async ({ model, store, tenant, clock, ...world }, beats) => {
      const named = beats.flatMap(({ index, active, token, credential }) => {
        const session = pick({ model, store, tenant, clock, ...world }, index);
        return session ? [{ session, beat: beatOf(session.id, { lastActiveAt: at(clock, active), tokenExpiresAt: at(clock, token), credential: credentialOf(clock, credential) }) }] : [];
      });
      const result = await store.recordHeartbeats(tenant, undefined, named.map(({ beat }) => beat));
      const over = new Map(named.flatMap(({ session: { id, reason } }) => reason === 'ended' || reason === 'revoked' ? [[id, reason]] : []));
      expect(result?.accepted).toBe(new Set(named.map(({ session }) => session.id)).size - over.size);
      expect(new Map(result?.ended.map(({ sessionId, reason }) => [sessionId, reason]))).toEqual(over);
      for (const { session, beat } of named) {
        if (over.has(session.id)) continue;
        model.refresh(session, beat.tokenExpiresAt, beat.credential);
        if (beat.lastActiveAt !== undefined) session.lastActiveAt = Math.max(session.lastActiveAt ?? 0, Math.min(beat.lastActiveAt, clock.now()));
      }
    }) },
  { weight: 2, arbitrary: step('end', fc.nat(9), async (world, index) => {
    const session = pick(world, index);
    if (!session) return;
    await world.store.endSession(world.tenant, undefined, session.id);
    if (session.reason === null || session.reason === 'lost') {
      session.disconnectedAt ??= world.clock.now();
      session.reason = 'ended';
      session.credentials.clear();
    }
  }) },
  { weight: 2, arbitrary: step('revoke', fc.nat(9), async (world, index) => {
    const session = pick(world, index);
    if (!session) return;
    const count = await world.store.revokeSession(world.tenant, session.id, actor);
    expect(count).toBe(session.reason === null ? 1 : 0);
    world.counted += count!;
    if (session.reason === null || session.reason === 'lost') world.model.revoke(session);
  }) },
  { weight: 2, arbitrary: step('revokeAll', bounds, async (world, bounds) => {
    const { model } = world;
    const { ends, ...expected } = bounded(model.connected().length, bounds);
    expect(await world.store.revokeAll(world.tenant, bounds, actor)).toEqual(expected);
    if (!ends) return;
    world.counted += model.connected().length;
    for (const session of model.sessions) {
      if (session.reason !== null && session.reason !== 'lost') continue;
      model.revoke(session);
      session.unsettled = true;
    }
    model.generation++;
  }) },
  { weight: 3, arbitrary: step('revokeMatching', fc.record({ some, userId: maybe(users), hostname: maybe(hosts), clientName: maybe(clients), before: maybe(within), bounds }), async (world, { some, before, bounds, ...equal }) => {
    const { model } = world;
    const filter = { statuses: new Set(some), ...equal, lastActiveBefore: at(world.clock, before) };
    const matching = model.connected().filter((session) => model.meets(session, model.status(session), filter));
    const { ends, ...expected } = bounded(matching.length, bounds);
    expect(await world.store.revokeMatching(world.tenant, filter, {}, bounds, actor)).toEqual(expected);
    if (!ends) return;
    world.counted += matching.length;
    const lost = model.sessions.filter((session) => session.reason === 'lost' && [session, { ...session, connectedAt: world.clock.now() }].some((reading) => model.meets(reading, model.ifConnected(reading), filter)));
    for (const session of [...matching, ...lost]) model.revoke(session);
  }) },
  { weight: 2, arbitrary: step('allow', credentials, async ({ model, store, tenant }, id) => {
    expect(await store.allowCredential(tenant, id, actor)).toBe(model.isDenied(id));
    model.denied.delete(id);
  }) },
  { weight: 3, arbitrary: step('tick', fc.integer({ min: 1, max: 900 }), async (world, ms) => {
    world.clock.advance(ms);
    world.unwatched += ms;
    if (world.unwatched > SECOND) await world.maintain(); // the service is there
  }) },
  { weight: 4, arbitrary: step('run', fc.integer({ min: 1, max: 15 }), async (world, seconds) => {
    for (let i = 0; i < seconds; i++) {
      world.clock.advance(SECOND);
      await world.maintain();
    }
  }) },
  { weight: 1, arbitrary: step('outage', fc.integer({ min: 5, max: 150 }), async (world, seconds) => {
    world.clock.advance(seconds * SECOND);
    world.model.resumedAt = world.clock.now();
    await world.maintain();
  }) },
  { weight: 1, arbitrary: step('settle', fc.constant(''), async ({ model, store, tenant }) => {
    await store.settleRevocations(tenant.applicationId);
    model.settle();
  }) },
  { weight: 1, arbitrary: step('forget', fc.constant(''), async ({ model, store, clock }) => {
    await store.forget();
    model.sessions = model.sessions.filter(({ disconnectedAt, unsettled }) => disconnectedAt === null || unsettled || disconnectedAt >= clock.now() - TIMES.retention);
  }) },
  { weight: 1, arbitrary: step('flush', fc.constant(''), ({ store }) => store.flush()) },
  { weight: 1, arbitrary: step('reopen', fc.constant(''), (world) => world.reopen()) },
);

/** One round of duties. When exactly a lease is noticed is the store's to say, within its bounds. */
async function maintain(world: World): Promise<void> {
  const { model, store, tenant, clock } = world;
  await store.maintain();
  world.unwatched = 0;
  model.settle();
  for (const session of model.connected()) {
    const silent = clock.now() - Math.max(session.beatAt, model.resumedAt);
    const lost = (await store.getSession(tenant, session.id))?.disconnectReason === 'lost';
    if (silent <= TIMES.lease) expect(lost, 'not before the lease').toBe(false);
    if (silent > TIMES.lease + LATE) expect(lost, 'at most ten seconds late').toBe(true);
    if (lost) Object.assign(session, { reason: 'lost', disconnectedAt: clock.now() });
  }
}

async function compare({ model, store, tenant, counted, clock }: World): Promise<void> {
  for (const { id, generation, connectedAt, disconnectedAt, reason, tokenExpiresAt, lastActiveAt } of model.sessions) {
    expect(await store.getSession(tenant, id)).toMatchObject({ id, generation, connectedAt, disconnectedAt, disconnectReason: reason, tokenExpiresAt, lastActiveAt });
  }
  const filters: SessionFilter[] = [...everyStatus].flatMap((status) => [{ statuses: new Set([status]) }, { statuses: new Set([status]), userId: 'u' }]);
  filters.push({ statuses: everyStatus }, { statuses: everyStatus, userId: 'v' }, { statuses: everyStatus, hostname: 'h', clientName: 'c' }, { statuses: connectedStatuses }, { statuses: new Set(['expired', 'disconnected']) },
    { statuses: everyStatus, lastActiveBefore: clock.now() - TIMES.idleAfter });
  for (const [index, filter] of filters.entries()) {
    const found = await everyPage((page) => store.pageSessions(tenant, filter, page), index % 3 + 1);
    expect(found.map(({ id }) => id), `list ${[...filter.statuses].join()} ${filter.userId ?? ''}`).toEqual(model.list(filter));
  }
  expect(await store.revokeAll(tenant, { dryRun: true }, actor)).toEqual({ outcome: 'done', count: model.connected().length });
  const denied = await everyPage((page) => store.listRevokedCredentials(tenant, page), 2);
  expect(denied.map(({ credentialId, deniedUntil }) => [credentialId, deniedUntil])).toEqual(model.deniedNow());
  const audited = await everyPage((page) => store.listRevocations(tenant, page), 50);
  expect(audited.reduce((sum, { disconnectedCount }) => sum + disconnectedCount, 0)).toBe(counted);
}

async function replay(history: readonly Step[]): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-model-'));
  const clock = createClock();
  const open = () => createStore(openSqlite(directory), { ...TIMES, now: clock.now });
  let store = open();
  try {
    const { id: applicationId } = await store.createApplication(ORGANIZATION, 'Model');
    const world: World = {
      model: new Model(clock), store, clock, tenant: { organizationId: ORGANIZATION, applicationId, boundTo: undefined }, unwatched: 0, counted: 0,
      maintain: () => maintain(world),
      async reopen() {
        await world.store.close();
        clock.advance(1); // ids are ordered within a process and from one to the next, but not within a millisecond of both
        world.store = store = open();
      },
    };
    await world.maintain();
    for (const { what, run } of history) {
      await run(world);
      await compare(world).catch((error: Error) => { throw new Error(`after ${what}: ${error.message}`, { cause: error }); });
    }
    await store.flush();
    clock.advance(5 * SECOND); // counts may be so old
    const { byDerivedStatus } = (await store.countSessions(world.tenant))!;
    for (const status of everyStatus) expect(byDerivedStatus[status], `count of ${status}`).toBe(world.model.list({ statuses: new Set([status]) }).length);
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
}

/** @param runs histories of up to sixty steps, each compared with the model after every step. */
export function storeModelSuite({ seed, runs, timeoutMs }: { seed: number; runs: number; timeoutMs: number }): void {
  it(`the store says what the model says, after every step of any history (seed ${seed})`, () =>
    fc.assert(fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 60, size: 'max' }), replay), { seed, numRuns: runs, endOnFailure: false }), timeoutMs);
}
