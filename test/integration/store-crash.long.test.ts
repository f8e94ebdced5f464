// A process that is killed in the middle of a revoke loses nothing that was answered and leaves nothing half done.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectedStatuses } from '../../server/session.ts';
import type { Store } from '../../server/store/store.ts';
import { newSession } from '../suites/store/bed.ts';
import { filter, largeStore, SESSIONS, type LargeStore } from '../support/large-store.ts';
import { actor } from '../support/store-times.ts';

const ROUNDS = 5, MATCHING = SESSIONS / 2;
const program = fileURLToPath(new URL('../support/store-process.ts', import.meta.url));

let large: LargeStore, directory: string;
beforeAll(async () => { large = await largeStore(); }, 600_000);
afterAll(() => large.remove());

/** Lets a process do its work and kills it so many ms after it began. Answers whether it had answered by then. */
async function killed(what: string, afterMs: number): Promise<boolean> {
  const child = spawn(process.execPath, [program, directory, large.tenant.applicationId, what], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const lines: string[] = [];
  const output = createInterface(child.stdout).on('line', (line) => lines.push(line));
  while (lines.length === 0) await Promise.race([once(output, 'line'), exit.then(() => { throw new Error('it ended before it began'); })]);
  await wait(afterMs); // a process of its own has a time of its own
  child.kill('SIGKILL');
  await exit;
  return lines.includes('answered');
}

/** What the file itself says, read beside the store. */
function inFile() {
  const db = new DatabaseSync(join(directory, 'rollcall.db'), { readOnly: true });
  const number = (text: string) => Object.values(db.prepare(text).get()!)[0];
  try {
    return {
      integrity: number('pragma integrity_check'),
      counter: number('select connected from applications'),
      connected: number('select count(*) from sessions s join applications a on a.id = s.application_id and a.generation = s.generation where s.state < 2'),
      notOver: number('select count(*) from sessions where state < 3'),
      credentials: number('select count(*) from session_credentials'),
      denied: number('select count(*) from revoked_credentials'),
    };
  } finally { db.close(); }
}

const connected = async (store: Store) => {
  const revoked = await store.revokeAll(large.tenant, { dryRun: true }, actor);
  return revoked?.outcome === 'done' ? revoked.count : -1;
};
const firstPage = async (store: Store) => (await store.pageSessions(large.tenant, { statuses: connectedStatuses }, { after: undefined, limit: 1_000 }))!.items.length;
const newestRevocation = async (store: Store) => (await store.listRevocations(large.tenant, { after: undefined, limit: 1 }))!.items[0];

const rounds = (longestMs: number) => Array.from({ length: ROUNDS }, (_, round) => ({ round: round + 1, afterMs: Math.round(longestMs * (round + Math.random()) / ROUNDS) }));

describe('kill -9', () => {
  it.each(rounds(12))('during a revoke-all, after $afterMs ms ($round): all or nothing', async ({ afterMs }) => {
    directory = large.copy();
    const answered = await killed('revoke all', afterMs);
    const store = large.open(directory);
    const left = await connected(store);
    expect([0, SESSIONS]).toContain(left);
    if (answered) expect(left).toBe(0);
    expect(inFile()).toMatchObject({ integrity: 'ok', counter: left, connected: left, notOver: SESSIONS });
    expect(await firstPage(store)).toBe(left === 0 ? 0 : 1_000);
    expect(await newestRevocation(store)).toEqual(left === 0 ? expect.objectContaining({ state: 'done', disconnectedCount: SESSIONS }) : undefined);
    await store.close();
  }, 120_000);

  it.each(rounds(8_000))('while a revoke-all is settled, after $afterMs ms ($round): nothing comes back, and it is finished later', async ({ afterMs }) => {
    directory = large.copy();
    await killed('settle', afterMs);
    const store = large.open(directory);
    expect(inFile()).toMatchObject({ integrity: 'ok', counter: 0, connected: 0 });
    expect(await connected(store)).toBe(0);
    expect(await firstPage(store)).toBe(0);
    for (const credential of ['c0', 'c50001', `c${SESSIONS - 1}`]) {
      expect(await store.connect(large.tenant, newSession({ credential: { id: credential, expiresAt: null } }))).toEqual({ outcome: 'credential-revoked' });
    }
    await store.settleRevocations(large.tenant.applicationId);
    expect(inFile()).toEqual({ integrity: 'ok', counter: 0, connected: 0, notOver: 0, credentials: 0, denied: SESSIONS });
    await store.close();
  }, 120_000);

  it.each(rounds(8_000))('during a filtered revoke, after $afterMs ms ($round): it says so, and repeating it finishes it', async ({ afterMs }) => {
    directory = large.copy();
    const answered = await killed('revoke matching', afterMs);
    const store = large.open(directory);
    await store.interruptRevocations(Date.now() + 1);
    const row = await newestRevocation(store);
    const ended = row?.disconnectedCount ?? 0;
    if (row) expect(ended === MATCHING ? ['done', 'interrupted'] : ['interrupted']).toContain(row.state);
    if (answered) expect(row).toMatchObject({ state: 'done', disconnectedCount: MATCHING });
    expect(inFile()).toMatchObject({ integrity: 'ok', counter: SESSIONS - ended, connected: SESSIONS - ended, denied: ended });
    expect(await store.revokeMatching(large.tenant, filter, {}, {}, actor)).toEqual({ outcome: 'done', count: MATCHING - ended });
    expect(inFile()).toEqual({ integrity: 'ok', counter: SESSIONS - MATCHING, connected: SESSIONS - MATCHING, notOver: SESSIONS - MATCHING, credentials: SESSIONS - MATCHING, denied: MATCHING });
    await store.close();
  }, 120_000);
});
