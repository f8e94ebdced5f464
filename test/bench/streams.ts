// How long a revoke-all takes to reach the last of many open streams, what they cost in memory, and what others feel meanwhile.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request, type ClientRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { mintToken, readOrCreateSigningKey } from '../../server/keys.ts';

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
}

const percentile = (values: number[], part: number): number => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? NaN;
const rssOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

async function inTurns<T>(count: number, atOnce: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => { while (next < count) { const index = next++; results[index] = await work(index); } }));
  return results;
}

/** Opens so many streams, revokes all, and does it again in the next round; what is answered is of the first, but for `rss.after`. */
export async function measureStreams(count: number, rounds = 1): Promise<Measured> {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-streams-'));
  const server = spawn(process.execPath, ['server/main.ts'], {
    cwd: new URL('../..', import.meta.url).pathname, stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, PORT: '0', DATA_DIR: directory, NODE_ENV: 'production', STREAMS: String(count + 100), STREAMS_PER_APPLICATION: String(count + 100), STREAMS_PER_TOKEN: String(count + 100) },
  });
  try {
    const lines = createInterface({ input: server.stdout });
    let url = '';
    for await (const line of lines) if ((url = JSON.parse(line).url ?? '')) break;
    server.stdout.resume();
    const token = await mintToken(await readOrCreateSigningKey(directory), {
      organizationId: 'bench', scopes: ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:write'], ttlMs: 3_600_000, audience: 'rollcall',
    });
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
      const before = rssOf(server.pid!);

      const told: Promise<number>[] = [], sockets: ClientRequest[] = [];
      await inTurns(count, 200, async (index) => {
        const stream = request({ hostname, port, path: `/api/v1${app}/sessions/${ids[index]}/events`, headers, agent: false });
        sockets.push(stream);
        stream.end();
        const [response] = await once(stream, 'response');
        if (response.statusCode !== 200) throw new Error(`stream ${index}: ${response.statusCode}`);
        told.push(new Promise((resolve) => { response.on('data', (chunk: Buffer) => { if (chunk.includes('event: disconnect')) resolve(performance.now()); }); response.on('error', () => {}); }));
      });
      await wait(1_000);
      const open = rssOf(server.pid!);

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

      const started = performance.now();
      let answered = 0, finished = false;
      const probing = probe(() => finished);
      const revoking = call('DELETE', `${app}/sessions`).then((result) => { answered = performance.now() - started; return result; });
      const times = (await Promise.all(told)).map((at) => at - started);
      const { disconnectedCount } = await revoking;
      finished = true;
      const duringP99 = await probing;
      for (const socket of sockets) socket.destroy();
      await wait(2_000);
      const after = rssOf(server.pid!);
      return {
        streams: count, p50: percentile(times, 0.5), p99: percentile(times, 0.99), last: Math.max(...times), answered, disconnectedCount, quietP99, duringP99,
        rss: { before, open, after: [after] }, kibPerStream: (open - before) * 1024 / count,
      };
    };
    const first = await round();
    for (let more = 1; more < rounds; more++) first.rss.after.push(...(await round()).rss.after);
    return first;
  } finally {
    server.kill('SIGKILL');
    await once(server, 'exit');
    rmSync(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const counts = process.argv.slice(2).map(Number);
  for (const count of counts.length > 0 ? counts : [1_000, 10_000]) {
    const measured = await measureStreams(count);
    console.log(JSON.stringify(measured, (_key, value) => typeof value === 'number' ? Math.round(value * 10) / 10 : value, 1).replace(/\n */g, ' '));
  }
}
