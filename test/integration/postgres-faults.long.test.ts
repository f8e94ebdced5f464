// What goes wrong around several instances on one PostgreSQL: they say so, lose nothing, call nobody lost, and go on by themselves.
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTo, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { watchSession } from '../../client/events.ts';
import { createClient } from '../../client/index.ts';
import { ask, inCI, killInstances, spawnInstance, sql, startDatabaseProxy, startInstance, startPrivateCluster, tokens, until, type DatabaseProxy, type Instance, type PrivateCluster, type Timed } from '../support/instances.ts';
import { postgresIsThere } from '../support/postgres.ts';
import { openStream } from '../support/stream.ts';

const LEASE = 4_000, LATE = 10_000;
/** A caller hears within 2 s that the store is away; CI's machine is given half as much again. */
const ANSWERED = 2_000 * 1.5;

describe.runIf(postgresIsThere())('several instances on one PostgreSQL', () => {
  let cluster: PrivateCluster, admin: string, direct: string, proxy: DatabaseProxy, one: Instance, two: Instance, token: string, app: string;
  const env = { LEASE: `${LEASE}ms`, IDLE_AFTER: '1h' };

  beforeAll(async () => {
    cluster = await startPrivateCluster();
    cluster.start();
    admin = cluster.url;
    // No superuser: those are let in where there is no room, and past every limit.
    await sql(admin, `create role service login`);
    await sql(admin, 'create database service owner service');
    direct = `postgres://service@127.0.0.1:${cluster.port}/service`;
    proxy = await startDatabaseProxy(direct);
  }, 60_000);
  afterAll(async () => {
    await killInstances();
    await proxy.close();
    cluster.drop();
  }, 60_000);
  beforeEach(async () => {
    [one, two] = await Promise.all([startInstance(proxy.url, { env }), startInstance(proxy.url, { env })]) as [Instance, Instance];
    token = await (await tokens(direct))();
    app = `/applications/${(await ask(one.url, token, 'POST', '/applications', { name: 'Faults' })).body.application.id}`;
  }, 60_000);
  afterEach(async () => { await killInstances(); });

  const connect = async (at = one) => {
    const answer = await ask(at.url, token, 'POST', `${app}/sessions`, {});
    if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`);
    return answer.body.session.id as string;
  };
  const reasonOf = async (id: string, at = one): Promise<string> => {
    const { body } = await ask(at.url, token, 'GET', `${app}/sessions/${id}`);
    return body.session.disconnectReason ?? body.session.status;
  };
  const isServing = async ({ url }: Instance) => (await ask(url, token, 'GET', `${app}/sessions`)).status === 200;
  const both = () => Promise.all([isServing(one), isServing(two)]).then((answers) => answers.every(Boolean), () => false);

  /** What every answer has to be while the store is away. */
  function expectAway(path: string, { status, headers, body, text, ms }: Timed): void {
    expect.soft({ path, status, text: status === 503 ? '' : text }).toEqual({ path, status: 503, text: '' });
    expect.soft(headers.get('retry-after'), path).toMatch(/^\d+$/);
    expect.soft(headers.get('content-type')).toBe('application/problem+json');
    expect.soft(body).toMatchObject({ type: '/docs/errors#store-unavailable', status: 503 });
    expect.soft(ms, `${path} was answered`).toBeLessThan(ANSWERED);
  }

  describe('says that the database is away, and goes on when it is back', () => {
    it.each<[string, () => Promise<void> | void, () => Promise<unknown> | void]>([
      ['is restarted', () => cluster.end('SIGINT'), () => cluster.start()],
      ['has crashed', () => cluster.end('SIGQUIT'), () => cluster.start()],
      ['hangs', () => cluster.hang(), () => cluster.goOn()],
      ['is behind a network that has gone silent', () => proxy.silence(), () => proxy.mend()],
      ['is behind a network that is cut', () => proxy.cut(), () => proxy.mend()],
      ['has no connection left', async () => {
        await sql(admin, 'alter role service connection limit 0');
        await sql(admin, `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'service'`);
      }, () => sql(admin, 'alter role service connection limit -1')],
    ])('when it %s', async (_what, begin, end) => {
      const kept = await Promise.all(Array.from({ length: 10 }, (_, index) => connect(index % 2 ? one : two)));
      const [silent, ended] = [await connect(), await connect()];
      const stream = await openStream(`${two.url}/api/v1${app}/sessions/${await connect(two)}/events`, token);
      expect((await ask(one.url, token, 'POST', `${app}/sessions/${ended}/end`)).status).toBe(200);
      const acknowledged = [...kept];
      let doing = true, refused = 0;
      // These go on all the time, as clients do: some create, the others say that they are there.
      const creators = [one, two].map(async ({ url }) => {
        while (doing) {
          const answer = await ask(url, token, 'POST', `${app}/sessions`, {});
          if (answer.status === 201) acknowledged.push(answer.body.session.id);
          else { expect.soft(answer.status).toBe(503); refused++; await wait(50); }
        }
      });
      const beaters = [one, two].map(async ({ url }) => {
        while (doing) {
          const { status, body } = await ask(url, token, 'POST', `${app}/heartbeats`, { heartbeats: [...acknowledged.slice(0, 500)].map((sessionId) => ({ sessionId })) });
          expect.soft([200, 503]).toContain(status);
          if (status === 200) expect.soft(body.ended).toEqual([]);
          await wait(200);
        }
      });
      await wait(500);

      await begin();
      const from = performance.now();
      // Until the first refusal a request may still be lucky.
      await until(async () => !await both(), 3_000, 'it was noticed');
      for (const instance of [one, two]) {
        const path = `${app}/sessions`;
        await Promise.all([
          ...Array.from({ length: 15 }, () => ask(instance.url, token, 'GET', path).then((answer) => expectAway('list', answer))), // more than there are connections
          ask(instance.url, token, 'GET', `${path}/${kept[0]}`).then((answer) => expectAway('get', answer)),
          ask(instance.url, token, 'DELETE', path).then((answer) => expectAway('revoke all', answer)),
          ask(instance.url, token, 'DELETE', `${path}?userId=nobody`).then((answer) => expectAway('revoke some', answer)),
          ask(instance.url, token, 'POST', `${path}/${kept[0]}/end`).then((answer) => expectAway('end', answer)),
          ask(instance.url, token, 'GET', `${path}/${kept[0]}/events`).then((answer) => expectAway('stream', answer)),
          ask(instance.url, token, 'GET', '/applications').then((answer) => expectAway('applications', answer)),
          ask(instance.url, undefined, 'GET', '/livez').then(({ status }) => expect.soft(status).toBe(200)),
          ask(instance.url, undefined, 'GET', '/readyz').then(({ status, body, ms }) => {
            expect.soft({ status, body }).toEqual({ status: 503, body: { status: 'unavailable', reasons: [{ code: 'store-unreachable', detail: 'the store is out of reach' }] } });
            expect.soft(ms).toBeLessThan(ANSWERED);
          }),
        ]);
      }
      await wait(Math.max(0, LEASE + 1_500 - (performance.now() - from))); // longer than the lease
      const ending = performance.now();
      await end();
      const mended = performance.now();
      // One that was started served before the command that started it has returned: by its own clock.
      const [{ up }] = await sql(cluster.url, 'select (extract(epoch from clock_timestamp() - pg_postmaster_start_time()) * 1000)::float8 as up') as [{ up: number }];
      const back = up < performance.now() - ending ? performance.now() - up : mended;
      const took = await until(both, inCI(2_000), 'both serve again');
      console.log(`it ${_what}: serving again after ${took.toFixed(0)} ms; ${refused} creates were refused, ${acknowledged.length} acknowledged`);
      // The connections of one instance come back one by one; nobody is called lost meanwhile, nor later.
      await wait(1_500);
      doing = false;
      await Promise.all([...creators, ...beaters]);
      expect(refused).toBeGreaterThan(0);
      const seen = new Map<string, string>();
      const client = createClient({ baseUrl: one.url, token });
      for await (const { id, disconnectReason, status } of client.sessions.list(app.split('/')[2]!, { status: 'all', limit: 1_000 })) seen.set(id, disconnectReason ?? status);
      expect(acknowledged.filter((id) => !seen.has(id))).toEqual([]);
      // A revoke that was refused may all the same have been done: then it has ended those it found, exactly.
      expect(seen.get(ended)).toBe('ended');
      expect([...new Set(kept.map((id) => seen.get(id)))].filter((state) => state === 'lost')).toEqual([]);
      const revoked = seen.get(silent) === 'revoked';
      if (!revoked) {
        expect(seen.get(silent)).toBe('active');
        await until(async () => await reasonOf(silent) === 'lost', LEASE + LATE, 'who has gone is lost');
        expect(performance.now() - back).toBeGreaterThan(LEASE - 100);
        expect(stream.events).toEqual([]); // it was open all the time, and its session there
      }
      stream.close();
      expect([one.running, two.running]).toEqual([true, true]);
      for (const { logged } of [one, two]) expect(logged.filter(({ level, status }) => level >= 60 || status === 500)).toEqual([]);
    }, 60_000);
  });

  it.each<[string, () => Promise<void> | void, () => Promise<void> | void]>([
    ['is not there', () => cluster.end('SIGINT'), () => cluster.start()],
    ['hangs', () => cluster.hang(), () => cluster.goOn()],
    ['is behind a network that has gone silent', () => proxy.silence(), () => proxy.mend()],
  ])('starts when the database %s, says so, and serves when it is there', async (_what, begin, end) => {
    await begin();
    const instance = await spawnInstance(proxy.url, { env });
    await until(() => ask(instance.url, undefined, 'GET', '/livez').then(({ status }) => status === 200, () => false), 15_000, 'it listens');
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(['/livez', '/readyz', '/applications', `${app}/sessions`].map((path) => ask(instance.url, token, 'GET', path)));
      expect(answers[0]!.status).toBe(200);
      expect([answers[1]!.status, answers[1]!.body]).toEqual([503, { status: 'unavailable', reasons: [{ code: 'starting', detail: 'the server is starting, and waits for its store' }] }]);
      for (const answer of answers.slice(2)) expectAway('at start', answer);
      await wait(300);
    }
    await end();
    const took = await until(() => isServing(instance), inCI(2_000), 'it serves');
    console.log(`started while it ${_what}: serving ${took.toFixed(0)} ms after it was there`);
    expect(instance.running).toBe(true);
  }, 60_000);

  it('does not start with a wrong password, and says why', async () => {
    const file = join(cluster.server.data, 'pg_hba.conf');
    await sql(admin, `create role secret login password 'right'`);
    const before = readFileSync(file, 'utf8');
    writeFileSync(file, `host all secret 127.0.0.1/32 scram-sha-256\n${before}`);
    await sql(admin, 'select pg_reload_conf()');
    for (const [password, says] of [['wrong', 'password authentication failed for user "secret"'], ['', 'password']] as const) {
      const instance = await spawnInstance(direct.replace('service@', `secret${password && `:${password}`}@`));
      expect(await instance.exited).toBe(78);
      expect(instance.stderr).toContain(says);
      expect(instance.stderr).not.toContain('    at '); // words, no stack
    }
  }, 40_000);

  it('notices within 3 s that the connection it listens on has gone silent, and misses nothing', async () => {
    await wait(1_200);
    const streams = await Promise.all([one, two].map(async (instance) => {
      const id = await connect(instance);
      return { id, stream: await openStream(`${instance.url}/api/v1${app}/sessions/${id}/events`, token) };
    }));
    const broken = ({ logged }: Instance) => logged.filter(({ msg }) => msg.startsWith('the listening connection broke')).length;
    const before = [broken(one), broken(two)];
    proxy.silence('bell');
    const started = performance.now();
    for (const [index, { id, stream }] of streams.entries()) {
      await ask([two, one][index]!.url, token, 'DELETE', `${app}/sessions/${id}`);
      expect((await stream.next()).event).toBe('disconnect');
    }
    expect(performance.now() - started).toBeLessThan(inCI(5_000));
    await until(() => broken(one) > before[0]! && broken(two) > before[1]!, Math.max(1, 3_000 - (performance.now() - started)) * 1.5, 'the silence was noticed');
    console.log(`silence noticed after ${(performance.now() - started).toFixed(0)} ms`);
    proxy.mend();
    await until(async () => (await sql(admin, `select 1 from pg_stat_activity where application_name = 'rollcall bell' and query like 'listen%' or query = 'select 1'`)).length >= 2, inCI(3_000), 'both listen again');
  }, 40_000);

  it('keeps the sessions of a killed instance whose clients go to the other, and calls the rest lost after the lease', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => connect()));
    const open = (id: string, at: Instance) => openStream(`${at.url}/api/v1${app}/sessions/${id}/events`, token);
    const streams = await Promise.all(ids.map((id) => open(id, one)));
    await wait(LEASE); // long enough to have beaten
    await one.kill();
    const killed = performance.now();
    await Promise.all(streams.map(({ ended }) => ended));
    const [loyal, gone] = [ids.slice(0, 10), ids.slice(10)];
    const again = await Promise.all(loyal.map((id) => open(id, two)));
    const lostAt = new Map<string, number>();
    await until(async () => {
      const { body } = await ask(two.url, token, 'GET', `${app}/sessions?status=all&limit=1000`);
      for (const { id, disconnectReason } of body.items) if (disconnectReason === 'lost' && !lostAt.has(id)) lostAt.set(id, performance.now() - killed);
      return lostAt.size >= gone.length;
    }, LEASE + LATE + 2_000, 'those that were gone are lost');
    const after = [...lostAt.values()];
    console.log(`lost ${Math.min(...after).toFixed(0)} to ${Math.max(...after).toFixed(0)} ms after the kill, with a lease of ${LEASE} ms`);
    await wait(2_000);
    expect([...lostAt.keys()].sort()).toEqual([...gone].sort());
    expect(Math.min(...after)).toBeGreaterThan(LEASE * 2 / 3); // the last beat of a stream is up to a third of the lease before the end
    expect(Math.max(...after)).toBeLessThan(LEASE + LATE);
    expect(await Promise.all(loyal.map((id) => reasonOf(id, two)))).toEqual(loyal.map(() => 'active'));
    for (const stream of again) { expect(stream.events).toEqual([]); stream.close(); }
  }, 60_000);

  it('writes nothing stale when it was stopped and goes on', async () => {
    const [revoked, left] = [await connect(), await connect()];
    const staying = await connect(two);
    const streams = await Promise.all([revoked, left].map((id) => openStream(`${one.url}/api/v1${app}/sessions/${id}/events`, token)));
    const stays = await openStream(`${two.url}/api/v1${app}/sessions/${staying}/events`, token);
    let doing = true;
    const busy = Promise.all(Array.from({ length: 6 }, async () => { while (doing) await ask(one.url, token, 'POST', `${app}/sessions`, {}).catch(() => wait(100)); })); // so that it is stopped amid transactions
    await wait(300);
    one.signal('SIGSTOP');
    doing = false;
    const late = ask(one.url, token, 'POST', `${app}/heartbeats`, { heartbeats: [{ sessionId: revoked }] }).catch(() => undefined); // a connection that has waited so long may be closed
    for (const stream of streams) stream.close(); // nobody is there any more, and the instance cannot know
    const single = await ask(two.url, token, 'DELETE', `${app}/sessions/${revoked}`);
    expect([single.status, single.body]).toEqual([200, { success: true, disconnectedCount: 1 }]);
    await until(async () => await reasonOf(left, two) === 'lost', LEASE + LATE + 2_000, 'who has left is lost');
    await wait(7_000); // it is stopped for longer than a slow machine would explain
    one.signal('SIGCONT');
    expect((await late)?.body ?? 'no answer').toEqual((await late) ? { accepted: 0, ended: [{ sessionId: revoked, reason: 'revoked' }] } : 'no answer');
    await busy;
    for (let round = 0; round < 12; round++) {
      for (const at of [one, two]) expect([await reasonOf(revoked, at), await reasonOf(left, at), await reasonOf(staying, at)]).toEqual(['revoked', 'lost', 'active']);
      await wait(250);
    }
    // What it was in the middle of is done or not, and a revoke-all finds all of it.
    const { items } = (await ask(two.url, token, 'GET', `${app}/sessions?derivedStatus=active,idle,expired&limit=1000`)).body;
    expect((await ask(two.url, token, 'DELETE', `${app}/sessions`)).body).toEqual({ success: true, disconnectedCount: items.length });
    expect((await stays.ended).map(({ event }) => event)).toEqual(['disconnect']);
  }, 60_000);

  it('lets a revoke-all through although a stopped instance is in the middle of a transaction', async () => {
    for (let round = 0; round < 3; round++) {
      let doing = true;
      const busy = Promise.all(Array.from({ length: 12 }, async () => { while (doing) await ask(one.url, token, 'POST', `${app}/sessions`, {}).catch(() => wait(100)); }));
      await wait(300 + round * 37);
      one.signal('SIGSTOP');
      doing = false;
      const answer = await ask(two.url, token, 'DELETE', `${app}/sessions`);
      expect(answer.status).toBe(200);
      expect(answer.ms).toBeLessThan(ANSWERED);
      one.signal('SIGCONT');
      await busy;
    }
  }, 60_000);

  it('is restarted one instance after the other under load, and no call fails and no session is lost', async () => {
    const backends = [one, two];
    const front = await startFront(() => backends.filter(({ running }) => running).map(({ url }) => Number(new URL(url).port)));
    const applicationId = app.split('/')[2]!;
    const client = createClient({ baseUrl: front.url, token, retries: 4 });
    const stop = new AbortController();
    const watched = await Promise.all(Array.from({ length: 10 }, (_, index) => client.sessions.create(applicationId, { externalId: `watched ${index}` })));
    const overs: unknown[] = [];
    const watching = watched.map(({ session: { id } }) => watchSession({ baseUrl: front.url, token, applicationId, sessionId: id, signal: stop.signal }).then((over) => overs.push(over), () => {}));
    let doing = true, calls = 0;
    const failed: unknown[] = [];
    const load = Array.from({ length: 6 }, async (_, worker) => {
      for (let round = 0; doing; round++) {
        try {
          const { session } = await client.sessions.create(applicationId, { externalId: `load ${worker} ${round}` });
          await client.sessions.heartbeat(applicationId, [{ sessionId: session.id, lastActiveAt: new Date().toISOString() }]);
          await client.sessions.page(applicationId, { limit: 20 });
          await client.sessions.end(applicationId, session.id);
          expect((await client.sessions.get(applicationId, session.id)).status).toBe('disconnected');
          calls += 5;
        } catch (error) { failed.push(error); }
      }
    });
    const more = () => { const before = calls; return until(() => calls > before + 75, 20_000, 'the load goes on'); };
    await more();
    for (const index of [0, 1]) {
      const started = performance.now();
      expect(await backends[index]!.stop()).toBe(0);
      console.log(`left in good order after ${(performance.now() - started).toFixed(0)} ms`);
      expect(performance.now() - started).toBeLessThan(10_000);
      backends[index] = await startInstance(proxy.url, { env });
      await more();
    }
    doing = false;
    await Promise.all(load);
    console.log(`${calls} calls through two restarts, ${failed.length} failed`);
    expect(failed).toEqual([]);
    expect(calls).toBeGreaterThan(200);
    for (const { session: { id } } of watched) expect(await reasonOf(id, backends[0])).toBe('active');
    expect(overs).toEqual([]);
    stop.abort(new Error('over'));
    await Promise.all(watching);
    await front.close();
  }, 90_000);
});

/** What stands in front of instances: takes connections to the next one that takes them. */
async function startFront(ports: () => number[]): Promise<{ url: string; close(): Promise<void> }> {
  let turn = 0;
  const open = new Set<{ destroy(): void }>();
  const server = createServer((near) => {
    near.on('error', () => {});
    open.add(near);
    near.on('close', () => open.delete(near));
    const attempt = (left: number) => {
      const all = ports();
      const port = all[turn++ % Math.max(1, all.length)];
      if (port === undefined || left === 0) return void near.destroy();
      const far = connectTo(port, '127.0.0.1');
      let connected = false;
      far.on('connect', () => { connected = true; near.pipe(far).pipe(near); });
      far.on('error', () => { if (!connected) attempt(left - 1); });
      far.on('close', () => { if (connected) near.destroy(); });
      near.on('close', () => far.destroy());
    };
    attempt(4);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on TCP
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
