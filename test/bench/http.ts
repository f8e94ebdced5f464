// One session and a list of a hundred, through the whole path, beside what a user would take instead.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { load, type Requests, type Run } from './load.ts';
import { startServer, type Server } from './processes.ts';
import { atLeast, atMost, type Chart, type Report } from './report.ts';
import { digits, percentile, show, spread } from './statistics.ts';
import { createWorld, type World } from './world.ts';

export const KINDS = ['getSession', 'listSessions'] as const;
type Kind = typeof KINDS[number];

interface Contender { key: string; label: string; server: Server; requests: Record<Kind, Requests>; own?: true }

const CONTENDERS = [
  { key: 'node', label: 'node:http, bytes ready', file: 'node-http', isLimit: true },
  { key: 'express', label: 'Express, `res.json` of a ready object', file: 'express' },
  { key: 'express-text', label: 'Express, text ready', file: 'express', env: { ANSWER: 'text' }, isLimit: true },
  { key: 'naive', label: 'this stack, naively', file: 'naive' },
  { key: 'fastify', label: 'Fastify, schemas, token cache', file: 'fastify' },
  { key: 'better-auth', label: 'better-auth', file: 'better-auth' },
];

export interface Measure { rounds: number; seconds: number; /** At most, before. */ warm: number; /** Without those that show what there is to gain at all. */ brief?: boolean; only?: readonly string[] }

/** Rounds in which each contender has its turn, in another order each time; figures of a round belong together. */
export async function interleave<Key extends string>(keys: readonly Key[], rounds: number, run: (key: Key) => Promise<Run>): Promise<Record<Key, Run[]>> {
  const runs = Object.fromEntries(keys.map((key) => [key, [] as Run[]])) as Record<Key, Run[]>; // of the same keys
  for (let round = 0; round < rounds; round++) {
    const turned = [...keys.slice(round % keys.length), ...keys.slice(0, round % keys.length)];
    for (const key of round % 2 ? turned.reverse() : turned) runs[key].push(await run(key));
  }
  return runs;
}

/** Until the compiler has seen enough of it: that takes some 20,000 requests, which the slowest do not get. */
export async function warmUp(run: (seconds: number) => Promise<Run>, seconds = 8): Promise<void> {
  for (let requests = 0, passed = 0; requests < 20_000 && passed < seconds; passed++) requests += (await run(1)).requests;
}

/** What one costs compared with another, round by round. */
export const ratios = (some: readonly Run[], base: readonly Run[], of: 'cpu' | 'rps'): number[] => some.map((run, round) => run[of] / base[round]![of]);

function requestsOf({ applicationId, token, ids }: World): Record<Kind, Requests> {
  const base = `/api/v1/applications/${applicationId}/sessions`, headers = [{ authorization: `Bearer ${token}` }];
  return { getSession: { paths: ids.map((id) => `${base}/${id}`), headers }, listSessions: { paths: [`${base}?limit=100`], headers } };
}

export async function contenders({ only, brief = false }: Pick<Measure, 'only' | 'brief'> = {}): Promise<{ all: Contender[]; world: World; close(): Promise<void> }> {
  const { world, file, rollcall, remove } = await createWorld();
  const requests = requestsOf(world), all: Contender[] = [{ key: 'rollcall', label: '**Rollcall**', server: rollcall, requests }];
  for (const { key, label, file: entry, env, isLimit = false } of CONTENDERS) {
    if (only ? !only.includes(key) : brief && isLimit) continue;
    const server = await startServer(`test/bench/contenders/${entry}.ts`, { env: { BENCH_WORLD: file, ...env } });
    const cookies = join(world.directory, `${entry}.json`);
    const own = existsSync(cookies) ? (JSON.parse(readFileSync(cookies, 'utf8')) as string[]).map((cookie) => ({ cookie })) : undefined;
    all.push({ key, label, server, ...(own
      ? { own: true, requests: { getSession: { paths: own.map(() => '/api/auth/get-session'), headers: own }, listSessions: { paths: own.map(() => '/api/auth/list-sessions'), headers: own } } }
      : { requests }) });
  }
  for (const contender of all) await check(contender, world);
  return { all, world, async close() { for (const { server } of all) await server.stop(); await remove(); } };
}

/** The same body from all who serve the same rows, and as many sessions from the one who has its own. */
async function check({ key, server, requests, own }: Contender, { one, list }: World): Promise<void> {
  const ask = async ({ paths, headers = [] }: Requests, index: number) => {
    const response = await fetch(server.url + paths[index]!, { headers: headers[index % headers.length]! });
    if (response.status !== 200) throw new Error(`${key} ${paths[index]}: ${response.status} ${await response.text()}`);
    return await response.json() as any; // compared below
  };
  for (let index = 0; index < requests.getSession.paths.length; index++) {
    const answer = await ask(requests.getSession, index), path = requests.getSession.paths[index]!;
    if (own ? !answer?.session?.token : !isDeepStrictEqual(answer, JSON.parse(one[path.slice(path.lastIndexOf('/') + 1)]!))) throw new Error(`${key} answers something else: ${JSON.stringify(answer)}`);
  }
  const answer = await ask(requests.listSessions, 0);
  if (own ? answer.length !== 100 : !isDeepStrictEqual(answer, JSON.parse(list))) throw new Error(`${key} lists something else: ${JSON.stringify(answer).slice(0, 1_000)}`);
}

export async function measureHttp({ rounds, seconds, warm, brief = false, only }: Measure): Promise<Report> {
  const { all, close } = await contenders({ brief, ...(only && { only }) });
  try {
    const keys = all.map(({ key }) => key), by = new Map(all.map((contender) => [contender.key, contender]));
    const measured: Record<string, Record<string, Run[]>> = {};
    for (const kind of KINDS) {
      const run = (key: string, time: number) => load(by.get(key)!.server, by.get(key)!.requests[kind], time);
      for (const key of keys) await warmUp((time) => run(key, time), kind === 'getSession' ? warm : warm / 2);
      measured[kind] = await interleave(keys, rounds, async (key) => {
        await run(key, seconds * 0.4); // while others had their turn, its heap was made small and its code left the caches
        return run(key, seconds);
      });
    }
    const ratio = (kind: Kind, base: string, of: 'cpu' | 'rps') => percentile(ratios(measured[kind]!['rollcall']!, measured[kind]![base]!, of), 0.5);
    return {
      command: 'npm run bench -- --only http',
      tables: KINDS.map((kind) => ({
        title: kind === 'getSession' ? 'One session' : 'A list of 100 sessions',
        columns: ['', 'CPU per request, µs', 'to Express', 'requests/s', 'p50 ms', 'p99 ms'],
        rows: keys.map((key) => {
          const runs = measured[kind]![key]!, column = (of: keyof Run) => spread(runs.map((run) => run[of]));
          return [by.get(key)!.label, show(column('cpu')), show(spread(ratios(runs, measured[kind]!['express'] ?? runs, 'cpu'))), show(column('rps')), digits(column('p50').median), digits(column('p99').median)];
        }),
      })),
      targets: only ? [] : [
        atMost('1. getSession: CPU to Express `res.json`', ratio('getSession', 'express', 'cpu'), 1.4, 'x'),
        atMost('1. getSession: CPU to Fastify', ratio('getSession', 'fastify', 'cpu'), 1, 'x'),
        atLeast('1. getSession: throughput to the naive stack', ratio('getSession', 'naive', 'rps'), 4, 'x'),
        atLeast('1. getSession: throughput to better-auth', ratio('getSession', 'better-auth', 'rps'), 8, 'x'),
        atMost('2. listSessions: CPU to Express `res.json`', ratio('listSessions', 'express', 'cpu'), 1.2, 'x'),
        atMost('2. listSessions: CPU to Fastify', ratio('listSessions', 'fastify', 'cpu'), 0.5, 'x'),
        atLeast('2. listSessions: throughput to better-auth', ratio('listSessions', 'better-auth', 'rps'), 10, 'x'),
      ],
      charts: KINDS.map((kind): Chart => ({
        title: kind === 'getSession' ? 'One session: CPU per request to that of Express res.json' : 'A list of 100: CPU per request to that of Express res.json',
        bars: keys.map((key) => {
          const value = percentile(ratios(measured[kind]![key]!, measured[kind]!['express'] ?? measured[kind]![key]!, 'cpu'), 0.5);
          return { label: by.get(key)!.label.replaceAll(/[`*]/g, ''), value, shown: `${digits(value)}x`, ours: key === 'rollcall' };
        }),
      })),
      figures: measured,
    };
  } finally {
    await close();
  }
}
