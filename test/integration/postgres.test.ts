// Several instances on one PostgreSQL: they answer as one, tell each other, and lose and count twice nothing.
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../server/config.ts';
import { startService, type Service } from '../../server/service.ts';
import { openBell } from '../../server/store/bell.ts';
import { createStore } from '../../server/store/index.ts';
import { openPostgres } from '../../server/store/postgres.ts';
import { migrations } from '../../server/store/schema.ts';
import { StoreUnusable, type EventPosition, type Store, type StoredEvent, type Tenant } from '../../server/store/store.ts';
import { apiSuite } from '../suites/api.ts';
import { actor, beatOf, newSession, times } from '../suites/store/bed.ts';
import { rollcall } from '../support/command.ts';
import { ask, inCI, killInstances, sql, startDatabaseProxy, startInstance, tokens, until, type DatabaseProxy } from '../support/instances.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { createClock, EVERY_SCOPE, ORGANIZATION, startTestService } from '../support/service.ts';
import { openStream } from '../support/stream.ts';
import { mintToken } from '../../server/keys.ts';

type TestDatabase = Awaited<ReturnType<typeof createDatabase>>;

const silent = pino({ level: 'silent' });
const serve = (url: string, env: Record<string, string> = {}): Promise<Service> =>
  startService(readConfig({ PORT: '0', DATABASE_URL: url, ...env }), { log: silent });
const tokenOf = (service: Service, subject = 'tester') =>
  mintToken(service.signingKey!, { organizationId: ORGANIZATION, scopes: EVERY_SCOPE, subject, ttlMs: 3_600_000, audience: 'rollcall' });

describe.runIf(postgresIsThere())('several instances on one PostgreSQL', () => {
  let database: TestDatabase;
  beforeAll(async () => { database = await createDatabase(); });
  afterAll(async () => { await killInstances(); await database.drop(); });

  describe('as one', () => {
    apiSuite('two instances, one request each in turn', async () => {
      const own = await createDatabase();
      const instances = [await serve(own.url), await serve(own.url)];
      const front = await inTurn(instances.map(({ url }) => url));
      return {
        url: front.url, token: await tokenOf(instances[0]!), stateful: true,
        async close() {
          front.server.closeAllConnections();
          front.server.close();
          await Promise.all(instances.map((instance) => instance.close()));
          await own.drop();
        },
      };
    });

    it('answer to the byte what the embedded database answers', async () => {
      const own = await createDatabase();
      const histories = await Promise.all([{} as Record<string, string>, { DATABASE_URL: own.url }].map(async (env) => {
        const clock = createClock();
        const test = await startTestService({ env, clock });
        try { return await history(test, clock); } finally { await test.close(); }
      }));
      await own.drop();
      expect(histories[0]!.length).toBeGreaterThan(60);
      expect(histories[1]).toEqual(histories[0]);
    });

    it('agree on what is active when their own clocks are minutes apart', async () => {
      const shifted = (ms: number) => ['--import', `data:text/javascript,${encodeURIComponent(
        `const Real = Date; globalThis.Date = class extends Real { constructor(...given) { if (given.length) super(...given); else super(Real.now() + ${ms}); } static now() { return Real.now() + ${ms}; } };`)}`];
      const own = await createDatabase();
      const env = { IDLE_AFTER: '3s' };
      const [late, early] = await Promise.all([startInstance(own.url, { env, args: shifted(-120_000) }), startInstance(own.url, { env, args: shifted(120_000) })]);
      const token = await (await tokens(own.url))();
      const app = `/applications/${(await ask(late!.url, token, 'POST', '/applications', { name: 'Skewed' })).body.application.id}`;
      const made = await Promise.all([late!, early!].flatMap(({ url }) => [{}, { tokenExpiresAt: new Date(Date.now() + 1_500).toISOString() }].map((body) => ask(url, token, 'POST', `${app}/sessions`, body))));
      for (const { body } of made) expect(Math.abs(Date.parse(body.session.connectedAt) - Date.now())).toBeLessThan(5_000);
      const seen = new Set<string>();
      for (let round = 0; round < 10; round++) {
        const [one, other] = await Promise.all([late!, early!].map(({ url }) => ask(url, token, 'GET', `${app}/sessions?status=all`)));
        // Asked in the same moment, unless the moment is just the one in which a status changes.
        if (one!.text !== other!.text) {
          const [again, otherAgain] = await Promise.all([late!, early!].map(({ url }) => ask(url, token, 'GET', `${app}/sessions?status=all`)));
          expect(otherAgain!.text).toBe(again!.text);
        }
        for (const { derivedStatus } of one!.body.items) seen.add(derivedStatus);
        await wait(350);
      }
      expect([...seen].sort()).toEqual(['active', 'expired', 'idle']);
      await Promise.all([late!.kill(), early!.kill()]);
      await own.drop();
    }, 40_000);

    it('sign with one key', async () => {
      const [one, other] = await Promise.all([serve(database.url), serve(database.url)]);
      expect(other!.signingKey).toEqual(one!.signingKey);
      expect((await ask(other!.url, await tokenOf(one!), 'GET', '/applications')).status).toBe(200);
      await Promise.all([one!.close(), other!.close()]);
    });
  });

  describe('opening', () => {
    it('migrates once, however many start at the same time', async () => {
      for (let round = 0; round < 3; round++) {
        const own = await createDatabase();
        const opened = await Promise.all(Array.from({ length: 10 }, () => openPostgres(own.url, () => {})));
        expect(await sql(own.url, 'select version from schema_version')).toEqual([{ version: migrations.length }]);
        const keys = new Set(await Promise.all(opened.map((db, index) => db.sharedSigningKey(JSON.stringify({ index })))));
        expect(keys.size).toBe(1);
        await Promise.all(opened.map((db) => db.close()));
        await own.drop();
      }
    });

    it('refuses a newer schema, and says what to do', async () => {
      const own = await createDatabase();
      await (await openPostgres(own.url, () => {})).close();
      await sql(own.url, 'update schema_version set version = version + 1');
      await expect(openPostgres(own.url, () => {})).rejects.toThrow(`it has schema ${migrations.length + 1}, but this Rollcall knows only up to ${migrations.length}; run the newer version`);
      await expect(serve(own.url)).rejects.toThrow(new StoreUnusable(`the database cannot be used: it has schema ${migrations.length + 1}, but this Rollcall knows only up to ${migrations.length}; run the newer version`));
      expect(await rollcall(['migrate'], { DATABASE_URL: own.url })).toMatchObject({ code: 78 });
      await own.drop();
    });

    it.each([
      ['a user that does not exist', (url: URL) => { url.username = 'nobody-at-all'; }, 'role "nobody-at-all" does not exist'],
      ['a database that does not exist', (url: URL) => { url.pathname = '/nowhere'; }, 'database "nowhere" does not exist'],
      ['TLS that the server does not speak', (url: URL) => { url.searchParams.set('sslmode', 'require'); }, 'does not support SSL'],
    ])('refuses %s instead of waiting for it', async (_what, change, says) => {
      const url = new URL(database.url);
      change(url);
      const refused = await serve(url.href).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(StoreUnusable);
      expect(refused).toHaveProperty('message', expect.stringContaining(says));
    });
  });

  describe('telling each other', () => {
    let proxy: DatabaseProxy, one: Service, other: Service, token: string, app: string, applicationId: string;
    beforeAll(async () => {
      proxy = await startDatabaseProxy(database.url);
      one = await serve(database.url);
      other = await serve(proxy.url);
      token = await tokenOf(one);
      applicationId = (await ask(one.url, token, 'POST', '/applications', { name: 'Told' })).body.application.id;
      app = `/applications/${applicationId}`;
    });
    afterAll(async () => {
      await Promise.all([one.close(), other.close()]);
      await proxy.close();
    });

    const connect = async () => (await ask(one.url, token, 'POST', `${app}/sessions`, {})).body.session.id as string;
    const watch = (id: string, at = other) => openStream(`${at.url}/api/v1${app}/sessions/${id}/events`, token);
    /** Cuts as an operator at instance one would; ms until the client at the other instance knows. */
    async function latency(revoke: (id: string) => string, at = other): Promise<number> {
      const id = await connect(), stream = await watch(id, at);
      const started = performance.now();
      const answered = ask(one.url, token, 'DELETE', revoke(id));
      const event = await stream.next();
      const took = performance.now() - started;
      expect(event).toMatchObject({ event: 'disconnect', data: { sessionId: id, reason: 'revoked' } });
      expect((await answered).body).toMatchObject({ success: true, disconnectedCount: 1 });
      await stream.ended;
      return took;
    }
    const single = (id: string) => `${app}/sessions/${id}`, everybody = () => `${app}/sessions`;

    it.each([['one', single], ['all', everybody]])('a client of the other instance learns in 2 s that %s was revoked', async (_what, how) => {
      const took: number[] = [];
      for (let round = 0; round < 15; round++) took.push(await latency(how));
      console.log(`disconnect on the other instance: ${figures(took)}`);
      expect(Math.max(...took)).toBeLessThan(inCI(2_000));
    });

    it('does so while others write, and while a stranger has a transaction open', async () => {
      const stranger = new pg.Client(database.url);
      await stranger.connect();
      await stranger.query('begin; select pg_current_xact_id()'); // events are ordered by these
      let writing = true;
      const writers = Promise.all([one, other].map(async ({ url }) => { while (writing) await ask(url, token, 'POST', `${app}/sessions`, {}); }));
      const here: number[] = [], there: number[] = [];
      for (let round = 0; round < 8; round++) { here.push(await latency(single, one)); there.push(await latency(single)); }
      writing = false;
      await writers;
      await stranger.query('rollback');
      await stranger.end();
      console.log(`beside a stranger's transaction: same instance ${figures(here)}; other instance ${figures(there)}`);
      expect(Math.max(...here)).toBeLessThan(inCI(1_000));
      expect(Math.max(...there)).toBeLessThan(inCI(2_000));
    });

    it.each([
      ['can listen no more', async () => { proxy.cut('bell'); }],
      ['has a listening connection that has gone silent', async () => { proxy.silence('bell'); }],
      ['has its listening connection ended again and again', async () => { await sql(database.url, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rollcall bell'`); }],
    ])('misses nothing and tells nothing twice when the other instance %s', async (_what, disturb) => {
      const readers = await Promise.all([one, other].map(({ url }) => openStream(`${url}/api/v1${app}/events`, token)));
      const took: number[] = [], ended: string[] = [];
      for (let round = 0; round < 5; round++) {
        await disturb();
        const id = await connect(), stream = await watch(id);
        ended.push(id);
        const started = performance.now();
        await ask(one.url, token, 'DELETE', single(id));
        await stream.next();
        took.push(performance.now() - started);
      }
      proxy.mend();
      console.log(`disconnect without the bell: ${figures(took)}`);
      expect(Math.max(...took)).toBeLessThan(inCI(5_000));
      const told = (events: { event: string; data: any; id: string | undefined }[]) => events.filter(({ event }) => event === 'session.disconnected').map(({ data }) => data.sessionId);
      await until(() => readers.every(({ events }) => ended.every((id) => told(events).includes(id))), inCI(5_000), 'both readers have been told');
      for (const { events, close } of readers) {
        expect(told(events).filter((id) => ended.includes(id))).toEqual(ended);
        expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
        close();
      }
      const ids = readers.map(({ events }) => events.filter(({ data }) => ended.includes(data.sessionId)).map(({ id }) => id));
      expect(ids[1]).toEqual(ids[0]);
    });

    it('rings for many applications with one statement at a time', async () => {
      const warnings: string[] = [];
      const hear = ({ message }: Error) => { warnings.push(message); };
      process.on('warning', hear);
      const heard = { one: new Set<string>(), other: new Set<string>() };
      const errors: unknown[] = [];
      const bells = (['one', 'other'] as const).map((name) => {
        const listening = Promise.withResolvers<void>();
        return { ...openBell(database.url, { onRing: (id) => heard[name].add(id), onListening: listening.resolve, onError: (error) => errors.push(error) }), listening: listening.promise };
      });
      await Promise.all(bells.map(({ listening }) => listening));
      const ids = Array.from({ length: 500 }, (_, index) => `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`);
      const send = vi.spyOn(pg.Client.prototype, 'query');
      try {
        for (const [index, id] of ids.entries()) {
          bells[0]!.ring(id);
          if (index % 100 === 99) await wait(8); // also while the last ring is on its way
        }
        await until(() => ids.every((id) => heard.other.has(id)), inCI(1_000), 'the other has heard all');
        expect(send.mock.calls.filter((call) => String(call[0]).includes('pg_notify')).length).toBeLessThan(20);
      } finally { send.mockRestore(); }
      // Cut in the middle of ringing: said once, and nothing is sent on what is broken.
      const ringing = setInterval(() => ids.slice(0, 20).forEach(bells[0]!.ring), 1);
      await sql(database.url, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rollcall bell' and datname = current_database()`);
      await wait(300);
      clearInterval(ringing);
      heard.other.clear();
      await until(() => { bells[0]!.ring(ids[0]!); return heard.other.has(ids[0]!); }, inCI(3_000), 'they hear each other again');
      expect(errors.map(String).filter((error) => !/terminating connection|terminated unexpectedly|listening connection ended/.test(error))).toEqual([]);
      expect(errors).toHaveLength(2);
      const closing = performance.now();
      await Promise.all(bells.map((bell) => bell.close()));
      expect(performance.now() - closing).toBeLessThan(inCI(300));
      process.off('warning', hear);
      expect(warnings.filter((message) => message.includes('client.query()'))).toEqual([]);
    });

    it('deleteApplication ends the streams of the application, and of its sessions, on the other instance too', async () => {
      const { body: { application } } = await ask(one.url, token, 'POST', '/applications', { name: 'Deleted' });
      const path = `/applications/${application.id}`, { body: { session } } = await ask(one.url, token, 'POST', `${path}/sessions`, {});
      const [all, own] = await Promise.all([`${path}/events`, `${path}/sessions/${session.id}/events`].map((events) => openStream(`${other.url}/api/v1${events}`, token)));
      const started = performance.now();
      expect((await ask(one.url, token, 'DELETE', path)).status).toBe(200);
      expect((await own!.ended).map(({ event, data }) => [event, data.reason])).toEqual([['disconnect', 'revoked']]);
      expect((await all!.ended).map(({ event }) => event)).toEqual(['sessions.revoked']);
      expect(performance.now() - started).toBeLessThan(inCI(2_000));
      expect((await ask(other.url, token, 'GET', `${path}/events`)).status).toBe(404);
      await until(() => other.streams.count === 0, inCI(1_000), 'nothing is left open');
    });

    it('listens again by itself', async () => {
      const listening = async () => (await sql(database.url, `select 1 from pg_stat_activity where application_name = 'rollcall bell' and query <> ''`)).length >= 2;
      await until(listening, inCI(3_000), 'both listen');
    });
  });

  describe('at the same time', () => {
    let stores: Store[], tenant: Tenant;
    beforeAll(async () => {
      stores = await Promise.all([1, 2].map(async () => { const db = await openPostgres(database.url, () => {}); return createStore(db, { ...times, now: db.now }); }));
      tenant = await application();
    });
    afterAll(() => Promise.all(stores.map((store) => store.close())));
    const application = async (): Promise<Tenant> => ({ organizationId: ORGANIZATION, applicationId: (await stores[0]!.createApplication(ORGANIZATION, 'Together')).id, boundTo: undefined });
    const connect = async (store: Store, to = tenant) => {
      const connected = await store.connect(to, newSession());
      if (connected?.outcome !== 'created') throw new Error('it was not let in');
      return connected.session.id;
    };

    it('loses no event, and tells those of a session in order, however the writers overlap', async () => {
      const own = await application();
      const writer = async (store: Store) => {
        for (let round = 0; round < 40; round++) await store.endSession(own, undefined, await connect(store, own));
      };
      let writing = true;
      const read: StoredEvent[] = [];
      const reader = (async () => {
        let position: EventPosition = { tx: 0, seq: 0 };
        for (let last = false; ;) {
          const events = await stores[1]!.readEvents(own.applicationId, position, 7);
          read.push(...events);
          position = events.at(-1)?.position ?? position;
          if (events.length === 0 && last) return;
          last = !writing;
        }
      })();
      await Promise.all(Array.from({ length: 12 }, (_, index) => writer(stores[index % 2]!)));
      writing = false;
      await reader;
      const written = await sql<{ tx: string; seq: string }>(database.url, 'select tx, seq from events where application_id = $1 order by tx, seq', [own.applicationId]);
      expect(written).toHaveLength(12 * 40 * 2);
      expect(read.map(({ position }) => [position.tx, position.seq])).toEqual(written.map(({ tx, seq }) => [Number(tx), Number(seq)]));
      const connected = new Set<string>();
      for (const event of read) {
        if (event.type === 'session.connected') connected.add(event.sessionId);
        else if (event.type === 'session.disconnected') expect(connected.delete(event.sessionId)).toBe(true);
      }
      expect(connected.size).toBe(0);
    });

    it('reads past what a lower number has yet to commit only when nothing can follow', async () => {
      const own = await application();
      const slow = new pg.Client(database.url);
      await slow.connect();
      const insert = `insert into events (application_id, at, type, session_id, generation, reason) values ($1, 1, 'session.disconnected', $1, 1, 'ended')`;
      // A transaction of ours that takes its time: it holds the application's lock, as all that write events do.
      await slow.query('begin');
      await slow.query('select pg_advisory_xact_lock_shared(hashtextextended($1, 0))', [own.applicationId]);
      await slow.query(insert, [own.applicationId]);
      const id = await connect(stores[0]!, own);
      const reading = stores[1]!.readEvents(own.applicationId, { tx: 0, seq: 0 }, 100);
      await wait(400);
      await slow.query('commit');
      await slow.end();
      expect((await reading).map((event) => 'sessionId' in event && event.sessionId)).toEqual([own.applicationId, id]);
    });

    it('counts every session exactly once: created = ended + revoked + still there', async () => {
      const own = await application();
      let created = 0, ended = 0, revoked = 0;
      const until = performance.now() + 4_000;
      const going = () => performance.now() < until || created <= 200;
      const open: string[] = [];
      const creator = async (store: Store) => { while (going()) { open.push(await connect(store, own)); created++; } };
      const ender = async (store: Store) => {
        while (going()) {
          const id = open.splice(Math.floor(Math.random() * open.length), 1)[0];
          if (id === undefined) { await wait(1); continue; }
          await store.endSession(own, undefined, id);
          const { disconnectReason } = (await store.getSession(own, id))!;
          if (disconnectReason === 'ended') ended++; else expect(disconnectReason).toBe('revoked');
        }
      };
      const revoker = async (store: Store, each: number) => {
        for (let round = 0; going(); round++) {
          await wait(each);
          const done = round % 3 === 2 ? await store.revokeMatching(own, { statuses: new Set(['active']) }, {}, {}, actor) : await store.revokeAll(own, {}, actor);
          revoked += (done as { count: number }).count; // without a bound nothing is too many
        }
      };
      await Promise.all([...stores.flatMap((store) => [creator(store), creator(store), creator(store), ender(store)]), revoker(stores[0]!, 90), revoker(stores[1]!, 130)]);
      const { byDerivedStatus: { active } } = (await stores[0]!.countSessions(own))!;
      console.log(`created ${created} = ended ${ended} + revoked ${revoked} + live ${active}`);
      expect(created).toBeGreaterThan(200);
      expect(ended + revoked + active).toBe(created);
      const audited = (await sql<{ sum: string }>(database.url, 'select sum(count) from revocations where application_id = $1', [own.applicationId]))[0]!.sum;
      expect(Number(audited)).toBe(revoked);
    });

    it('ends one session once, whoever asks at the same time', async () => {
      const own = await application();
      for (let round = 0; round < 20; round++) {
        const id = await connect(stores[0]!, own);
        const counts = await Promise.all(Array.from({ length: 6 }, async (_, index) => {
          const store = stores[index % 2]!;
          if (index > 3) { await store.endSession(own, undefined, id); return 0; }
          return (await store.revokeSession(own, id, actor))!; // it is there
        }));
        const { disconnectReason } = (await stores[0]!.getSession(own, id))!;
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(disconnectReason === 'revoked' ? 1 : 0);
        const told = await sql(database.url, `select 1 from events where application_id = $1 and session_id = $2 and type = 'session.disconnected'`, [own.applicationId, id]);
        expect(told).toHaveLength(1);
      }
    });

    it('writes the heartbeats of the same sessions from both without a deadlock', async () => {
      const own = await application();
      const ids: string[] = [];
      await Promise.all(Array.from({ length: 8 }, async (_, index) => { while (ids.length < 1_200) ids.push(await connect(stores[index % 2]!, own)); }));
      const deadlocks = async () => Number((await sql<{ deadlocks: string }>(database.url, 'select deadlocks from pg_stat_database where datname = current_database()'))[0]!.deadlocks);
      const before = await deadlocks();
      for (let round = 0; round < 12; round++) {
        await Promise.all(stores.map(async (store, index) => {
          const shuffled = ids.map((id) => [Math.random(), id] as const).sort().map(([, id]) => id);
          await store.recordHeartbeats(own, undefined, shuffled.slice(0, 1_000).map((id) => beatOf(id, { lastActiveAt: store.now() })));
          if (index === round % 2) await store.settleRevocations(own.applicationId);
          await store.flush();
        }));
      }
      await wait(1_100); // a backend tells its figures once a second at most
      expect(await deadlocks() - before).toBe(0);
    });
  });

  describe('every statement', () => {
    it('on the way of a request is about one application, by the key that distributes the tables', async () => {
      const own = await createDatabase();
      const test = await startTestService({ env: { DATABASE_URL: own.url } });
      const seen = new Map<string, { text: string; values: unknown[] }[]>();
      const original = pg.Client.prototype.query;
      const spy = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...given: any[]) { // one of many overloads
        const [config, values] = given;
        const text: string = config?.text ?? config;
        const sent = seen.get(text) ?? [];
        seen.set(text, [...sent, { text, values: config?.values ?? (Array.isArray(values) ? values : []) }]);
        return (original as any).apply(this, given);
      });
      const applicationIds = new Set<unknown>();
      try {
        await history(test, test.clock, (id) => applicationIds.add(id));
      } finally {
        spy.mockRestore();
        await test.close();
        await own.drop();
      }
      const strange: string[] = [];
      let looked = 0;
      for (const [text, sent] of seen) {
        // Of the connection; of the clock, the bell and readiness; and the one list that is not of an application: that of the applications.
        if (/ from applications where organization_id = \$1 /.test(text)) continue;
        if (/^(begin|commit|rollback|listen rollcall|select 1( as one)?|select pg_notify\('rollcall', value\) from json_array_elements_text\(\$1\)|select \(extract\(epoch from clock_timestamp\(\)\) \* 1000\)::float8 as now)$/.test(text)) continue;
        looked++;
        if (sent.some(({ values }) => !applicationIds.has(values[0]))) strange.push(`not of an application: ${text}`);
        if (!/(application_id|a\.id|where id) = \$1|^insert into \w+ \((application_id, |id, organization_id, name)|^select pg_advisory_xact_lock(_shared)?\(hashtextextended\(\$1, 0\)\)$/.test(text)) strange.push(`not by the key: ${text}`);
        for (const [, alias] of text.matchAll(/ join (?:session\w*|revo\w*|applications|events) (\w)\b/g)) {
          if (!new RegExp(`\\b${alias}\\.(application_id|id) = (\\w\\.(application_id|id)|\\$1)`).test(text)) strange.push(`joined beside the key: ${text}`);
        }
      }
      expect(strange).toEqual([]);
      expect(looked).toBeGreaterThan(30);
    });
  });
});

const figures = (took: number[]): string => {
  const sorted = [...took].sort((a, b) => a - b);
  return `median ${sorted[sorted.length >> 1]!.toFixed(0)} ms, most ${sorted.at(-1)!.toFixed(0)} ms`;
};

/** A front that sends each request to the next instance. */
async function inTurn(urls: readonly string[]): Promise<{ url: string; server: Server }> {
  let turn = 0;
  const server = createServer((req, res) => {
    const { hostname, port } = new URL(urls[turn++ % urls.length]!);
    const onward = request({ hostname, port, path: req.url, method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode!, answer.headers); // an answer has one
      answer.on('error', () => res.destroy());
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    res.on('close', () => onward.destroy());
    req.pipe(onward);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }; // it listens on TCP
}

/** One history of calls through every operation, with values that databases and JSON treat differently. Answers every answer, without what is made up anew each time. */
async function history(test: Awaited<ReturnType<typeof startTestService>>, clock: ReturnType<typeof createClock>, onApplication = (_id: string) => {}): Promise<string[]> {
  const answers: string[] = [], names = new Map<string, string>();
  const plain = (text: string) => text
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => { if (!names.has(id)) names.set(id, `<${names.size}>`); return names.get(id)!; })
    .replace(/"nextCursor":"[\w-]+"/g, '"nextCursor":"<cursor>"').replace(/"requestId":"[^"]+"/g, '"requestId":"<request>"');
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await test.call(method, path, { body });
    answers.push(plain(`${method} ${path} ${answer.status} ${answer.headers.get('content-type')} ${answer.headers.get('location')} ${answer.text}`));
    return answer;
  };
  const { body: { application } } = await call('POST', '/applications', { name: 'Ünïcode 🚀 "quoted" \\ a\u0301' });
  onApplication(application.id);
  const app = `/applications/${application.id}`;
  const infos: (object | null)[] = [
    { zebra: 1, name: 'b', alpha: { z: [1, null, { y: true }], a: 1e21 }, version: '1.0' }, { name: 'B' }, { name: 'a\u0301' }, { name: '\u00e1' },
    { name: "'; drop table sessions; --" }, { name: '%_\\' }, { name: '\u{1F600}', title: 'Émoji \u{1F600}' }, { version: '2', '10': 1, '9': 2 }, null, {},
  ];
  const ids: string[] = [];
  for (const [index, clientInfo] of infos.entries()) {
    clock.advance(1_000);
    const { body } = await call('POST', `${app}/sessions`, {
      clientInfo, hostname: index % 3 === 0 ? null : `host-${index % 3}\t<&>"'`, userAgent: index % 2 === 0 ? 'Agent/1.0 (\u00df; \ud83d\ude80)' : null,
      userId: ['ada', 'Ada', 'ada '][index % 3], externalId: `x\u0301 ${index}`, credentialId: `grant/${index % 4} ü`,
      ...(index % 2 === 0 && { tokenExpiresAt: new Date(clock.now() + index * 4_000).toISOString() }),
      ...(index % 4 === 0 && { credentialExpiresAt: '2026-12-31T23:59:59.999+02:00' }),
    });
    ids.push(body.session?.id);
  }
  await call('POST', `${app}/sessions`, { externalId: 'x\u0301 3', tokenExpiresAt: '2026-11-23T12:30:00.5Z' });
  const lists = async () => {
    for (const query of ['', '?status=all', '?status=inactive', '?includeInactive=true', '?derivedStatus=expired', '?derivedStatus=idle,disconnected', '?userId=ada', '?userId=Ada', '?userId=ada%20', '?clientName=a%CC%81', '?clientName=%C3%A1',
      '?clientName=%25_%5C', "?clientName='%3B%20drop%20table%20sessions%3B%20--", '?hostname=host-1%09%3C%26%3E%22%27', '?lastActiveBefore=2026-11-23T12:00:05Z&status=all', '?limit=3', '?limit=4&status=all']) {
      let path = `${app}/sessions${query}`;
      for (let cursor: string | undefined; ;) {
        const answer = await test.call('GET', cursor ? `${path}${query ? '&' : '?'}cursor=${cursor}` : path);
        answers.push(plain(`GET ${path} ${answer.status} ${answer.text}`));
        cursor = answer.body.nextCursor;
        if (cursor === undefined) break;
      }
    }
    await call('GET', `${app}/session-counts`);
    for (const id of ids) await call('GET', `${app}/sessions/${id}`);
  };
  await lists();
  await call('POST', `${app}/heartbeats`, { heartbeats: [...ids.slice(0, 6).map((sessionId, index) => ({ sessionId, ...(index > 1 && { lastActiveAt: new Date(clock.now() + (index - 3) * 60_000).toISOString() }) })), { sessionId: application.id }] });
  await call('POST', `${app}/heartbeats`, { heartbeats: [{ sessionId: ids[1], tokenExpiresAt: '2026-11-23T13:00:00Z', credentialId: 'new one' }] });
  await test.service.store.flush();
  clock.advance(6_000);
  await lists();
  const stream = await openStream(`${test.url}/api/v1${app}/sessions/${ids[5]}/events`, await test.token());
  const all = await openStream(`${test.url}/api/v1${app}/events`, await test.token());
  await call('POST', `${app}/sessions/${ids[0]}/end`);
  await call('POST', `${app}/sessions/${ids[0]}/end`);
  await call('DELETE', `${app}/sessions/${ids[5]}`);
  answers.push(plain(JSON.stringify((await stream.ended).map(({ event, data }) => ({ event, data })))));
  for (const query of ['?userId=ada&dryRun=true', '?userId=ada&maxCount=1', '?userId=ada', '?clientName=%25_%5C', '?derivedStatus=expired', '?lastActiveBefore=2026-11-23T12:00:03Z']) await call('DELETE', `${app}/sessions${query}`);
  await call('POST', `${app}/sessions`, { credentialId: 'grant/0 ü' });
  await lists();
  await call('DELETE', `${app}/sessions?dryRun=true`);
  await call('DELETE', `${app}/sessions`);
  await call('GET', `${app}/revoked-credentials?limit=2`);
  await lists();
  await test.service.store.settleRevocations(application.id);
  await call('GET', `${app}/revoked-credentials`);
  await call('DELETE', `${app}/revoked-credentials/${encodeURIComponent('grant/1 ü')}`);
  await call('DELETE', `${app}/revoked-credentials/never`);
  await call('POST', `${app}/sessions`, { credentialId: 'grant/1 ü', externalId: 'x\u0301 3' });
  await call('GET', `${app}/revocations`);
  await call('GET', `${app}/revocations?limit=2`);
  await lists();
  await test.service.hub.poll();
  all.close();
  await all.ended;
  answers.push(...all.events.map(({ event, data }) => plain(JSON.stringify({ event, data }))));
  await call('GET', '/applications');
  await call('DELETE', app);
  await call('GET', `${app}/sessions`);
  return answers;
}
