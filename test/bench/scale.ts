// Whether it matters how many sessions an application has: what reads take at a thousand and at a million, and a revoke-all of the million.
import { rmSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { encodeCursor } from '../../server/handlers/cursor.ts';
import { mintToken, parseSigningKey } from '../../server/keys.ts';
import { everyStatus } from '../../server/session.ts';
import { readSigningKey } from '../../server/store/postgres.ts';
import { asking, longestStall, probing, stalls, type Ask } from './asking.ts';
import { connectedOf, idOf, LARGE, postgresMillion, SMALL, sqliteMillion, type Sized } from './million.ts';
import { atMost, type Report, type Table, type Target } from './report.ts';
import { digits, percentile } from './statistics.ts';
import { ORGANIZATION, SCOPES, startRollcall, temporary, tokenFor } from './world.ts';

const LIMIT = 50;

/** What is asked of both applications; the deep one is page 7,000 of a hundred in the large. */
const READS: Record<string, (app: Sized) => string> = {
  get: ({ sessions }) => `/${idOf(Math.floor(sessions / 3))}`,
  'list, active': () => `?limit=${LIMIT}`,
  'list, inactive': () => `?limit=${LIMIT}&status=inactive`,
  'list, all': () => `?limit=${LIMIT}&status=all`,
  'list, idle': () => `?limit=${LIMIT}&derivedStatus=idle`,
  'list, expired': () => `?limit=${LIMIT}&derivedStatus=expired`,
  'list, disconnected': () => `?limit=${LIMIT}&derivedStatus=disconnected`,
  'list, all, userId': () => `?limit=${LIMIT}&status=all&userId=user-3`,
  'list, all, clientName': () => `?limit=${LIMIT}&status=all&clientName=client-3`,
  'list, all, hostname': () => `?limit=${LIMIT}&status=all&hostname=build-3`,
  'list, all, page 7,000': ({ id, sessions }) => `?limit=${LIMIT}&status=all&cursor=${encodeCursor(idOf(Math.floor(sessions * 4 / 11)), [id, [...everyStatus].sort(), undefined, undefined, undefined, undefined]).nextCursor}`,
  'list, lastActiveBefore': () => `?limit=${LIMIT}&status=all&lastActiveBefore=2026-10-01T00:00:00Z`,
};
const pathOf = (app: Sized, read: string) => `/applications/${app.id}/sessions${READS[read]!(app)}`;

interface Compared { small: number; large: number; ratio: number }

/** p50 of both, asked in turns. */
async function compare(ask: Ask, reads: readonly string[], times: number): Promise<Record<string, Compared>> {
  const result: Record<string, Compared> = {};
  for (const read of reads) {
    const small: number[] = [], large: number[] = [];
    for (let turn = 0; turn < times; turn++) {
      for (const [app, into] of turn % 2 ? [[SMALL, small], [LARGE, large]] as const : [[LARGE, large], [SMALL, small]] as const) into.push((await ask('GET', pathOf(app, read))).ms);
    }
    const [few, many] = [percentile(small, 0.5), percentile(large, 0.5)];
    result[read] = { small: few, large: many, ratio: many / few };
  }
  return result;
}

export interface Subject { name: string; url: string; pid: number; token: string; stall: () => Promise<number>; stop(): Promise<void> }

export async function onSqlite(): Promise<Subject> {
  const directory = await sqliteMillion(), measured = stalls(directory);
  const server = await startRollcall(directory, measured);
  return { name: 'SQLite', url: server.url, pid: server.pid, token: await tokenFor(directory), stall: () => longestStall(server, directory), async stop() { await server.stop(); rmSync(directory, { recursive: true, force: true }); } };
}

export async function onPostgres(): Promise<Subject> {
  const database = await postgresMillion(), directory = temporary(), { args, env } = stalls(directory);
  const server = await startRollcall(directory, { args, env: { ...env, DATABASE_URL: database.url } });
  const key = await parseSigningKey(JSON.parse(await readSigningKey(database.url)));
  const token = await mintToken(key, { organizationId: ORGANIZATION, scopes: SCOPES, subject: 'bench', ttlMs: 86_400_000, audience: 'rollcall', now: () => Date.now() - 5_000 });
  return { name: 'PostgreSQL', url: server.url, pid: server.pid, token, stall: () => longestStall(server, directory), async stop() { await server.stop(); database.stop(); rmSync(directory, { recursive: true, force: true }); } };
}

export async function measure({ name, url, token, stall }: Subject, times: number): Promise<{ tables: Table[]; targets: Target[]; figures: unknown }> {
  const ask = asking(url, token), other = asking(url, token), bounded = Object.keys(READS).filter((read) => read !== 'list, lastActiveBefore'), quietPath = pathOf(SMALL, 'get');
  await compare(ask, Object.keys(READS), 10);
  const before = await compare(ask, Object.keys(READS), times);

  const quiet = probing(other, quietPath);
  await wait(2_000);
  const quietP99 = percentile(await quiet(), 0.99);
  await stall();
  const counts = await ask('GET', `/applications/${LARGE.id}/session-counts`), countsStall = await stall();

  const probe = probing(other, quietPath);
  const revoke = await ask('DELETE', `/applications/${LARGE.id}/sessions`), revokeStall = await stall();
  const { disconnectedCount } = JSON.parse(revoke.text) as { disconnectedCount: number };
  const after = await compare(ask, bounded, times);
  await wait(3_000);
  const duringP99 = percentile(await probe(), 0.99), settleStall = await stall();
  const worst = (compared: Record<string, Compared>, reads: readonly string[]) => Math.max(...reads.map((read) => compared[read]!.ratio));
  return {
    figures: { before, after, quietP99, duringP99, counts: counts.ms, countsStall, revoke: revoke.ms, revokeStall, settleStall, disconnectedCount },
    tables: [{
      title: `${name}: p50 in ms at 1,100 and at 1,100,000 sessions`,
      columns: ['', 'thousand', 'million', 'ratio', 'right after a revoke-all of the million', 'ratio'],
      rows: Object.keys(READS).map((read) => [read, digits(before[read]!.small), digits(before[read]!.large), digits(before[read]!.ratio), ...(after[read] ? [digits(after[read].large), digits(after[read].ratio)] : ['', ''])]),
    }, {
      title: `${name}: at a million`, columns: ['', ''],
      rows: [
        ['counts', `${digits(counts.ms)} ms`], ['longest stall while counting', `${digits(countsStall)} ms`],
        ['revoke-all', `${digits(revoke.ms)} ms`], ['disconnectedCount', disconnectedCount.toLocaleString('en-US')],
        ['longest stall then', `${digits(revokeStall)} ms`], ['longest stall while settling', `${digits(settleStall)} ms`],
        ['p99 of another application\'s getSession, before and meanwhile', `${digits(quietP99)} ms, ${digits(duringP99)} ms`],
      ],
    }],
    targets: [
      atMost(`3. ${name}: reads at a million to a thousand, the worst`, worst(before, bounded), 1.3, 'x'),
      atMost(`3. ${name}: the same right after a revoke-all`, worst(after, bounded), 1.3, 'x'),
      atMost(`3. ${name}: a page by lastActiveBefore that nobody matches`, before['list, lastActiveBefore']!.large, 100, 'ms'),
      atMost(`3. ${name}: counts`, counts.ms, 250, 'ms'),
      atMost(`3. ${name}: stall while counting`, countsStall, 50, 'ms'),
      atMost(`4. ${name}: revoke-all`, revoke.ms, 150, 'ms'),
      { about: `4. ${name}: disconnectedCount`, bound: connectedOf(LARGE).toLocaleString('en-US'), measured: disconnectedCount.toLocaleString('en-US'), met: disconnectedCount === connectedOf(LARGE) },
      atMost(`4. ${name}: stall at the revoke-all`, revokeStall, 50, 'ms'),
      atMost(`4. ${name}: stall while settling`, settleStall, 50, 'ms'),
      atMost(`4. ${name}: p99 of others meanwhile`, duringP99 / quietP99, 2, 'x'),
    ],
  };
}

export async function measureScale({ times, quick }: { times: number; quick: boolean }): Promise<Report> {
  const parts: Awaited<ReturnType<typeof measure>>[] = [];
  for (const open of quick ? [onSqlite] : [onSqlite, onPostgres]) {
    const subject = await open();
    try { parts.push(await measure(subject, times)); } finally { await subject.stop(); }
  }
  return { command: 'npm run bench -- --only scale', tables: parts.flatMap(({ tables }) => tables), targets: parts.flatMap(({ targets }) => targets), figures: parts.map(({ figures }) => figures) };
}
