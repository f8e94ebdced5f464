// How long a revoke-all takes to reach the last of many open streams, what they cost in memory, and what others feel meanwhile.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { Agent, request, type ClientRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { look, stalls } from './asking.ts';
import { startServer, type Server } from './processes.ts';
import { atMost, type Report } from './report.ts';
import { digits, percentile } from './statistics.ts';
import { startRollcall, temporary, tokenFor } from './world.ts';

export interface Measured {
  streams: number;
  /** ms from sending the revoke to the disconnect event: of the median, the 99th percentile, and the last stream */
  p50: number; p99: number; last: number;
  /** ms until the revoke itself answered */
  answered: number;
  disconnectedCount: number;
  /** ms of getSession calls: undisturbed, and while the events go out */
  quietP99: number; duringP99: number;
  /** MiB of the server process: before any stream, with all open, and after all have ended, in each round */
  rss: { before: number; open: number; after: number[] };
  kibPerStream: number;
  /** Of which on the heap, after a collection. */
  heapKibPerStream: number;
  /** ms, while the events go out */
  stall: number;
}

async function inTurns<T>(count: number, atOnce: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => { while (next < count) { const index = next++; results[index] = await work(index); } }));
  return results;
}

/** A stream on a bare socket: ten thousand of Node's own HTTP clients in one process would take longer to read than the server to write. */
async function openPlainly(url: string, path: string, token: string): Promise<{ socket: Socket; disconnected: Promise<number> }> {
  const { hostname, port, host } = new URL(url), socket = connect(Number(port), hostname).setNoDelay().on('error', () => {}), disconnected = Promise.withResolvers<number>();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  const [head] = await once(socket, 'data') as [Buffer];
  if (!head.toString().startsWith('HTTP/1.1 200')) throw new Error(`${path}: ${head}`);
  socket.on('data', (chunk: Buffer) => { if (chunk.includes('event: disconnect')) disconnected.resolve(performance.now()); });
  return { socket, disconnected: disconnected.promise };
}

/** Opens so many streams, revokes all, and does it again in the next round; what is answered is of the first, but for `rss.after`. */
export async function measureStreams(count: number, rounds = 1): Promise<Measured> {
  const directory = temporary(), inside = stalls(directory), most = String(count + 100);
  const server = await startRollcall(directory, { args: ['--expose-gc', ...inside.args], env: { ...inside.env, LEASE: '90s', IDLE_AFTER: '5m', STREAMS: most, STREAMS_PER_APPLICATION: most, STREAMS_PER_PRINCIPAL: most } });
  try {
    const { url } = server, token = await tokenFor(directory);
    const { hostname, port } = new URL(url), headers = { authorization: `Bearer ${token}` };
    const agent = new Agent({ keepAlive: true, maxSockets: 32 });
    const call = async (method: string, path: string, body?: object) => {
      const sent = request({ agent, hostname, port, method, path: `/api/v1${path}`, headers: { ...headers, ...(body && { 'content-type': 'application/json' }) } });
      sent.end(body && JSON.stringify(body));
      const [response] = await once(sent, 'response');
      let text = '';
      for await (const chunk of response) text += chunk;
      if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${text}`);
      return JSON.parse(text);
    };

    const app = `/applications/${(await call('POST', '/applications', { name: 'bench' })).application.id}`;
    const round = async (): Promise<Measured> => {
      const ids: string[] = await inTurns(count, 32, async () => (await call('POST', `${app}/sessions`, { credentialId: randomUUID() })).session.id);
      await wait(500);
      const heapBefore = (await look(server, directory)).heap, before = server.rss();

      const told: Promise<number>[] = [], sockets: Socket[] = [];
      await inTurns(count, 200, async (index) => {
        const { socket, disconnected } = await openPlainly(url, `/api/v1${app}/sessions/${ids[index]}/events`, token);
        sockets.push(socket);
        told.push(disconnected);
      });
      await wait(1_000);
      const open = server.rss(), heapOpen = (await look(server, directory)).heap;

      const probe = async (until: () => boolean) => {
        const times: number[] = [];
        while (!until()) {
          const started = performance.now();
          await call('GET', `${app}/sessions/${ids[times.length % ids.length]}`);
          times.push(performance.now() - started);
          await wait(2);
        }
        return percentile(times, 0.99);
      };
      const quiet = performance.now();
      const quietP99 = await probe(() => performance.now() - quiet > 1_000);

      await look(server, directory);
      const started = performance.now();
      let answered = 0, finished = false;
      const probing = probe(() => finished);
      const revoking = call('DELETE', `${app}/sessions`).then((result) => { answered = performance.now() - started; return result; });
      const times = (await Promise.all(told)).map((at) => at - started);
      const { disconnectedCount } = await revoking;
      finished = true;
      const duringP99 = await probing, { max: stall } = await look(server, directory);
      for (const socket of sockets) socket.destroy();
      await wait(2_000);
      const after = server.rss();
      return {
        streams: count, p50: percentile(times, 0.5), p99: percentile(times, 0.99), last: Math.max(...times), answered, disconnectedCount, quietP99, duringP99,
        rss: { before, open, after: [after] }, kibPerStream: (open - before) * 1024 / count, heapKibPerStream: (heapOpen - heapBefore) * 1024 / count, stall,
      };
    };
    const first = await round();
    for (let more = 1; more < rounds; more++) first.rss.after.push(...(await round()).rss.after);
    return first;
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What a stream costs that does nothing else: KiB, by Node alone. */
async function barePerStream(count: number): Promise<number> {
  const server: Server = await startServer('test/bench/contenders/streams.ts'), { hostname, port } = new URL(server.url);
  try {
    const before = server.rss(), sockets: ClientRequest[] = [];
    await inTurns(count, 200, async () => {
      const stream = request({ hostname, port, path: '/events', agent: false });
      sockets.push(stream);
      stream.end();
      const [response] = await once(stream, 'response');
      response.on('error', () => {}).resume();
    });
    await wait(1_000);
    const open = server.rss();
    for (const socket of sockets) socket.on('error', () => {}).destroy();
    return (open - before) * 1024 / count;
  } finally {
    await server.stop();
  }
}

export async function reportStreams({ counts }: { counts: readonly number[] }): Promise<Report> {
  const measured: (Measured & { bare: number })[] = [];
  for (const count of counts) measured.push({ ...await measureStreams(count), bare: await barePerStream(count) });
  const largest = measured.at(-1)!; // of at least one
  return {
    command: 'npm run bench -- --only streams',
    tables: [{
      title: 'Open streams and a revoke-all',
      columns: ['streams', 'KiB each', 'node:http, KiB each', 'revoke-all answers, ms', 'told: p50, p99, last, ms', 'longest stall, ms'],
      rows: measured.map((one) => [one.streams.toLocaleString('en-US'), digits(one.kibPerStream), digits(one.bare), digits(one.answered), `${digits(one.p50)}, ${digits(one.p99)}, ${digits(one.last)}`, digits(one.stall)]),
    }],
    targets: [
      atMost('5. memory of a stream', largest.kibPerStream, 20, 'KiB'), atMost('5. the last of all streams is told after', largest.last, 500, 'ms'), atMost('5. stall while they are told', largest.stall, 50, 'ms'),
    ],
    figures: measured,
  };
}
