// PostgreSQL loses its room, or its primary: what was acknowledged is kept, everybody is told in words, and it goes on by itself.
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { canMount, mountDisk } from '../support/disk.ts';
import { ask, inCI, killInstances, sql, startDatabaseProxy, startInstance, startPrivateCluster, tokens, until, type Instance, type PrivateCluster, type Timed } from '../support/instances.ts';
import { postgresIsThere } from '../support/postgres.ts';
import { openStream, type ReceivedEvent } from '../support/stream.ts';

/** A database for the service, which is no superuser. */
async function serviceDatabase({ url, port }: PrivateCluster): Promise<string> {
  await sql(url, 'create role service login');
  await sql(url, 'create database service owner service');
  return `postgres://service@127.0.0.1:${port}/service`;
}

/** Every session of an application, with its state. */
async function states(at: Instance, token: string, applicationId: string): Promise<Map<string, string>> {
  const seen = new Map<string, string>();
  for await (const { id, disconnectReason, status } of createClient({ baseUrl: at.url, token }).sessions.list(applicationId, { status: 'all', limit: 1_000 })) seen.set(id, disconnectReason ?? status);
  return seen;
}

const readiness = async ({ url }: Instance) => { const { status, body } = await ask(url, undefined, 'GET', '/readyz'); return { status, codes: (body.reasons ?? []).map(({ code }: { code: string }) => code) }; };
const undo: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  await killInstances();
  for (const step of undo.splice(0).reverse()) await step();
}, 60_000);

describe.runIf(postgresIsThere() && canMount())('a full disk of PostgreSQL', () => {
  it('refuses writes and says why, lets reads and streams go on, and recovers when there is room', async () => {
    const disk = mountDisk(96);
    undo.push(() => disk.unmount());
    chmodSync(disk.directory, 0o755); // PostgreSQL does not run as root
    const cluster = await startPrivateCluster({ directory: join(disk.directory, 'cluster') });
    undo.push(() => cluster.drop());
    cluster.start();
    const direct = await serviceDatabase(cluster);
    const instance = await startInstance(direct, { env: { LEASE: '10s' } }), token = await (await tokens(direct))();
    const call = (method: string, path: string, body?: unknown) => ask(instance.url, token, method, path, body);
    const application = async () => `/applications/${(await call('POST', '/applications', { name: 'Full' })).body.application.id}`;
    const [app, other] = [await application(), await application()];
    const acknowledged: string[] = [], refused: Timed[] = [];
    const create = async (index: number) => {
      const answer = await call('POST', `${app}/sessions`, { userId: `u${index % 10}`, hostname: 'h'.repeat(200), credentialId: `c${index}` });
      if (answer.status === 201) acknowledged.push(answer.body.session.id); else refused.push(answer);
      return answer;
    };
    for (let index = 0; index < 50; index++) await create(index);
    const watched = (await call('POST', `${other}/sessions`, {})).body.session.id;
    await call('DELETE', `${await application()}/sessions`); // there has been a revoke before
    const stream = await openStream(`${instance.url}/api/v1${other}/sessions/${watched}/events`, token);

    disk.fill();
    await Promise.all(Array.from({ length: 4 }, async (_, worker) => { for (let index = 0; refused.length < 8 && index < 5_000; index++) await create(100 + worker * 5_000 + index); }));
    disk.fill();
    for (const { status, body, headers } of refused) {
      expect({ status, type: body.type, retryAfter: headers.get('retry-after') }).toEqual({ status: 503, type: '/docs/errors#storage-full', retryAfter: '5' });
    }
    expect(refused.length).toBeGreaterThanOrEqual(8);
    await until(async () => JSON.stringify(await readiness(instance)) === JSON.stringify({ status: 503, codes: ['storage-full'] }), inCI(2_000), '/readyz says so');
    expect((await call('GET', `${app}/sessions?limit=1000`)).body.items).toHaveLength(Math.min(1_000, acknowledged.length));
    expect((await call('GET', `${app}/session-counts`)).status).toBe(200);
    expect((await call('POST', `${app}/heartbeats`, { heartbeats: acknowledged.slice(0, 500).map((sessionId) => ({ sessionId })) })).status).toBe(200);

    // A revoke-all changes one row and adds two. In pages that are there already it has room, as a rule; nothing is promised.
    const revoke = await call('DELETE', `${other}/sessions`);
    console.log(`revoke-all on a full disk: ${revoke.status} in ${revoke.ms.toFixed(0)} ms`);
    if (revoke.status === 503) expect(revoke.body.type).toBe('/docs/errors#storage-full');
    else expect([revoke.status, revoke.body]).toEqual([200, { success: true, disconnectedCount: 1 }]);

    // Where not even its log can be written, PostgreSQL stops itself, and does not start again before there is room.
    await sql(cluster.url, 'select pg_switch_wal()').catch(() => {});
    const said = new Set<string>();
    await until(async () => { said.add((await create(1)).body.type); return !cluster.server.running; }, 10_000, 'PostgreSQL stops', 100);
    expect([...said].filter((type) => !['/docs/errors#storage-full', '/docs/errors#store-unavailable'].includes(type))).toEqual([]);
    expect((await readiness(instance)).status).toBe(503);
    expect((await ask(instance.url, undefined, 'GET', '/livez')).status).toBe(200);

    disk.makeRoom();
    cluster.start();
    const took = await until(async () => (await create(30_000)).status === 201, inCI(5_000), 'it writes again');
    await until(async () => (await readiness(instance)).status === 200, 15_000, 'it is ready again', 200);
    console.log(`${acknowledged.length} sessions acknowledged, ${refused.length} refused; written again ${took.toFixed(0)} ms after PostgreSQL was back`);
    const seen = await states(instance, token, app.split('/')[2]!);
    expect(acknowledged.filter((id) => seen.get(id) !== 'active')).toEqual([]);
    if (revoke.status === 503) await call('DELETE', `${other}/sessions`);
    expect((await stream.ended).map(({ event }) => event)).toEqual(['disconnect']);
    expect((await states(instance, token, other.split('/')[2]!)).get(watched)).toBe('revoked');

    // Asked to leave while the database is away, it says what it could not do.
    await cluster.end('SIGQUIT');
    expect(await instance.stop()).toBe(1);
    expect(instance.logged.at(-1)).toMatchObject({ level: 50, msg: 'the store was not left in good order; the last heartbeats may be missing' });
    expect(instance.stderr).not.toContain('    at '); // words, no stack
  }, 90_000);
});

describe.runIf(postgresIsThere())('the primary is killed', () => {
  it('a standby that is promoted takes over: nothing acknowledged is missing, no event is lost or told twice, and nobody is called lost', async () => {
    const LEASE = 4_000;
    const primary = await startPrivateCluster();
    undo.push(() => primary.drop());
    primary.start();
    const direct = await serviceDatabase(primary);
    const standby = await startPrivateCluster({ standbyOf: primary.port });
    undo.push(() => standby.drop());
    standby.start();
    await sql(primary.url, `alter system set synchronous_standby_names = '*'`);
    await sql(primary.url, 'select pg_reload_conf()');
    await until(async () => (await sql(primary.url, `select 1 from pg_stat_replication where sync_state = 'sync'`)).length === 1, 10_000, 'the standby is synchronous');
    const proxy = await startDatabaseProxy(direct);
    undo.push(() => proxy.close());
    const env = { LEASE: `${LEASE}ms`, IDLE_AFTER: '1h' };
    const instances = await Promise.all([startInstance(proxy.url, { env }), startInstance(proxy.url, { env })]) as [Instance, Instance];
    const [one, two] = instances, token = await (await tokens(direct))();
    const applicationId: string = (await ask(one.url, token, 'POST', '/applications', { name: 'Failover' })).body.application.id, app = `/applications/${applicationId}`;
    const streamOf = (at: Instance, id: string) => openStream(`${at.url}/api/v1${app}/sessions/${id}/events`, token);
    const connect = async (at: Instance) => (await ask(at.url, token, 'POST', `${app}/sessions`, {})).body.session.id as string;
    const readers = await Promise.all(instances.map(({ url }) => openStream(`${url}/api/v1${app}/events`, token)));
    const kept = await Promise.all(Array.from({ length: 10 }, (_, index) => connect(instances[index % 2]!)));
    const streams = await Promise.all(kept.map((id, index) => streamOf(instances[(index + 1) % 2]!, id)));
    const silent = await connect(one);

    // Clients that connect and leave, all the time.
    let doing = true;
    const created: string[] = [], ended: string[] = [], refused = { status: new Set<number>(), count: 0, afterMs: 0 };
    const note = ({ status, ms, headers }: Timed) => {
      if (status < 300) return true;
      refused.status.add(status);
      refused.count++;
      refused.afterMs = Math.max(refused.afterMs, ms);
      expect.soft(headers.get('retry-after')).toMatch(/^\d+$/);
      return false;
    };
    const clients = instances.flatMap(({ url }) => [1, 2].map(async () => {
      while (doing) {
        const answer = await ask(url, token, 'POST', `${app}/sessions`, {});
        if (!note(answer)) { await wait(100); continue; }
        const id = answer.body.session.id;
        created.push(id);
        if (created.length % 2 && note(await ask(url, token, 'POST', `${app}/sessions/${id}/end`))) ended.push(id);
        await wait(10);
      }
    }));
    await wait(1_500);
    const before = created.length;
    primary.kill();
    const killed = performance.now();
    await wait(1_000);
    standby.server.promote();
    proxy.leadTo(direct.replace(String(primary.port), String(standby.port)));
    const promoted = performance.now();
    await until(async () => (await Promise.all(instances.map(({ url }) => ask(url, token, 'POST', `${app}/sessions`, {})))).every(({ status }) => status === 201), 10_000, 'both write again');
    console.log(`written again ${(performance.now() - promoted).toFixed(0)} ms after the promotion, ${(performance.now() - killed).toFixed(0)} ms after the kill; ${refused.count} calls were refused, the slowest after ${refused.afterMs.toFixed(0)} ms`);
    expect(performance.now() - killed).toBeLessThan(10_000);
    await wait(1_500);
    doing = false;
    await Promise.all(clients);
    expect([...refused.status]).toEqual([503]);
    expect(refused.afterMs).toBeLessThan(2_000 * 1.5);
    expect(created.length).toBeGreaterThan(before);

    const seen = await states(two, token, applicationId);
    expect(created.filter((id) => !seen.has(id))).toEqual([]);
    expect(ended.filter((id) => seen.get(id) !== 'ended')).toEqual([]);
    expect(kept.map((id) => seen.get(id))).toEqual(kept.map(() => 'active'));
    expect([...seen.values()].filter((state) => state === 'lost')).toEqual([]);
    for (const { events } of streams) expect(events).toEqual([]);

    // The application's streams were open throughout. A reader that comes with the first position gets the same once more.
    const told = ({ events }: { events: ReceivedEvent[] }) => events.filter(({ event }) => event.startsWith('session'));
    const connected = (events: ReceivedEvent[]) => events.filter(({ event }) => event === 'session.connected').map(({ data }) => data.session.id as string);
    const last = await connect(one);
    await until(() => readers.every((reader) => connected(told(reader)).includes(last)), inCI(3_000), 'both readers have the last');
    const again = await openStream(`${two.url}/api/v1${app}/events`, token, { 'last-event-id': told(readers[0]!)[0]!.id! });
    await until(() => connected(told(again)).includes(last), inCI(3_000), 'the one that came back has the last');
    const ids = told(readers[0]!).map(({ id }) => id!);
    expect(new Set(ids).size).toBe(ids.length);
    expect(told(readers[1]!).map(({ id }) => id)).toEqual(ids);
    expect(told(again).map(({ id }) => id)).toEqual(ids.slice(1));
    expect([...created, ...kept, silent].filter((id) => !connected(told(readers[0]!)).includes(id))).toEqual([]);

    // And cuts, as ever; who has gone is lost.
    expect((await ask(one.url, token, 'DELETE', `${app}/sessions/${kept[0]}`)).body).toMatchObject({ disconnectedCount: 1 });
    expect((await streams[0]!.next()).data.reason).toBe('revoked');
    await until(async () => (await states(two, token, applicationId)).get(silent) === 'lost', LEASE + 10_000, 'who has gone is lost', 300);
    for (const stream of [...streams, ...readers, again]) stream.close();
    expect(instances.map(({ running }) => running)).toEqual([true, true]);
    for (const { logged } of instances) expect(logged.filter(({ level, status }) => level >= 60 || status === 500)).toEqual([]);
  }, 60_000);
});
