// Long work on the embedded database lets others in between.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everyStatus } from '../../server/session.ts';
import { filter, largeStore, type LargeStore } from '../support/large-store.ts';
import { actor } from '../support/store-times.ts';

/** The promise is 50 ms; tests allow three times as much. */
const STALL_MS = 150;

let large: LargeStore;
beforeAll(async () => { large = await largeStore(); }, 600_000);
afterAll(() => large.remove());

describe('the event loop at 100,000 sessions', () => {
  const stops = async (work: () => Promise<unknown>) => {
    const resolution = 2, delay = monitorEventLoopDelay({ resolution });
    delay.enable();
    await wait(20); // it has begun to measure
    delay.reset();
    const started = performance.now();
    await work();
    const took = performance.now() - started;
    await wait(20);
    delay.disable();
    return { took: Math.round(took), longest: Math.round(delay.max / 1e6 - resolution) };
  };

  it(`stops for at most ${STALL_MS} ms at a time`, async () => {
    const measured: Record<string, { took: number; longest: number }> = {};
    const measure = async (name: string, work: () => Promise<unknown>) => { measured[name] = await stops(work); };
    let store = large.open(large.copy());
    await measure('list, filtered down to nothing', () => store.pageSessions(large.tenant, { statuses: everyStatus, lastActiveBefore: 1 }, { after: undefined, limit: 1 }));
    await measure('list of the expired, of which there are none', () => store.pageSessions(large.tenant, { statuses: new Set(['expired']) }, { after: undefined, limit: 100 }));
    await measure('counts', () => store.countSessions(large.tenant));
    await measure('filtered revoke of 50,000', () => store.revokeMatching(large.tenant, filter, {}, {}, actor));
    await store.close();
    store = large.open(large.copy());
    await measure('revoke-all of 100,000', () => store.revokeAll(large.tenant, {}, actor));
    await measure('denied credentials, unsettled', () => store.listRevokedCredentials(large.tenant, { after: undefined, limit: 1_000 }));
    await measure('settling of 100,000', () => store.settleRevocations(large.tenant.applicationId));
    await store.close();
    console.table(measured);
    expect(Object.entries(measured).filter(([, { longest }]) => longest > STALL_MS)).toEqual([]);
    expect(measured['revoke-all of 100,000']!.took).toBeLessThan(STALL_MS);
  }, 300_000);
});
