// `npm run seed` with the limits that a server has by default: more than those would let through one by one.
import { expect, it } from 'vitest';
import { seed } from '../../server/seed.ts';
import { startTestService, WIDE_LIMITS } from '../support/service.ts';

it('makes three thousand sessions within one minute of calls', async () => {
  const test = await startTestService({ env: Object.fromEntries(Object.keys(WIDE_LIMITS).map((name) => [name, ''])) }); // no variable is its default
  const applicationId = await test.application();
  expect(await seed({ baseUrl: test.url, token: await test.token(), applicationId, count: 3_000, now: test.clock.now })).toBe(3_000);
  const { items } = (await test.call('GET', `/applications/${applicationId}/revocations`)).body;
  expect(items).toMatchObject([{ state: 'done', filter: { userId: expect.stringContaining('user_mallory') } }]); // one for all of them
  expect(items[0].disconnectedCount).toBeGreaterThan(90); // about 150
  await test.close();
}, 120_000);
