// How many sessions can beat: into each database as fast as it takes them, and through HTTP beside a caller who reads.
import { setTimeout as wait } from 'node:timers/promises';
import { asking, probing, type Ask } from './asking.ts';
import { idOf, LARGE, SMALL } from './million.ts';
import { rssOf } from './processes.ts';
import { atLeast, atMost, type Report, type Table, type Target } from './report.ts';
import { digits, percentile } from './statistics.ts';
import { onPostgres, onSqlite, type Subject } from './scale.ts';

const BATCH = 1_000;
const ON_SQLITE = [onSqlite, 25_000] as const, ON_POSTGRES = [onPostgres, 50_000] as const;
const CONNECTED_FROM = LARGE.sessions / 11;

/** A batch of a thousand sessions that beat, of the million, another thousand each time. */
function batches(count: number): string[] {
  return Array.from({ length: count }, (_, batch) => JSON.stringify({
    heartbeats: Array.from({ length: BATCH }, (_, index) => ({ sessionId: idOf(CONNECTED_FROM + (batch * BATCH + index) * 7 % (LARGE.sessions - CONNECTED_FROM)) })),
  }));
}

/** So many sessions a second for so long. Answers how many were taken a second, and those that the server was late with. */
async function beat(asks: readonly Ask[], bodies: readonly string[], rate: number, seconds: number): Promise<number> {
  const started = performance.now(), total = Math.ceil(rate * seconds / BATCH);
  let next = 0, accepted = 0;
  await Promise.all(asks.map(async (ask) => {
    while (next < total) {
      const batch = next++, due = started + batch * BATCH / rate * 1_000 - performance.now();
      if (due > 0) await wait(due);
      accepted += (JSON.parse((await ask('POST', `/applications/${LARGE.id}/heartbeats`, bodies[batch % bodies.length]!)).text) as { accepted: number }).accepted;
    }
  }));
  return accepted / ((performance.now() - started) / 1_000);
}

export async function measure({ name, url, token, pid, stall }: Subject, most: number, seconds: number): Promise<{ tables: Table[]; targets: Target[]; figures: unknown }> {
  const asks = Array.from({ length: 4 }, () => asking(url, token)), other = asking(url, token), bodies = batches(100), path = `/applications/${SMALL.id}/sessions/${idOf(500)}`;
  await beat(asks, bodies, 5_000, 2);
  const quiet = probing(other, path);
  await wait(2_000);
  const quietP99 = percentile(await quiet(), 0.99), before = rssOf(pid);
  await stall();
  const beside = probing(other, path), calm = await beat(asks, bodies, 10_000, seconds), besideP99 = percentile(await beside(), 0.99), calmStall = await stall();
  const sustained = await beat(asks, bodies, most * 1.5, seconds), fullStall = await stall(), once = rssOf(pid);
  await beat(asks, bodies, most * 1.5, seconds);
  const twice = rssOf(pid);
  return {
    figures: { quietP99, calm, besideP99, calmStall, sustained, fullStall, before, once, twice },
    tables: [{ title: `${name}: heartbeats of a million sessions, in batches of 1,000 through HTTP`, columns: ['', ''], rows: [
      ['as fast as they are taken, a second', digits(sustained)], ['longest stall then', `${digits(fullStall)} ms`],
      ['10,000 a second: p99 of another\'s getSession, before and meanwhile', `${digits(quietP99)} ms, ${digits(besideP99)} ms`], ['longest stall then', `${digits(calmStall)} ms`],
      [`memory before, after ${seconds} s of as many as are taken, and after as long again`, `${digits(before)} MiB, ${digits(once)} MiB, ${digits(twice)} MiB`],
    ] }],
    targets: [
      atLeast(`6. ${name}: sessions a second`, sustained, most, ''),
      atLeast(`6. ${name}: 10,000 a second kept up`, calm, 9_500, ''),
      atMost(`6. ${name}: p99 of getSession beside 10,000 a second`, besideP99 / quietP99, 2, 'x'),
      atMost(`6. ${name}: stall at 10,000 a second`, calmStall, 20, 'ms'),
      atMost(`6. ${name}: memory grows by`, twice - before, 64, 'MiB'),
      atMost(`6. ${name}: memory after twice the time, to once`, twice / once, 1.1, 'x'),
    ],
  };
}

export async function measureHeartbeats({ seconds, quick }: { seconds: number; quick: boolean }): Promise<Report> {
  const parts: Awaited<ReturnType<typeof measure>>[] = [];
  for (const [open, most] of quick ? [ON_SQLITE] : [ON_SQLITE, ON_POSTGRES]) {
    const subject = await open();
    try { parts.push(await measure(subject, most, seconds)); } finally { await subject.stop(); }
  }
  return { command: 'npm run bench -- --only heartbeats', tables: parts.flatMap(({ tables }) => tables), targets: parts.flatMap(({ targets }) => targets), figures: parts.map(({ figures }) => figures) };
}
