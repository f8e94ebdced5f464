// The faults of the sandbox, on a real server: for one call, for all calls, and for nobody who did not ask.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { startFront, type Front } from '../../server/dev/front.ts';
import { startTestService, type TestService } from '../support/service.ts';

let test: TestService, front: Front, path: string, authorization: string;
beforeAll(async () => {
  test = await startTestService();
  front = await startFront(test.url);
  path = `/api/v1/applications/${await test.application()}/sessions`;
  authorization = `Bearer ${await test.token()}`;
});
afterEach(() => fetch(`${front.url}/__faults`, { method: 'DELETE' }));
afterAll(async () => {
  await front.close();
  await test.close();
});

const get = (query = '', headers: Record<string, string> = {}) => fetch(`${front.url}${path}${query}`, { headers: { authorization, ...headers } });
const set = (faults: string) => fetch(`${front.url}/__faults?${faults}`, { method: 'PUT' });
const took = async (call: () => Promise<unknown>) => {
  const started = performance.now();
  await call();
  return performance.now() - started;
};

describe('a call in the sandbox', () => {
  it('is the server\'s own where nothing was asked for', async () => {
    const made = await fetch(`${front.url}${path}`, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: '{"name":"one"}' });
    expect(made.status).toBe(201);
    expect(await (await get('?limit=1')).json()).toEqual({ items: [(await made.json()).session] });
    const refused = await get('?limit=0&__delay=1');
    expect(await refused.json()).toMatchObject({ status: 400, errors: [{ pointer: '/query/limit' }] }); // and __delay is nothing the server complains of
    expect((await fetch(`${front.url}/livez`)).status).toBe(200);
  });

  it('may come from any page', async () => {
    const origin = 'http://localhost:5173';
    const preflight = await fetch(`${front.url}${path}`, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'DELETE', 'access-control-request-headers': 'authorization' } });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin'), preflight.headers.get('access-control-allow-methods')]).toEqual([204, origin, 'DELETE']);
    const answered = await get('', { origin });
    expect(answered.headers.get('access-control-allow-origin')).toBe(origin);
    expect(answered.headers.get('access-control-expose-headers')).toContain('x-request-id');
  });

  it.each([['?__code=429', {}, 429, 'rate-limited'], ['', { prefer: 'code=503' }, 503, 'store-unavailable'], ['?__code=500', {}, 500, 'internal-error']])(
    'is refused when it asks for that: %s %o', async (query, headers, status, code) => {
      const answered = await get(query, headers);
      expect(answered.headers.get('content-type')).toBe('application/problem+json');
      expect(answered.headers.get('retry-after')).toBe(status === 500 ? null : '1');
      expect(await answered.json()).toMatchObject({ status, type: `/docs/errors#${code}`, requestId: answered.headers.get('x-request-id') });
    });

  it('waits when it asks for that', async () => {
    expect(await took(() => get('?__delay=150'))).toBeGreaterThanOrEqual(145); // timers may fire a little early
    expect(await took(() => get('', { prefer: 'delay=150' }))).toBeGreaterThanOrEqual(145);
  });

  it('is cut off when it asks for that, a stream in the middle', async () => {
    await expect(get('?__drop=0')).rejects.toThrow('fetch failed');
    const stream = await fetch(`${front.url}${path.replace(/sessions$/, 'events')}?__drop=800`, { headers: { authorization } });
    expect(stream.status).toBe(200);
    await expect(stream.text()).rejects.toThrow();
  });

  it.each([['?__code=418', '/query/__code', '429'], ['?__rate=2', '/query/__rate', '0 to 1'], ['?__drop=', '/query/__drop', 'milliseconds']])(
    'learns that there is no %s', async (query, pointer, detail) => {
      expect(await (await get(query)).json()).toMatchObject({ status: 400, errors: [{ pointer, detail: expect.stringContaining(detail) }] });
    });
});

describe('the switch for all calls', () => {
  it('holds until it is taken back, and spares the pages', async () => {
    expect(await (await set('code=503&delay=60')).json()).toEqual({ code: 503, delay: 60 });
    expect((await get()).status).toBe(503);
    expect(await took(() => get())).toBeGreaterThanOrEqual(55);
    expect((await fetch(`${front.url}/livez`)).status).toBe(200);
    expect(await (await fetch(`${front.url}/__faults`, { method: 'DELETE' })).json()).toEqual({});
    expect((await get()).status).toBe(200);
  });

  it('hits as many as it is told to, and a client that retries gets through', async () => {
    await set('code=503&rate=0.5');
    const statuses = await Promise.all(Array.from({ length: 60 }, async () => (await get()).status));
    expect(new Set(statuses)).toEqual(new Set([200, 503])); // the odds of sixty alike are one in 10^17
    await set('code=429&rate=0');
    expect((await createClient({ baseUrl: front.url, token: () => test.token() }).applications.page()).items.length).toBeGreaterThan(0);
  });

  it('refuses what it does not have', async () => {
    expect((await set('chaos=1')).status).toBe(400);
    expect(await (await fetch(`${front.url}/__faults`)).json()).toEqual({});
  });
});
