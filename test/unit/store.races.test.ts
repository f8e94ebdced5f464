// What can happen between two statements, and only there.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from '../../server/store/index.ts';
import { openPostgres, type Postgres } from '../../server/store/postgres.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import type { Store, Tenant } from '../../server/store/store.ts';
import { connectedStatuses, everyStatus } from '../../server/session.ts';
import { beatOf, credential, LATE, newSession, SECOND } from '../suites/store/bed.ts';
import { hooked } from '../support/hooked.ts';
import { inCI, sql, until } from '../support/instances.ts';
import { createClock } from '../support/service.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { actor, HOUR, ORGANIZATION, times } from '../support/store-times.ts';

describe.runIf(postgresIsThere())('on PostgreSQL', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>, databases: Postgres[], one: Store, other: Store, tenant: Tenant;
  /** What store `one` does after its statements. */
  let meanwhile: (text: string) => Promise<void> | void = () => {};

  beforeAll(async () => {
    database = await createDatabase();
    databases = await Promise.all([openPostgres(database.url, () => {}), openPostgres(database.url, () => {})]);
    const open = (db: Postgres, with_ = hooked(db, (text) => meanwhile(text))) => createStore(with_, { ...times, now: db.now });
    [one, other] = [open(databases[0]!), open(databases[1]!, databases[1]!)];
  });
  afterAll(async () => {
    await Promise.all([one.close(), other.close()]);
    await database.drop();
  });
  beforeEach(async () => {
    meanwhile = () => {};
    tenant = { organizationId: ORGANIZATION, applicationId: (await one.createApplication(ORGANIZATION, 'Raced')).id, boundTo: undefined };
  });

  const somebodyWaits = async () => (await sql(database.url, `select 1 from pg_locks l join pg_stat_activity a on a.pid = l.pid where not l.granted and a.datname = current_database()`)).length > 0;

  describe('allowCredential', () => {
    it.each([['has denied it', /^insert into revoked_credentials/], ['has denied it and forgotten where it was', /^delete from session_credentials .* session_id/]])(
      'allows what it says it has allowed, also while settling %s and not yet committed', async (_what, step) => {
        await one.connect(tenant, newSession({ credential: credential('c') }));
        await one.revokeAll(tenant, {}, actor);
        let allowing: Promise<boolean | undefined> | undefined, answered = false;
        meanwhile = async (text) => {
          if (!step.test(text) || allowing) return;
          allowing = other.allowCredential(tenant, 'c', actor).finally(() => { answered = true; });
          await until(async () => answered || await somebodyWaits(), inCI(300), 'it is done, or waits for the one who settles');
        };
        await one.settleRevocations(tenant.applicationId);
        expect(await allowing).toBe(true);
        expect(await other.listRevokedCredentials(tenant, { after: undefined, limit: 10 })).toEqual({ items: [], next: undefined });
        expect(await other.connect(tenant, newSession({ credential: credential('c') }))).toMatchObject({ outcome: 'created' });
      });
  });

  it('batches that bring new tokens to the same sessions in another order do not lock each other out', async () => {
    const ids: string[] = [];
    for (let made = 0; made < 2; made++) {
      const connected = await one.connect(tenant, newSession());
      if (connected?.outcome === 'created') ids.push(connected.session.id);
    }
    const deadlocks = async () => Number((await sql<{ deadlocks: string }>(database.url, 'select deadlocks from pg_stat_database where datname = current_database()'))[0]!.deadlocks);
    const tokenFor = (id: string, ms: number) => beatOf(id, { tokenExpiresAt: other.now() + HOUR + ms }), before = await deadlocks();
    let beating: Promise<unknown> | undefined;
    meanwhile = async (text) => {
      if (!/^update sessions set\s+connected_at/.test(text) || beating) return;
      beating = other.recordHeartbeats(tenant, undefined, [...ids].reverse().map((id) => tokenFor(id, 1)));
      await until(somebodyWaits, inCI(300), 'the other waits for the first session');
    };
    expect(await one.recordHeartbeats(tenant, undefined, ids.map((id) => tokenFor(id, 2)))).toEqual({ accepted: 2, ended: [] });
    expect(await beating).toEqual({ accepted: 2, ended: [] });
    await wait(1_100); // a backend tells its figures once a second at most
    expect(await deadlocks() - before).toBe(0);
  });

  it('a list shows nothing as connected that a revoke-all has ended while it was read', async () => {
    for (let made = 0; made < 3; made++) await other.connect(tenant, newSession());
    const list = () => one.pageSessions(tenant, { statuses: everyStatus }, { after: undefined, limit: 10 });
    expect((await list())?.items.map(({ disconnectReason }) => disconnectReason)).toEqual([null, null, null]);
    meanwhile = async (text) => {
      if (!/^select .* from sessions s /.test(text)) return;
      meanwhile = () => {};
      expect(await other.revokeAll(tenant, {}, actor)).toEqual({ outcome: 'done', count: 3 });
    };
    expect((await list())?.items.map(({ disconnectReason }) => disconnectReason)).toEqual(['revoked', 'revoked', 'revoked']);
  });

  it('compiles no plan and starts no worker for what reads a few rows of many', async () => {
    const text = `select current_setting('jit') as jit, current_setting('max_parallel_workers_per_gather') as workers`;
    expect(await databases[1]!.all({ name: 'planning', text })).toEqual([{ jit: 'off', workers: '0' }]);
  });

  it('ends many at once by an index, also while the planner takes them for few', async () => {
    const used = new Set<string>();
    meanwhile = (text) => { if (/^(update sessions|delete from session_activity) .* for no key update/.test(text)) used.add(text); };
    await other.connect(tenant, newSession());
    await sql(database.url, 'analyze sessions, session_activity');
    await one.revokeMatching(tenant, { statuses: new Set(['active']) }, {}, {}, actor);
    await other.connect(tenant, newSession());
    await one.revokeAll(tenant, {}, actor);
    await one.settleRevocations(tenant.applicationId);
    expect(used.size).toBeGreaterThan(3);
    const planner = new pg.Client(database.url);
    await planner.connect();
    try {
      await planner.query('set plan_cache_mode = force_generic_plan');
      for (const text of used) {
        const nulls = Array.from(new Set(text.match(/\$\d+/g)), () => 'null').join();
        await planner.query(`prepare looked_at as ${text}`);
        const { rows } = await planner.query<{ 'QUERY PLAN': string }>(`explain execute looked_at (${nulls})`);
        await planner.query('deallocate looked_at');
        expect(rows.map((line) => line['QUERY PLAN']).filter((line) => /Nested Loop|Join/.test(line)), text).toEqual([]);
      }
    } finally { await planner.end(); }
  });

  it('whoever may not see an application waits for nobody there, and keeps nobody waiting', async () => {
    const connected = await one.connect(tenant, newSession());
    const sessionId = connected?.outcome === 'created' ? connected.session.id : '';
    const writer = new pg.Client(database.url);
    await writer.connect();
    await writer.query('select pg_advisory_lock(hashtextextended($1, 0))', [tenant.applicationId]);
    try {
      for (const stranger of [{ ...tenant, organizationId: 'org_other' }, { ...tenant, boundTo: sessionId }]) {
        expect({
          connect: await one.connect(stranger, newSession()), beat: await one.recordHeartbeats(stranger, undefined, [beatOf(sessionId)]), end: await one.endSession(stranger, undefined, sessionId),
          revoke: await one.revokeSession(stranger, sessionId, actor), preview: await one.revokeAll(stranger, { dryRun: true }, actor), all: await one.revokeAll(stranger, {}, actor),
          matching: await one.revokeMatching(stranger, { statuses: new Set(['idle']) }, {}, {}, actor), allow: await one.allowCredential(stranger, 'c', actor), delete: await one.deleteApplication(stranger, actor),
        }).toEqual({}); // had one of them waited for the lock, it would have failed
      }
    } finally { await writer.end(); }
  });
});

describe('a filtered revoke', () => {
  const clock = createClock(), filter = { statuses: connectedStatuses, userId: 'u' };
  let directory: string, store: Store, tenant: Tenant;
  let meanwhile: (text: string) => Promise<void> | void;
  const connect = async (userId = 'u') => {
    const connected = await store.connect(tenant, newSession({ userId }));
    return connected?.outcome === 'created' ? connected.session.id : '';
  };
  /** All are silent for a lease. */
  const lose = async () => {
    for (let ms = 0; ms <= times.lease + LATE; ms += SECOND) { clock.advance(SECOND); await store.maintain(); }
  };
  const LOST = /^select .* s\.state = 2 /, WALK = /^select .* s\.bucket = /;

  beforeEach(async () => {
    meanwhile = () => {};
    directory = mkdtempSync(join(tmpdir(), 'rollcall-races-'));
    store = createStore(hooked(openSqlite(directory), (text) => meanwhile(text)), { ...times, now: clock.now });
    tenant = { organizationId: ORGANIZATION, applicationId: (await store.createApplication(ORGANIZATION, 'Raced')).id, boundTo: undefined };
    await store.maintain();
    clock.advance(times.lease + SECOND);
    await store.maintain();
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('is running, and not interrupted, while it looks through the lost and for those who came back, however long that takes; then it is done', async () => {
    for (let made = 0; made < 450; made++) await connect();
    await lose();
    await Promise.all(Array.from({ length: 1_300 }, () => connect())); // more than is looked through at once
    const states: string[] = [];
    meanwhile = async (text) => {
      if (!LOST.test(text) && !WALK.test(text)) return;
      clock.advance(7 * SECOND);
      await store.interruptRevocations(clock.now() - 30 * SECOND); // as the sweep does
      for (const { state } of (await store.listRevocations(tenant, { after: undefined, limit: 10 }))!.items) states.push(state);
    };
    expect(await store.revokeMatching(tenant, filter, {}, {}, actor)).toEqual({ outcome: 'done', count: 1_300 });
    expect(states.length).toBeGreaterThan(9);
    expect(new Set(states)).toEqual(new Set(['running']));
    meanwhile = () => {};
    expect((await store.listRevocations(tenant, { after: undefined, limit: 10 }))!.items).toMatchObject([{ state: 'done', disconnectedCount: 1_300 }]);
  });

  it('ends who comes back meanwhile, beyond `maxCount`', async () => {
    const lost = await connect();
    await lose();
    await connect();
    clock.advance(1);
    meanwhile = async (text) => {
      if (!LOST.test(text)) return;
      meanwhile = () => {};
      expect(await store.recordHeartbeats(tenant, undefined, [beatOf(lost)])).toMatchObject({ accepted: 1 });
    };
    expect(await store.revokeMatching(tenant, filter, {}, { maxCount: 1 }, actor)).toEqual({ outcome: 'done', count: 2 });
    expect(await store.getSession(tenant, lost)).toMatchObject({ disconnectReason: 'revoked' });
  });
});
