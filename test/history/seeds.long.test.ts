// The checks of a history, checked: a bug that is planted is reported for what it is, and without one there is nothing to report.
import { describe, expect, it } from 'vitest';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { check } from './check.ts';
import type { History, State } from './record.ts';
import { run } from './run.ts';
import { openStores, seeds, type Seed } from './stores.ts';

const SECONDS = 2.5;

async function judge(seed?: Seed): Promise<{ wrong: string[]; operations: number }> {
  const database = await createDatabase();
  const { subject, close } = await openStores(database.url, seed);
  try {
    const history = await run(subject, SECONDS);
    return { wrong: check(history), operations: history.operations.length };
  } finally {
    await close();
    await database.drop();
  }
}

describe.runIf(postgresIsThere())('a history', () => {
  it('without a planted bug has nothing wrong', async () => {
    const { wrong, operations } = await judge();
    expect(wrong).toEqual([]);
    expect(operations).toBeGreaterThan(200);
  }, 40_000);

  it.each([
    ['a revoke that is kept in memory only', 'no revival'],
    ['a revoke that counts before it has the sessions to itself', 'conservation'],
    ['a heartbeat that does not look at the generation', 'no revival'],
    ['events read up to the highest number', 'delivery'],
    ['a store that shows nothing when it is away', 'honesty'],
  ])('with %s breaks the promise of %s', async (planted, promise) => {
    const { wrong } = await judge(seeds[planted]!);
    console.log(`${wrong.length} found, such as ${wrong[0]}`);
    expect(new Set(wrong.map((what) => what.split(':')[0]))).toContain(promise);
  }, 40_000);
});

describe('the client of a session', () => {
  it.each<[string, State, State[], number]>([
    ['once', 'revoked', ['revoked'], 0], ['nothing, and whose session lives', 'active', [], 0],
    ['nothing', 'revoked', [], 1], ['twice', 'revoked', ['revoked', 'revoked'], 1], ['another reason', 'ended', ['revoked'], 1], ['that it is over when it is not', 'active', ['revoked'], 1],
  ])('that was told %s is judged so', (_what, state, told, wrong) => {
    const history: History = {
      operations: [], readers: [], faults: [], clients: [{ app: 'a', sessionId: 's', told }], final: new Map([['a', { lists: [[{ id: 's', state }]], audit: [] }]]),
    };
    expect(check(history).filter((what) => what.startsWith('delivery: the client'))).toHaveLength(wrong);
  });
});
