// A short walk of the fuzzer, with the same requests every time; fuzz.long.test.ts and `npm run fuzz` go further.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations } from '../contract/contract.ts';
import fc from 'fast-check';
import { attempts } from '../fuzz/requests.ts';
import { fuzz, Finding } from '../fuzz/run.ts';
import { StoreUnavailable } from '../../server/store/store.ts';
import { startTestService, type TestService } from '../support/service.ts';

let test: TestService;
beforeAll(async () => { test = await startTestService(); });
afterAll(() => test.close());

const target = () => ({
  url: test.url,
  token: ({ organizationId = 'org_fuzz', ...request }: Parameters<TestService['token']>[0] = {}) => test.token({ organizationId, ...request }),
  settle: async () => { test.clock.advance(6_000); },
});

describe('requests made from the contract', () => {
  it('are of every operation, and every kind', () => {
    const kinds = new Set(fc.sample(attempts, { seed: 1, numRuns: 2_000 }).map(({ operation, kind }) => `${operation.id} ${kind}`));
    expect(operations.flatMap(({ id }) => ['valid', 'beside', 'hostile'].map((kind) => `${id} ${kind}`)).filter((wanted) => !kinds.has(wanted))).toEqual([]);
  });

  it('are answered as the contract documents, and what was stored comes back', { timeout: 120_000 }, async () => {
    const { sent, taken, sessions } = await fuzz(target(), { seed: 7, slowestMs: 10_000, until: (count) => count >= 1_000 });
    expect(sent).toBeGreaterThanOrEqual(1_000);
    expect(taken).toBeGreaterThan(200);
    expect(sessions).toBeGreaterThan(5);
    expect(test.logged.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });

  it('would show a server that forgets, alters, or tells', { timeout: 60_000 }, async () => {
    const { store } = test.service, { getSession } = store;
    store.getSession = async (...args) => { const session = await getSession(...args); return session && { ...session, facts: session.facts.replace('"hostname":', '"hostname":null,"h":') }; };
    try {
      await expect(fuzz(target(), { seed: 7, until: (count) => count >= 500 })).rejects.toThrow(Finding);
    } finally { store.getSession = getSession; }
  });

  it('may be refused by a busy database once, and no request every time', { timeout: 60_000 }, async () => {
    const { store } = test.service, { pageSessions } = store, walk = () => fuzz(target(), { seed: 7, lanes: 1, slowestMs: 10_000, mayBeBusy: true, until: (count) => count >= 60 });
    let calls = 0;
    store.pageSessions = async (...args) => { if (calls++ === 0) throw new StoreUnavailable('away'); return pageSessions(...args); };
    try {
      await walk();
      expect(calls).toBeGreaterThan(1);
      store.pageSessions = () => Promise.reject(new StoreUnavailable('away'));
      await expect(walk()).rejects.toThrow(/503 again and again/);
    } finally { store.pageSessions = pageSessions; }
  });
});
