// From the start of the process to the first answer that it is ready, on nothing and on a million sessions, and what it holds when nobody asks.
import { rmSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { sqliteMillion } from './million.ts';
import { atMost, type Report } from './report.ts';
import { digits, show, spread, type Spread } from './statistics.ts';
import { startRollcall, temporary } from './world.ts';

const SETTLED_MS = 5_000;

/** The first start in a new directory also makes the tables and a key; the next ones come after a server that was killed. */
async function starts(make: () => Promise<string>, rounds: number, again: boolean): Promise<{ ready: Spread; idle: number }> {
  const times: number[] = [];
  let idle = 0, directory = '';
  for (let round = 0; round < rounds; round++) {
    if (round === 0 || !again) directory = await make();
    const started = performance.now(), server = await startRollcall(directory, { pollMs: 5 });
    times.push(performance.now() - started);
    if (round === rounds - 1) {
      await wait(SETTLED_MS);
      idle = server.rss();
    }
    await server.stop();
    if (round === rounds - 1 || !again) rmSync(directory, { recursive: true, force: true });
  }
  return { ready: spread(times), idle };
}

export async function measureStart({ rounds }: { rounds: number }): Promise<Report> {
  const empty = await starts(async () => temporary(), rounds, false), million = await starts(sqliteMillion, rounds, true);
  return {
    command: 'npm run bench -- --only start',
    tables: [{ title: 'Start', columns: ['', 'ready after, ms', 'idle, MiB'], rows: [
      ['in a new directory', show(empty.ready), digits(empty.idle)], ['on 1,100,000 sessions', show(million.ready), digits(million.idle)],
    ] }],
    targets: [
      atMost('7. ready, new', empty.ready.median, 1_000, 'ms'), atMost('7. ready, on a million sessions', million.ready.median, 1_000, 'ms'),
      atMost('7. idle, new', empty.idle, 120, 'MiB'), atMost('7. idle, on a million sessions', million.idle, 120, 'MiB'),
    ],
    figures: { empty, million },
  };
}
