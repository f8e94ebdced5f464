// Query strings on real sockets: what is refused, with which words, and that a refused revoke revokes nothing.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { raw } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';

let test: TestService, app: string, token: string;
beforeAll(async () => {
  test = await startTestService();
  app = await test.application();
  token = await test.token();
});
afterAll(() => test.close());

const send = (query: string, method = 'GET') => raw(test.url, { method, target: `/api/v1/applications/${app}/sessions?${query}`, headers: [['Authorization', `Bearer ${token}`]] });
const errorsOf = async (query: string): Promise<Record<string, string>> => {
  const { status, body } = await send(query);
  expect([query, status, body.type]).toEqual([query, 400, '/docs/errors#invalid-request']);
  return Object.fromEntries(body.errors.map(({ pointer, detail }: { pointer: string; detail: string }) => [pointer, detail]));
};

describe('listSessions refuses', () => {
  it.each([
    ['limit=0', { '/query/limit': 'must be >= 1' }], ['limit=1001', { '/query/limit': 'must be <= 1000' }], ['limit=-1', { '/query/limit': 'must be >= 1' }],
    ...['0x10', '1e2', '%205', '5%20', '%2B5', '5.0', '5.5', 'ten', 'NaN', 'Infinity', '5,6', '%D9%A5', '1_000'].map((limit) => [`limit=${limit}`, { '/query/limit': 'must be integer' }]),
    ['limit=', { '/query/limit': 'must not be empty' }], ['limit', { '/query/limit': 'must not be empty' }], ['limit=5&limit=5', { '/query/limit': 'is given more than once' }],
    ...['TRUE', '1', '0', 'yes', 'on'].map((flag) => [`includeInactive=${flag}`, { '/query/includeInactive': 'must be boolean' }]),
    ['status=Active', { '/query/status': 'must be equal to one of the allowed values: active, inactive, all' }], ['status=active,all', { '/query/status': expect.stringMatching(/allowed values/) }],
    ['derivedStatus=idle,%20active', { '/query/derivedStatus/1': expect.stringMatching(/allowed values/) }], ['derivedStatus=idle,,active', { '/query/derivedStatus/1': expect.stringMatching(/allowed values/) }],
    ['derivedStatus=idle,', { '/query/derivedStatus/1': expect.stringMatching(/allowed values/) }], ['derivedStatus=idle,idle', { '/query/derivedStatus': 'must not name anything twice' }],
    ['derivedStatus=idle,gone', { '/query/derivedStatus/1': expect.stringMatching(/allowed values: active, idle, expired, disconnected/) }],
    ['derivedStatus=idle&derivedStatus=active', { '/query/derivedStatus': 'is given more than once' }], ['derivedStatus=%5B%22idle%22%5D', { '/query/derivedStatus/0': expect.stringMatching(/allowed values/) }],
    ['cursor=!!', { '/query/cursor': 'has characters that are not allowed here' }], [`cursor=${'a'.repeat(1_501)}`, { '/query/cursor': 'must not have more than 1500 characters' }],
    [`userId=${'a'.repeat(256)}`, { '/query/userId': 'must not have more than 255 characters' }], [`clientName=${'a'.repeat(201)}`, { '/query/clientName': 'must not have more than 200 characters' }],
    ...['%00', '%0A', '%7F', '%C2%85', '%E2%80%A8', '%E2%80%A9'].map((odd) => [`hostname=a${odd}`, { '/query/hostname': 'has characters that are not allowed here' }]),
    ...['%ff', '%', '%E0%A4%A', '%ED%A0%80', '%C0%AE', 'a#b'].map((odd) => [`userId=${odd}`, { '/query/userId': 'must be percent-encoded UTF-8' }]),
  ] as [string, Record<string, unknown>][])('%s', async (query, errors) => expect(await errorsOf(query)).toEqual(errors));

  it.each([
    ['nonsense=1', '/query/nonsense'], ['Limit=1', '/query/Limit'], ['limit%20=1', '/query/limit '], ['a%2Fb=1', '/query/a~1b'], ['a~b=1', '/query/a~0b'], ['~1=1', '/query/~01'], ['=x', '/query/'], ['?limit=1', '/query/?limit'], ['??', '/query/??'],
    ['limit[]=1', '/query/limit[]'], ['limit[a]=1', '/query/limit[a]'], ['limit[__proto__]=1', '/query/limit[__proto__]'], ['__proto__=1', '/query/__proto__'], ['constructor=1', '/query/constructor'], ['toString=1', '/query/toString'],
    ['access_token=x', '/query/access_token'], [';limit=1', '/query/;limit'], ['dryRun=true', '/query/dryRun'], ['%ED%A0%80=1', '/query/\ufffd\ufffd\ufffd'],
    [`${'a'.repeat(199)}~b=1`, `/query/${'a'.repeat(199)}~0`], [`${'a'.repeat(199)}%F0%9F%98%80=1`, `/query/${'a'.repeat(199)}\ufffd`],
  ])('the name in %s', async (query, pointer) => expect(await errorsOf(query)).toEqual({ [pointer]: 'is not a parameter of this operation' }));

  it('everything at once, each place once, and no more than twenty', async () => {
    expect(await errorsOf('clientname=x&userId=&limit=0&status=x&status=y&hostname=%00&lastActiveBefore=now')).toEqual({
      '/query/clientname': 'is not a parameter of this operation', '/query/userId': 'must not be empty', '/query/limit': 'must be >= 1', '/query/status': 'is given more than once',
      '/query/hostname': 'has characters that are not allowed here', '/query/lastActiveBefore': expect.stringMatching(/date-time/),
    });
    const { body } = await send(Array.from({ length: 30 }, (_, n) => `x${n}=1`).join('&'));
    expect(body.errors).toHaveLength(20);
    expect(body.detail).toBe('More than 20 parts of the request must be mended.');
  });
});

describe('listSessions takes', () => {
  it.each(['&&', 'limit=1', 'limit=001', 'limit=1000', 'derivedStatus=idle,active', 'derivedStatus=idle%2Cactive', 'includeInactive=false', 'userId=a+b', "userId=a:/?@!$'()*,;=[]~b", 'clientName=%26%3D%23', 'hostname=%F0%9F%98%80', 'userId=a/'])(
    '%s', async (query) => expect(await send(query)).toMatchObject({ status: 200 }));

  it('a filter exactly as it is written', async () => {
    for (const userId of ["it's*(a):/?@!$,;=[]~b", 'a b', '+', '%41', '💥', '&', 'ü']) {
      await test.call('POST', `/applications/${app}/sessions`, { body: { userId } });
      for (const written of [encodeURIComponent(userId), new URLSearchParams({ userId }).toString().slice('userId='.length)]) {
        const { body } = await send(`userId=${written}`);
        expect(body.items.map((session: { userId: string }) => session.userId), written).toEqual([userId]);
      }
    }
  });
});

describe('what was found good before', () => {
  let test: TestService, app: string, token: string;
  beforeAll(async () => {
    test = await startTestService({ validateResponses: false }); // or nothing would be remembered
    app = await test.application();
    token = await test.token();
  });
  afterAll(() => test.close());
  const send = (query: string) => raw(test.url, { target: `/api/v1/applications/${app}/sessions?${query}`, headers: [['Authorization', `Bearer ${token}`]] });

  it('says nothing of another query, a body or another method', async () => {
    const created = await test.call('POST', `/applications/${app}/sessions`, { body: { userId: 'remembered' } }), one = `/api/v1/applications/${app}/sessions/${created.body.session.id}`;
    const authorization: [string, string] = ['Authorization', `Bearer ${token}`];
    for (let times = 0; times < 4; times++) {
      expect(await send('limit=1&derivedStatus=active,idle&userId=remembered')).toMatchObject({ status: 200, body: { items: [{ userId: 'remembered' }] } });
      expect(await send('limit=0&derivedStatus=active,idle&userId=remembered')).toMatchObject({ status: 400, body: { errors: [{ pointer: '/query/limit', detail: 'must be >= 1' }] } });
      expect(await send('derivedStatus=idle&userId=remembered')).toMatchObject({ status: 200, body: { items: [] } });
      expect(await raw(test.url, { target: one, headers: [authorization] })).toMatchObject({ status: 200 });
      expect(await raw(test.url, { target: `${one}?limit=1`, headers: [authorization] })).toMatchObject({ status: 400 });
      expect(await raw(test.url, { target: one, headers: [authorization, ['Content-Length', '2']], body: '{}' })).toMatchObject({ status: 400 });
      expect(await raw(test.url, { method: 'POST', target: one, headers: [authorization, ['Content-Length', '0']] })).toMatchObject({ status: 405 });
    }
  });

  it('says nothing of who asks, and of which ids', async () => {
    const { id } = (await test.call('POST', `/applications/${app}/sessions`)).body.session, one = `/applications/${app}/sessions/${id}`, absent = '0199ffff-ffff-7fff-8fff-ffffffffffff';
    const scopeless = await test.token({ scopes: [] }), foreign = await test.token({ organizationId: 'org_other' });
    for (let times = 0; times < 3; times++) {
      for (const path of [one, `/applications/${app}/sessions?limit=2`, `/applications/${app}`]) {
        const statuses = await Promise.all([undefined, null, scopeless, foreign].map(async (token) => (await test.call('GET', path, { token })).status));
        expect([path, ...statuses]).toEqual([path, 200, 401, 403, 404]);
      }
      const statuses = await Promise.all([one.replace(id, absent), one.replace(app, absent), one.replace(id, id.toUpperCase()), `${one}/`].map(async (path) => (await test.call('GET', path)).status));
      expect(statuses).toEqual([404, 404, 400, 404]);
    }
  });
});

describe('date-times', () => {
  it.each([
    '2026-02-28T00:00:00Z', '2024-02-29T00:00:00Z', '2026-01-01t00:00:00z', '2026-01-01T00:00:00.1Z', '2026-01-01T00:00:00.123456789Z', '2026-01-01T23:59:59%2B23:59', '2026-01-01T00:00:00-00:00',
    '0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999Z',
  ])('%s is one', async (text) => expect(await send(`lastActiveBefore=${text}`)).toMatchObject({ status: 200 }));

  it.each([
    '2026-02-31T00:00:00Z', '2026-02-29T00:00:00Z', '2026-13-01T00:00:00Z', '2026-00-01T00:00:00Z', '2026-01-00T00:00:00Z', '2026-12-31T23:59:60Z', '2026-01-01T24:00:00Z', '2026-01-01T00:60:00Z', '2026-01-01T00:00:00%2B24:00', '2026-01-01T00:00:00%2B01:60',
    '2026-01-01T00:00:00', '2026-01-01', '2026-01-01%2000:00:00Z', '2026-01-01T00:00Z', '2026-01-01T00:00:00.Z', '2026-01-01T00:00:00%2B0100', '1767225600', 'now', '+02026-01-01T00:00:00Z', '10000-01-01T00:00:00Z', '2026-01-01T00:00:00Z%20',
    '9999-12-31T23:59:59-00:01', '0000-01-01T00:00:00%2B00:01', '2026-01-01T00:00:00+01:00',
  ])('%s is none', async (text) => expect(await errorsOf(`lastActiveBefore=${text}`)).toEqual({ '/query/lastActiveBefore': 'must be a date-time that exists, such as 2026-11-22T00:00:00Z' }));

  it('mean the moment, whatever the offset', async () => {
    const own = await test.application();
    await test.call('POST', `/applications/${own}/sessions`);
    const at = (text: string) => test.call('GET', `/applications/${own}/sessions?lastActiveBefore=${text}`).then(({ body }) => body.items.length);
    expect(await Promise.all(['2026-11-23T12:00:00Z', '2026-11-23T12:00:00.001Z', '2026-11-23T13:00:00%2B01:00', '2026-11-23T13:00:00.001%2B01:00', '2026-11-23t06:30:00.001-05:30'].map(at))).toEqual([0, 1, 0, 1, 1]);
  });
});

describe('revokeSessions revokes nothing', () => {
  const values: Record<string, string> = { derivedStatus: 'idle', userId: 'ada', clientName: 'cursor', hostname: 'build-07', lastActiveBefore: '2099-01-01T00:00:00Z', dryRun: 'true', maxCount: '100' };
  let own: string;
  beforeEach(async () => {
    own = await test.application();
    await test.call('POST', `/applications/${own}/sessions`, { body: { userId: 'bob' } });
  });
  const revoke = (target: string) => raw(test.url, { method: 'DELETE', target: `/api/v1/applications/${own}/sessions${target}`, headers: [['Authorization', `Bearer ${token}`]] });
  async function expectNothing() {
    expect((await test.call('GET', `/applications/${own}/sessions`)).body.items).toHaveLength(1);
    expect((await test.call('GET', `/applications/${own}/revocations`)).body.items).toEqual([]);
  }

  it.each(Object.entries(values))('where %s is empty, repeated, or misspelt', async (name, value) => {
    const odd = [`${name}=`, name, `${name}=${value}&${name}=${value}`, `${name}=${value}&${name}=`, `${name.toUpperCase()}=${value}`, `${name}s=${value}`, `%20${name}=${value}`, `${name}%00=${value}`, `${name}[]=${value}`,
      `?${name}=${value}`, `;${name}=${value}`, `${name}=${value}&nonsense=1`, `${name}=%ff`, `${name}=${value}#`, `#${name}=${value}`];
    for (const query of odd) expect([query, (await revoke(`?${query}`)).status]).toEqual([query, 400]);
    await expectNothing();
  });

  it.each(['maxCount=1e2', 'maxCount=0x1', 'maxCount=-1', 'maxCount=1.0', 'dryRun=1', 'dryRun=True', 'derivedStatus=disconnected', 'derivedStatus=active,disconnected', 'derivedStatus=Active', 'lastActiveBefore=2026-02-31T00:00:00Z', 'status=active', 'includeInactive=true', 'limit=1', 'cursor=abc'])(
    'for %s', async (query) => {
      expect((await revoke(`?${query}`)).body).toMatchObject({ status: 400, errors: [{ pointer: expect.stringContaining(`/query/${query.split('=')[0]}`) }] });
      await expectNothing();
    });

  it.each(['/', '/?userId=bob', '//', '/%20', '/..', '%2F'])('for the path %s', async (target) => {
    expect([400, 404]).toContain((await revoke(target)).status);
    await expectNothing();
  });

  it('where a filter matches nobody', async () => {
    expect((await revoke('?userId=nobody')).body).toEqual({ success: true, disconnectedCount: 0 });
    expect((await test.call('GET', `/applications/${own}/sessions`)).body.items).toHaveLength(1);
  });
});
