// What goes wrong around one server on the embedded database: it says so, loses nothing, claims nothing that is not so, and goes on by itself.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTo, type Socket } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { mintToken, readOrCreateSigningKey } from '../../server/keys.ts';
import { inFile, startEmbedded, startInFolder, type Embedded } from '../support/embedded.ts';
import { ask, inCI, killInstances, until } from '../support/instances.ts';
import { ORGANIZATION } from '../support/service.ts';
import { openStream } from '../support/stream.ts';
import { openWire } from '../support/wire.ts';

let folder: string, directory: string, file: string, server: Embedded, app: string;
beforeEach(async () => { ({ folder, directory, file, server, app } = await startInFolder()); });
afterEach(async () => {
  await killInstances();
  rmSync(folder, { recursive: true, force: true });
});

const connect = async () => (await server.call('POST', `${app}/sessions`, {})).body.session.id as string;
const percentile = (of: number[], p: number) => [...of].sort((a, b) => a - b)[Math.floor((of.length - 1) * p)]!;
const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

describe('another process that holds the write lock for ten seconds', () => {
  it('makes writes 503 within a second, and reads are as quick as ever', async () => {
    const id = await connect();
    const holder = new DatabaseSync(file);
    holder.exec('begin immediate');
    const reads: number[] = [], writes: number[] = [];
    const until = performance.now() + 10_000;
    await Promise.all([
      ...Array.from({ length: 4 }, async () => { while (performance.now() < until) { const { status, ms } = await server.call('GET', `${app}/sessions/${id}`); expect(status).toBe(200); reads.push(ms); await wait(10); } }),
      ...Array.from({ length: 4 }, async (_, writer) => {
        while (performance.now() < until) {
          const { status, body, headers, ms } = await (writer % 2 ? server.call('POST', `${app}/sessions`, {}) : server.call('DELETE', `${app}/sessions`));
          expect({ status, type: body.type, retryAfter: headers.get('retry-after') }).toEqual({ status: 503, type: '/docs/errors#store-unavailable', retryAfter: '1' });
          writes.push(ms);
        }
      }),
    ]);
    holder.exec('rollback');
    holder.close();
    console.log(`locked for 10 s: ${reads.length} reads, p99 ${percentile(reads, 0.99).toFixed(0)} ms; ${writes.length} refused writes, slowest ${Math.max(...writes).toFixed(0)} ms`);
    expect(percentile(reads, 0.99)).toBeLessThan(inCI(100));
    expect(Math.max(...writes)).toBeLessThan(inCI(1_000));
    expect(await server.call('DELETE', `${app}/sessions`)).toMatchObject({ status: 200, body: { disconnectedCount: 1 } });
    expect(server.logged.filter(({ msg }) => msg === 'background work failed; it is tried again').length).toBeLessThan(5);
  }, 60_000);
});

describe('while the server runs', () => {
  /** The server again, with so few descriptors. */
  async function withDescriptors(files: number, work: (limited: ChildProcess, output: () => string) => Promise<void>): Promise<void> {
    await server.kill();
    const limited = spawn('bash', ['-c', `ulimit -n ${files}; exec "$0" server/main.ts`, process.execPath], {
      cwd: new URL('../..', import.meta.url).pathname, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], PORT: new URL(server.url).port, HOST: '127.0.0.1', DATA_DIR: directory },
    });
    let output = '';
    for (const stream of [limited.stdout, limited.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk; });
    try {
      await until(() => output.includes('"listening"'), 10_000, 'it listens');
      await work(limited, () => output);
    } finally {
      limited.kill('SIGKILL');
      await once(limited, 'exit');
    }
  }

  it('connections beyond its descriptors wait, and it serves again when there are some', () => withDescriptors(128, async (limited, output) => {
    const sockets: Socket[] = [];
    for (let at = 0; at < 300; at++) sockets.push(connectTo(Number(new URL(server.url).port), '127.0.0.1').on('error', () => {}));
    await wait(2_000);
    const before = output().length;
    await wait(2_000);
    expect(output().length - before).toBeLessThan(4_000);
    expect(limited.exitCode).toBeNull();
    for (const socket of sockets) socket.destroy();
    await until(() => server.call('GET', '/applications').then(({ status }) => status === 200, () => false), 5_000, 'it serves again');
    expect((await server.call('POST', `${app}/sessions`, {})).status).toBe(201);
  }), 60_000);

  it('streams take four in five of the connections that its descriptors allow, and calls the rest', () => withDescriptors(150, async () => {
    const streams = await Promise.all(Array.from({ length: 45 }, () => openStream(`${server.url}/api/v1${app}/events`, server.token)));
    expect(streams.filter(({ response }) => response.status === 200)).toHaveLength(40);
    expect(streams.filter(({ response }) => response.status === 503)).toHaveLength(5);
    expect((await server.call('POST', `${app}/sessions`, {})).status).toBe(201);
    for (const stream of streams) stream.close();
  }), 60_000);

  it('who says nothing, half of a request, or reads nothing keeps no server from leaving in good order', async () => {
    const port = Number(new URL(server.url).port), head = `Host: x\r\nAuthorization: Bearer ${server.token}\r\n`;
    for (let made = 0; made < 100; made++) await server.call('POST', `${app}/sessions`, { clientInfo: { name: 'large', notes: 'x'.repeat(7_000) } });
    const sockets = ['', 'GET /livez HTTP/1.1\r\nHost: x\r\nX-', `POST /api/v1${app}/sessions HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
      `GET /api/v1${app}/sessions HTTP/1.1\r\n${head}\r\n`.repeat(30), `GET /api/v1${app}/events HTTP/1.1\r\n${head}\r\n`]
      .map((bytes) => connectTo(port, '127.0.0.1', function (this: Socket) { this.write(bytes); }).on('error', () => {}).pause());
    await until(() => server.logged.some(({ msg }) => msg === 'stream opened'), 5_000, 'all of them are there');
    const started = performance.now();
    expect(await server.stop()).toBe(0);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(existsSync(join(directory, 'rollcall.running')), 'the store was closed').toBe(false);
    expect(inFile(directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
    for (const socket of sockets) socket.destroy();
  }, 60_000);

  it('three thousand sessions that come and go, each on a connection of its own, leave nothing behind', async () => {
    expect(await server.stop()).toBe(0);
    server = await startEmbedded(directory, { args: ['--max-old-space-size=48'] }); // so that what could be given back is
    const { pid } = server, rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
    /** A connection of its own, on which a session is made and ended; in one of ten with its stream, which is told. */
    const cycle = async (number: number) => {
      const wire = openWire(server.url, { connections: 2 }), headers = [['Authorization', `Bearer ${server.token}`], ['Content-Type', 'application/json']] as const;
      const { body: { session } } = await wire.send({ method: 'POST', target: `/api/v1${app}/sessions`, headers, body: '{}' });
      const stream = number % 10 === 0 ? await openStream(`${server.url}/api/v1${app}/sessions/${session.id}/events`, server.token) : undefined;
      const { status } = await wire.send({ method: 'POST', target: `/api/v1${app}/sessions/${session.id}/end`, headers: headers.slice(0, 1) });
      expect(status).toBe(200);
      await stream?.ended;
      wire.close();
    };
    const plateaus: { descriptors: number; rss: number }[] = [];
    for (let round = 0; round < 3; round++) {
      let at = 0;
      await Promise.all(Array.from({ length: 20 }, async () => { while (at < 1_000) await cycle(at++); }));
      await wait(1_500);
      plateaus.push({ descriptors: descriptors(pid), rss: Math.round(rss()) });
    }
    console.table(plateaus);
    const [, second, third] = plateaus;
    expect(third!.descriptors).toBeLessThan(second!.descriptors + 10); // some connections of ours are kept alive
    expect(third!.rss).toBeLessThan(second!.rss + 12); // the database's cache of a thousand rows more is half of it
  }, 240_000);

  it('a thousand clients that come back at once, each with a new token, are let in, none is turned away, and it takes no longer than one after the other', async () => {
    const clients = 1_000, applicationId = app.split('/')[2]!, key = await readOrCreateSigningKey(directory);
    const bearer = (index: number) => mintToken(key, { organizationId: ORGANIZATION, scopes: ['sessions:connect'], subject: `client ${index}`, applicationId, ttlMs: 600_000, audience: 'rollcall' });
    const enter = async (index: number, token: string) => {
      const started = performance.now(), wire = openWire(server.url, { connections: 1 });
      const { status } = await wire.send({ method: 'POST', target: `/api/v1${app}/sessions`, headers: [['Authorization', `Bearer ${token}`], ['Content-Type', 'application/json']], body: '{}' });
      wire.close();
      expect({ index, status }).toEqual({ index, status: 201 });
      return performance.now() - started;
    };
    const tokens = await Promise.all(Array.from({ length: 2 * clients }, (_, index) => bearer(index)));
    const began = performance.now();
    let next = 0;
    await Promise.all(Array.from({ length: 20 }, async () => { while (next < clients) { const index = next++; await enter(index, tokens[index]!); } }));
    const inTurn = performance.now() - began;
    const times = await Promise.all(tokens.slice(clients).map((token, index) => enter(index, token)));
    console.log(`${clients} clients at once: p50 ${percentile(times, 0.5).toFixed(0)} ms, p99 ${percentile(times, 0.99).toFixed(0)} ms; twenty at a time took ${inTurn.toFixed(0)} ms in all`);
    expect(percentile(times, 0.99)).toBeLessThan(inCI(Math.max(1_000, inTurn))); // as fast as the machine, and no client waits for a lost packet
  }, 60_000);

  it('a restart in good order under load fails no call that is tried again, and loses nothing', async () => {
    const applicationId = app.split('/')[2]!;
    const client = createClient({ baseUrl: server.url, token: server.token, retries: 8 });
    const watched = await connect(), beating = await connect();
    const stream = await openStream(`${server.url}/api/v1${app}/sessions/${watched}/events`, server.token);
    let doing = true, calls = 0;
    const failed: unknown[] = [], made: string[] = [];
    const load = Array.from({ length: 6 }, async (_, worker) => {
      for (let round = 0; doing; round++) {
        try {
          const { session: { id } } = await client.sessions.create(applicationId, { externalId: `load ${worker} ${round}` });
          made.push(id);
          await client.sessions.page(applicationId, { limit: 20 });
          calls += 2;
        } catch (error) { failed.push(error); }
      }
    });
    await until(() => calls > 20, 10_000, 'there is some load');
    const lastActiveAt = new Date().toISOString();
    await client.sessions.heartbeat(applicationId, [{ sessionId: beating, lastActiveAt }]);
    const started = performance.now();
    expect(await server.stop()).toBe(0);
    const took = performance.now() - started;
    expect(took).toBeLessThan(10_000);
    expect((await stream.ended).map(({ event }) => event)).toEqual(['server_shutdown']);
    server = await startEmbedded(directory, { port: Number(new URL(server.url).port) });
    const before = calls;
    await until(() => calls > before + 20, 10_000, 'the load goes on');
    doing = false;
    await Promise.all(load);
    console.log(`${calls} calls across a restart in ${took.toFixed(0)} ms, ${failed.length} failed`);
    expect(failed).toEqual([]);
    expect((await server.call('GET', `${app}/sessions/${beating}`)).body.session.lastActiveAt).toBe(lastActiveAt);
    for (const id of made) expect((await server.call('GET', `${app}/sessions/${id}`)).status).toBe(200);
    expect(existsSync(join(directory, 'rollcall.running'))).toBe(true);
    expect(inFile(directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
  }, 60_000);
});
