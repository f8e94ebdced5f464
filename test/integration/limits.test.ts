// How often callers may call, on real sockets and with injected time: who is counted, what is refused, and who is not harmed by it.
import { afterEach, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { network } from '../../server/limits.ts';
import { undocumented } from '../support/answers.ts';
import { raw } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';

const open: TestService[] = [];
async function start(env: Record<string, string>) {
  const test = await startTestService({ env });
  open.push(test);
  return test;
}
afterEach(async () => { await Promise.all(open.splice(0).map((test) => test.close())); });

const get = (test: TestService, target: string, token: string, headers: [string, string][] = []) =>
  raw(test.url, { target: target.startsWith('/api') ? target : `/api/v1${target}`, headers: [['Authorization', `Bearer ${token}`], ...headers] });
const tooMany = { status: 429, body: { type: '/docs/errors#rate-limited', status: 429 } };

describe('calls of one caller', () => {
  it('are counted down in every answer, refused beyond the limit, and counted anew after a minute', async () => {
    const test = await start({ RATE_LIMIT_PRINCIPAL: '5', RATE_LIMIT_APPLICATION: '0' }), token = await test.token({ scopes: ['applications:read'] });
    for (const [path, status, left] of [['/applications', 200, 4], ['/applications?limit=0', 400, 3], ['/applications/x', 400, 2], ['/applications/x/sessions', 403, 1], ['/applications/0199ffff-ffff-7fff-8fff-ffffffffffff', 404, 0]] as const) {
      expect(await get(test, path, token)).toMatchObject({ status, headers: { 'ratelimit-policy': '"principal";q=5;w=60', ratelimit: `"principal";r=${left};t=60` } });
    }
    test.clock.advance(20_500);
    const refused = await get(test, '/applications', token);
    expect(refused).toMatchObject({ ...tooMany, headers: { 'retry-after': '40', ratelimit: '"principal";r=0;t=40', 'ratelimit-policy': '"principal";q=5;w=60' } });
    expect(undocumented('listApplications', { status: 429, type: 'application/problem+json', body: refused.body })).toEqual([]);
    expect(await raw(test.url, { method: 'HEAD', target: '/api/v1/applications', headers: [['Authorization', `Bearer ${token}`]] })).toMatchObject({ status: 429, text: '' });
    expect(await get(test, '/applications', await test.token({ scopes: [] }))).toMatchObject(tooMany); // another token of the same caller, and before the scope
    expect(await get(test, '/applications', await test.token({ subject: 'other' }))).toMatchObject({ status: 200 });
    expect(await get(test, '/applications', await test.token({ organizationId: 'org_other' }))).toMatchObject({ status: 200 });
    test.clock.advance(39_500);
    expect(await get(test, '/applications', token)).toMatchObject({ status: 200, headers: { ratelimit: '"principal";r=4;t=60' } });
  });

  it('are not stopped for long by a clock that is set back', async () => {
    const test = await start({ RATE_LIMIT_PRINCIPAL: '1' }), token = await test.token({ ttlMs: 10 * 3_600_000 });
    await get(test, '/applications', token);
    expect(await get(test, '/applications', token)).toMatchObject(tooMany);
    test.clock.advance(-20_000); // within the leeway for tokens that come from the future
    expect((await get(test, '/applications', token)).status).toBe(200);
  });

  it('that are refused are not read, not carried out and not audited', async () => {
    const test = await start({ RATE_LIMIT_REVOKES: '3' }), app = await test.application();
    const { session } = (await test.call('POST', `/applications/${app}/sessions`)).body;
    for (const path of ['/sessions?dryRun=true', '/sessions?userId=nobody', '/revoked-credentials/x']) expect((await test.call('DELETE', `/applications/${app}${path}`)).headers.get('ratelimit')).toMatch(/^"revokes";r=\d;t=60$/);
    for (const path of ['/sessions', `/sessions/${session.id}`, '/sessions?dryRun=true', '/revoked-credentials/x', '']) {
      const { status, body, headers } = await test.call('DELETE', `/applications/${app}${path}`);
      expect([status, body.type, body.detail, headers.get('retry-after')]).toEqual([429, '/docs/errors#rate-limited', 'The limit "revokes" is 3 calls a minute.', '60']);
    }
    const read = await test.call('GET', `/applications/${app}/sessions/${session.id}`);
    expect([read.status, read.body.session.status]).toEqual([200, 'active']);
    expect(read.headers.get('ratelimit-policy')).toBe('"principal";q=1000000;w=60, "application";q=1000000;w=60');
    const { items } = (await test.call('GET', `/applications/${app}/revocations`)).body;
    expect(items.map(({ filter }: { filter: unknown }) => filter)).toEqual([{ userId: 'nobody' }]);
  });

  it('are not counted where the limit is 0; pages are never counted', async () => {
    const test = await start({ RATE_LIMIT_PRINCIPAL: '0', RATE_LIMIT_APPLICATION: '0', RATE_LIMIT_REVOKES: '0', RATE_LIMIT_FAILED_AUTH: '0' }), token = await test.token();
    for (const answered of [await get(test, '/applications', token), await get(await start({ RATE_LIMIT_PRINCIPAL: '1' }), '/api/../livez', token), await raw(test.url, { target: '/livez' })]) {
      expect(Object.keys(answered.headers).filter((name) => name.startsWith('ratelimit'))).toEqual([]);
    }
  });
});

describe('sessions', () => {
  it('of a client\'s own are counted by caller, whatever a backend creates', async () => {
    const test = await start({ RATE_LIMIT_CONNECTS: '2' }), path = `/applications/${await test.application()}/sessions`, own = ['sessions:connect'];
    const connect = async (subject: string, scopes: string[]) => test.call('POST', path, { token: await test.token({ subject, scopes }), body: {} });
    for (const [subject, scopes, status] of [['a', own, 201], ['a', own, 201], ['a', own, 429], ['b', own, 201], ['a', ['sessions:write'], 201], ['a', ['sessions:write', ...own], 201], ['a', own, 429]] as const) {
      expect((await connect(subject, [...scopes])).status, subject).toBe(status);
    }
    expect((await connect('a', own)).headers.get('ratelimit')).toBe('"connects";r=0;t=60');
    test.clock.advance(60_000);
    expect((await connect('a', own)).status).toBe(201);
  });
});

describe('new applications', () => {
  it('are counted for all callers of an organization', async () => {
    const test = await start({ RATE_LIMIT_NEW_APPLICATIONS: '2' });
    const create = async (subject: string, organizationId: string) => (await test.call('POST', '/applications', { token: await test.token({ subject, organizationId }), body: { name: 'x' } })).status;
    const scopeless = await test.token({ organizationId: 'one', scopes: [] });
    for (let n = 0; n < 3; n++) expect((await test.call('POST', '/applications', { token: scopeless, body: { name: 'x' } })).status).toBe(403);
    for (const [subject, organization, status] of [['a', 'one', 201], ['b', 'one', 201], ['c', 'one', 429], ['c', 'two', 201]] as const) expect(await create(subject, organization)).toBe(status);
  });
});

describe('calls about one application', () => {
  it('are counted for all callers of its organization together, and strangers use nothing up', async () => {
    const test = await start({ RATE_LIMIT_APPLICATION: '3' }), app = await test.application(), path = `/applications/${app}`;
    const stranger = await test.token({ organizationId: 'org_stranger' });
    for (let n = 0; n < 4; n++) expect((await get(test, path, stranger)).status).toBe(n < 3 ? 404 : 429);
    for (const subject of ['a', 'b', 'c']) expect((await get(test, path, await test.token({ subject }))).status).toBe(200);
    expect(await get(test, path, await test.token({ subject: 'd' }))).toMatchObject({ ...tooMany, headers: { ratelimit: '"application";r=0;t=60' } });
    expect((await get(test, '/applications', await test.token({ subject: 'd' }))).status).toBe(200);
    expect((await get(test, `/applications/${await test.application()}`, await test.token({ subject: 'd' }))).status).toBe(200);
  });

  it('are not used up by tokens without the scope, and never stand in the way of a revoke', async () => {
    const test = await start({ RATE_LIMIT_APPLICATION: '3' }), app = await test.application(), path = `/applications/${app}`;
    const scopeless = await test.token({ subject: 'mallory', scopes: [] });
    for (let n = 0; n < 4; n++) expect(await get(test, path, scopeless)).toMatchObject({ status: 403, headers: { 'ratelimit-policy': '"principal";q=1000000;w=60' } });
    for (let n = 0; n < 3; n++) expect((await get(test, path, await test.token({ subject: 'ada' }))).status).toBe(200);
    expect((await get(test, path, await test.token({ subject: 'ada' }))).status).toBe(429);
    for (const revoke of ['/sessions?dryRun=true', '/sessions', '']) {
      const { status, headers } = await test.call('DELETE', path + revoke);
      expect([status, headers.get('ratelimit-policy')]).toEqual([200, '"principal";q=1000000;w=60, "revokes";q=1000000;w=60']);
    }
  });
});

describe('wrong tokens', () => {
  const wrong = (token: string, n: number) => `${token.slice(0, -8)}${String(n).padStart(8, 'A')}`;

  it('beyond the limit are refused unchecked; tokens that were good before still get through, and new ones a second later', async () => {
    const test = await start({ RATE_LIMIT_FAILED_AUTH: '5' }), known = await test.token({ subject: 'known' }), fresh = await test.token({ subject: 'fresh' });
    expect((await get(test, '/applications', known)).status).toBe(200);
    const seen: number[] = [];
    for (let n = 0; n < 8; n++) seen.push((await get(test, '/applications', wrong(known, n))).status);
    expect(seen).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
    const refused = await get(test, '/applications', wrong(known, 9));
    expect(refused).toMatchObject({ ...tooMany, headers: { 'retry-after': '1' }, body: { detail: 'Too many tokens from this address were wrong.' } });
    expect(Object.keys(refused.headers)).not.toContain('ratelimit');
    for (let n = 0; n < 10; n++) expect((await get(test, '/applications', known)).status).toBe(200);
    expect((await get(test, '/applications', fresh)).status).toBe(429);
    test.clock.advance(1_000);
    expect((await get(test, '/applications', fresh)).status).toBe(200);
    // Also when it is time to check it again.
    for (let n = 0; n < 6; n++) await get(test, '/applications', wrong(known, n));
    test.clock.advance(61_000);
    for (let n = 0; n < 6; n++) await get(test, '/applications', wrong(known, n));
    expect((await get(test, '/applications', fresh)).status).toBe(200);
    expect((await get(test, '/applications', await test.token({ subject: 'third' }))).status).toBe(429);
  });

  it('are counted by address, and nobody chooses an address by a header', async () => {
    const test = await start({ RATE_LIMIT_FAILED_AUTH: '5' }), token = await test.token();
    const seen: number[] = [];
    for (let n = 0; n < 8; n++) seen.push((await get(test, '/applications', wrong(token, n), [['X-Forwarded-For', `203.0.113.${n}`], ['Forwarded', `for=203.0.113.${n}`], ['X-Real-IP', `203.0.113.${n}`]])).status);
    expect(seen).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
  });

  it.each(['1', 'loopback', '127.0.0.0/8, ::1'])('are counted by the address that a trusted proxy names: %s', async (TRUST_PROXY) => {
    const test = await start({ RATE_LIMIT_FAILED_AUTH: '5', TRUST_PROXY }), token = await test.token();
    const from = async (...addresses: string[]) => {
      const seen: number[] = [];
      for (const [n, address] of addresses.entries()) seen.push((await get(test, '/applications', wrong(token, n), [['X-Forwarded-For', address]])).status);
      return seen;
    };
    // What the caller itself has put there comes first, and counts for nothing.
    expect(await from(...Array.from({ length: 6 }, (_, n) => `198.51.100.${n}, 203.0.113.1`))).toEqual([401, 401, 401, 401, 401, 429]);
    expect(await from('203.0.113.2')).toEqual([401]);
    expect(await from(...Array.from({ length: 6 }, (_, n) => `2001:db8:1:2:${n}::1`))).toEqual([401, 401, 401, 401, 401, 429]);
    expect(await from('2001:db8:1:3::1')).toEqual([401]);
  });

  it('that are no token by their shape cost nothing, and are not counted', async () => {
    const test = await start({ RATE_LIMIT_FAILED_AUTH: '5' });
    for (const junk of Array.from({ length: 8 }, (_, n) => ['junk', 'a.b', `${'a'.repeat(9_000)}.b.c`, 'a.b.c.d'][n % 4]!)) expect((await get(test, '/applications', junk)).status).toBe(401);
    expect((await get(test, '/applications', await test.token())).status).toBe(200);
  });

  it.each([['', 1], ['loopback', 0]])('of a proxy that is not trusted are warned of, once (TRUST_PROXY=%s)', async (TRUST_PROXY, times) => {
    const test = await start({ TRUST_PROXY });
    const warnings = () => test.logged.filter(({ level, msg }) => level === 40 && /TRUST_PROXY/.test(String(msg))).length;
    await get(test, '/applications', await test.token({ subject: 'no proxy' }));
    expect(warnings()).toBe(0);
    for (const subject of ['a', 'b']) await get(test, '/applications', await test.token({ subject }), [['X-Forwarded-For', '203.0.113.1']]);
    expect(warnings()).toBe(times);
  });

  it('many good tokens at once are no attack', async () => {
    const test = await start({ RATE_LIMIT_FAILED_AUTH: '5' });
    const tokens = await Promise.all(Array.from({ length: 50 }, (_, n) => test.token({ subject: `s${n}` })));
    expect(new Set(await Promise.all(tokens.map(async (token) => (await test.call('GET', '/applications', { token })).status)))).toEqual(new Set([200]));
  });
});

describe('network', () => {
  it.each([
    ['203.0.113.9', '203.0.113.9'], ['::ffff:203.0.113.9', '203.0.113.9'], ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'], ['2001:0DB8:0001:0002::', '2001:db8:1:2'], ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'], ['::', '0:0:0:0'], ['fe80::1%eth0', 'fe80:0:0:0'], ['1::2:3:4:5:6:7', '1:0:2:3'], ['unknown', 'unknown'], ['x'.repeat(100), 'x'.repeat(64)], ['', ''],
  ])('%s is %s', (address, expected) => expect(network(address)).toBe(expected));
});

describe('the client', () => {
  it('waits as long as Retry-After says, and tries again', async () => {
    const test = await start({ RATE_LIMIT_PRINCIPAL: '1' }), waits: number[] = [];
    const app = await test.application();
    const client = createClient({ baseUrl: test.url, token: await test.token({ subject: 'client' }), fetch: async (...args) => {
      const response = await fetch(...args);
      if (response.status === 429) { waits.push(Number(response.headers.get('retry-after'))); test.clock.advance(60_000); }
      return response;
    } });
    await client.applications.get(app);
    test.clock.advance(59_000); // one second of the minute is left
    const started = performance.now();
    await client.applications.get(app);
    expect(waits).toEqual([1]);
    expect(performance.now() - started).toBeGreaterThan(950);
  });
});
