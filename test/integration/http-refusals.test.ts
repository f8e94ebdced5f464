// Refusals on real sockets: in which order they come, what they say of the token, and what a defect tells the outside and the log.
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { StoreUnavailable, type Store } from '../../server/store/store.ts';
import { undocumented } from '../support/answers.ts';
import { raw, type RawRequest } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';

const ABSENT = '0199ffff-ffff-7fff-8fff-ffffffffffff';
const JSON_TYPE = ['Content-Type', 'application/json'] as const;

let test: TestService, app: string, sessions: string, token: string;
beforeAll(async () => {
  test = await startTestService();
  app = await test.application();
  sessions = `/api/v1/applications/${app}/sessions`;
  token = await test.token();
});
afterAll(() => test.close());

const bearer = (value: string) => ['Authorization', `Bearer ${value}`] as const;

it('tells a path that is none from a thing that is not there', async () => {
  expect((await test.call('GET', `/api/v1/applications/${app}/sessions`)).body).toMatchObject({ title: 'There is nothing here.', detail: 'There is no such path.' }); // under /api/v1
  expect((await test.call('GET', `/applications/${ABSENT}/sessions`)).body).not.toHaveProperty('detail');
});

describe('the order of refusals', () => {
  const absent = `/api/v1/applications/${ABSENT}/sessions`;
  const large = `{}${' '.repeat(70_000)}`;
  const cases: [earlier: string, later: string, status: number, type: string, request: Omit<RawRequest, 'headers'> & { as?: 'reader' | 'bound' | 'none'; type?: string }][] = [
    ['404 path', '401', 404, 'not-found', { target: '/api/v1/nope', as: 'none' }],
    ['405', '401', 405, 'method-not-allowed', { method: 'PUT', target: sessions, as: 'none' }],
    ['405', '413', 405, 'method-not-allowed', { method: 'PUT', target: absent, body: large, as: 'none' }],
    ['401', '403', 401, 'unauthorized', { method: 'DELETE', target: 'sessions', as: 'none' }],
    ['401', '400 path', 401, 'unauthorized', { target: '/api/v1/applications/x/sessions', as: 'none' }],
    ['401', '400 query', 401, 'unauthorized', { target: 'sessions?nonsense=1', as: 'none' }],
    ['401', '400 body', 401, 'unauthorized', { method: 'POST', target: 'sessions', body: '{'.repeat(60_000), as: 'none' }],
    ['401', '415', 401, 'unauthorized', { method: 'POST', target: 'sessions', body: 'x', type: 'text/plain', as: 'none' }],
    ['401', '413', 401, 'unauthorized', { method: 'POST', target: 'sessions', body: large, as: 'none' }],
    ['401', '404', 401, 'unauthorized', { target: absent, as: 'none' }],
    ['403', '400 query', 403, 'insufficient-scope', { method: 'DELETE', target: 'sessions?nonsense=1', as: 'reader' }],
    ['403', '400 path', 403, 'insufficient-scope', { method: 'DELETE', target: '/api/v1/applications/x/sessions', as: 'reader' }],
    ['403', '400 body', 403, 'insufficient-scope', { method: 'POST', target: 'sessions', body: '{', as: 'reader' }],
    ['403', '415', 403, 'insufficient-scope', { method: 'POST', target: 'sessions', body: 'x', type: 'text/plain', as: 'reader' }],
    ['403', '413', 403, 'insufficient-scope', { method: 'POST', target: 'sessions', body: large, as: 'reader' }],
    ['403', '404', 403, 'insufficient-scope', { method: 'DELETE', target: absent, as: 'reader' }],
    ['403', '409', 403, 'insufficient-scope', { method: 'DELETE', target: 'sessions?maxCount=0', as: 'reader' }],
    ['403 bound', '400 body', 403, 'application-bound', { method: 'POST', target: '/api/v1/applications', body: '{}', as: 'bound' }],
    ['403 bound', '415', 403, 'application-bound', { method: 'POST', target: '/api/v1/applications', body: 'x', type: 'text/plain', as: 'bound' }],
    ['400 query', '404', 400, 'invalid-request', { target: `${absent}?limit=0` }],
    ['400 cursor', '404', 400, 'invalid-cursor', { target: `${absent}?cursor=abc` }],
    ['400 body', '404', 400, 'invalid-request', { method: 'POST', target: absent, body: '{"x":1}' }],
    ['415', '404', 415, 'unsupported-media-type', { method: 'POST', target: absent, body: 'x', type: 'text/plain' }],
    ['413', '404', 413, 'payload-too-large', { method: 'POST', target: absent, body: large }],
    ['404', '403 credential', 404, 'not-found', { method: 'POST', target: absent, body: '{"credentialId":"denied"}' }],
    ['400 body', '403 credential', 400, 'invalid-request', { method: 'POST', target: 'sessions', body: '{"credentialId":"denied","x":1}' }],
    ['404', '409', 404, 'not-found', { method: 'DELETE', target: `${absent}?maxCount=0` }],
    ['400 query', '409', 400, 'invalid-request', { method: 'DELETE', target: 'sessions?maxCount=0&nonsense=1' }],
    ['403 credential', '', 403, 'credential-revoked', { method: 'POST', target: 'sessions', body: '{"credentialId":"denied"}' }],
    ['409', '', 409, 'revocation-too-large', { method: 'DELETE', target: 'sessions?maxCount=0' }],
  ];

  beforeAll(async () => {
    const { id } = (await test.call('POST', `/applications/${app}/sessions`, { body: { credentialId: 'denied' } })).body.session;
    await test.call('DELETE', `/applications/${app}/sessions/${id}`);
    await test.call('POST', `/applications/${app}/sessions`);
  });

  it.each(cases)('%s comes before %s', async (_earlier, _later, status, type, { as, type: contentType = 'application/json', target = 'sessions', ...request }) => {
    const own = `/api/v1/applications/${app}/sessions`;
    const authorization = as === 'none' ? [] : [bearer(as === 'reader' ? await test.token({ scopes: ['sessions:read'] }) : as === 'bound' ? await test.token({ applicationId: app }) : token)];
    const answered = await raw(test.url, { ...request, target: target.replace(/^sessions|^undefined/, own), headers: [...authorization, ...(request.body ? [['Content-Type', contentType] as const] : [])] });
    expect([answered.status, answered.body.type]).toEqual([status, `/docs/errors#${type}`]);
  });

  it('reads no body of a caller without a token', async () => {
    for (const headers of [[JSON_TYPE], [JSON_TYPE, ['Expect', '100-continue']], [JSON_TYPE, ['Content-Encoding', 'gzip']]] as RawRequest['headers'][]) {
      for (const body of ['{'.repeat(60_000), 'x'.repeat(3_000_000)]) expect(await raw(test.url, { method: 'POST', target: sessions, headers, body })).toMatchObject({ status: 401, body: { type: '/docs/errors#unauthorized' } });
    }
  });
});

describe('authentication', () => {
  const get = (...headers: [string, string][]) => raw(test.url, { target: sessions, headers });
  const SEND_ONE = 'Send one as Authorization: Bearer <token>.';

  it.each([[], [['Authorization', '']], [['Authorization', 'Bearer']], [['Authorization', 'Bearer  ']], [['Authorization', 'Basic YTpi']], [['Authorization', 'Basic bearerxyz']], [['X-Authorization', 'Bearer x']], [['Cookie', 'token=x']]] as [string, string][][])(
    'is asked for where there is none: %j', async (...headers) => {
      expect(await get(...headers)).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer realm="rollcall"' }, body: { type: '/docs/errors#unauthorized', detail: SEND_ONE } });
    });

  it.each(['Bearer x', 'Bearer a.b.c', 'Bearer a b', 'Bearer a, Bearer b', 'Bearer ""', `Bearer ${'x'.repeat(9_000)}`])('says what is wrong with the token: %.30s', async (value) => {
    const answered = await get(['Authorization', value]);
    expect(answered).toMatchObject({ status: 401, headers: { 'www-authenticate': `Bearer realm="rollcall", error="invalid_token", error_description="${answered.body.detail}"` } });
  });

  it('takes the scheme in any case, and no token from elsewhere', async () => {
    expect((await get(['Authorization', `bEaReR   ${token}`])).status).toBe(200);
    for (const name of ['access_token', 'token', 'bearer']) expect((await raw(test.url, { target: `${sessions}?${name}=${token}` })).status).toBe(401);
  });

  it('is refused where there are two headers: a proxy might have looked at the other one', async () => {
    for (const values of [[`Bearer ${token}`, 'Bearer x'], ['Bearer x', `Bearer ${token}`], [`Bearer ${token}`, `Bearer ${token}`], ['Basic YTpi', `Bearer ${token}`], [`Bearer ${token}`, 'Basic YTpi']]) {
      expect(await get(...values.map((value): [string, string] => ['Authorization', value]))).toMatchObject({ status: 401, body: { type: '/docs/errors#unauthorized' } });
    }
  });

  it('names the scope that lacks', async () => {
    const reader = await test.token({ scopes: ['sessions:read'] });
    for (const [method, path, needed] of [['DELETE', 'sessions', 'sessions:revoke'], ['POST', 'sessions', 'sessions:write, or sessions:connect'], ['DELETE', '', 'applications:write and sessions:revoke']] as const) {
      const { status, headers, body } = await raw(test.url, { method, target: `/api/v1/applications/${app}${path && `/${path}`}`, headers: [bearer(reader)] });
      expect([status, body.type, body.detail, headers['www-authenticate']]).toEqual([403, '/docs/errors#insufficient-scope', `This operation needs ${needed}.`, `Bearer realm="rollcall", error="insufficient_scope", scope="${needed.split(', or ')[0]!.replace(' and ', ' ')}"`]);
    }
    expect((await raw(test.url, { target: sessions, headers: [bearer(await test.token({ scopes: [] }))] })).status).toBe(403);
  });
});

describe('the request id', () => {
  const idOf = async (...given: string[]) => (await raw(test.url, { target: sessions, headers: given.map((id) => ['X-Request-Id', id] as const) }));

  it('is the one that was given, in the header, the problem and the log', async () => {
    for (const id of ['a', 'trace-1.2_3', 'A'.repeat(64)]) {
      const { headers, body } = await idOf(id);
      expect([headers['x-request-id'], body.requestId]).toEqual([id, id]);
      await vi.waitFor(() => expect(test.logged.filter(({ requestId }) => requestId === id)).toHaveLength(1));
    }
  });

  it('is made where the given one is odd', async () => {
    for (const given of [[], [''], ['a b'], ['a\tb'], ['A'.repeat(65)], ['a', 'b'], ['{"x":1}'], ['ü'], ['../../x'], ['%0a']]) {
      const { headers, body } = await idOf(...given);
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      expect(body.requestId).toBe(headers['x-request-id']);
    }
  });
});

describe('defects and outages', () => {
  const undo: (() => void)[] = [];
  afterEach(() => { for (const restore of undo.splice(0)) restore(); });
  function breakStore<Name extends keyof Store>(name: Name, replacement: Store[Name]): void {
    const { store } = test.service, original = store[name];
    store[name] = replacement;
    undo.push(() => { store[name] = original; });
  }

  it.each([new Error('SQLITE_ERROR near "hunter2"', { cause: new Error('/home/rollcall/data hunter2') }), Object.assign(new Error('hunter2'), { status: 200 }), Object.assign(new Error('hunter2'), { status: 599 }), 'hunter2', null, { toString: () => { throw new Error('hunter2'); } }])(
    'a defect is a 500 that says nothing, and is logged with the request id', async (thrown) => {
      breakStore('getSession', () => Promise.reject(thrown));
      const { status, text, body, headers } = await test.call('GET', `/applications/${app}/sessions/${ABSENT}`);
      expect([status, headers.get('content-type')]).toEqual([500, 'application/problem+json']);
      expect(body).toEqual({ type: '/docs/errors#internal-error', title: 'The server failed.', status: 500, requestId: headers.get('x-request-id') });
      expect(text).not.toContain('hunter2');
      await vi.waitFor(() => expect(test.logged.filter(({ requestId, level }) => requestId === body.requestId && Number(level) >= 50)).toHaveLength(1));
    });

  it('an unreachable store is a 503 with Retry-After, for every operation that asks it', async () => {
    const { store } = test.service;
    for (const name of Object.keys(store) as (keyof Store)[]) if (!['now', 'close', 'onChange'].includes(name)) breakStore(name, () => Promise.reject(new StoreUnavailable('hunter2')) as never);
    for (const [id, method, path, body] of [
      ['listApplications', 'GET', '/applications'], ['createApplication', 'POST', '/applications', { name: 'x' }], ['getApplication', 'GET', `/applications/${app}`], ['deleteApplication', 'DELETE', `/applications/${app}`],
      ['listSessions', 'GET', `/applications/${app}/sessions`], ['createSession', 'POST', `/applications/${app}/sessions`], ['revokeSessions', 'DELETE', `/applications/${app}/sessions`], ['revokeSessions', 'DELETE', `/applications/${app}/sessions?userId=a`],
      ['getSession', 'GET', `/applications/${app}/sessions/${ABSENT}`], ['revokeSession', 'DELETE', `/applications/${app}/sessions/${ABSENT}`], ['endSession', 'POST', `/applications/${app}/sessions/${ABSENT}/end`],
      ['recordHeartbeats', 'POST', `/applications/${app}/heartbeats`, { heartbeats: [{ sessionId: ABSENT }] }], ['getSessionCounts', 'GET', `/applications/${app}/session-counts`], ['listRevocations', 'GET', `/applications/${app}/revocations`],
      ['listRevokedCredentials', 'GET', `/applications/${app}/revoked-credentials`], ['allowCredential', 'DELETE', `/applications/${app}/revoked-credentials/x`],
      ['streamSessionEvents', 'GET', `/applications/${app}/sessions/${ABSENT}/events`], ['streamApplicationEvents', 'GET', `/applications/${app}/events`],
    ] as const) {
      const answered = await test.call(method, path, { body });
      expect([id, answered.status, answered.body]).toEqual([id, 503, { type: '/docs/errors#store-unavailable', title: 'The store is out of reach.', status: 503, requestId: expect.any(String) }]);
      expect(Number(answered.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(undocumented(id, { status: 503, type: 'application/problem+json', body: answered.body })).toEqual([]);
    }
    expect((await fetch(`${test.url}/livez`)).status).toBe(200);
  });

  it('an answer with a property too many is caught where answers are checked', async () => {
    const { store } = test.service, { countSessions } = store;
    breakStore('countSessions', async (tenant) => ({ ...(await countSessions(tenant))!, hunter2: 1 }));
    const { status, text, body } = await test.call('GET', `/applications/${app}/session-counts`);
    expect([status, body.type]).toEqual([500, '/docs/errors#internal-error']);
    expect(text).not.toContain('hunter2');
    await vi.waitFor(() => expect(JSON.stringify(test.logged.filter(({ requestId }) => requestId === body.requestId))).toContain('must NOT have additional properties'));
  });

  it('a caller who leaves in the middle of a body harms nobody', async () => {
    const id = 'left.halfway', { port } = new URL(test.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(`POST ${sessions} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nX-Request-Id: ${id}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"name":`, () => setImmediate(() => socket.destroy()));
    await vi.waitFor(() => expect(test.logged.filter(({ requestId, msg }) => requestId === id && msg === 'request')).toEqual([expect.objectContaining({ aborted: true })]));
    expect(test.logged.filter(({ requestId, level }) => requestId === id && Number(level) >= 50)).toEqual([]);
  });

  it('a caller who leaves before the answer harms nobody', async () => {
    const id = 'left.early', { port } = new URL(test.url);
    const asked = Promise.withResolvers<void>(), answer = Promise.withResolvers<{ items: []; next: undefined }>();
    breakStore('listApplications', () => { asked.resolve(); return answer.promise; });
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(`GET /api/v1/applications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nX-Request-Id: ${id}\r\n\r\n`);
    await asked.promise;
    socket.destroy();
    await vi.waitFor(() => expect(test.logged.filter(({ requestId, msg }) => requestId === id && msg === 'request')).toEqual([expect.objectContaining({ aborted: true })]));
    answer.resolve({ items: [], next: undefined });
    expect((await test.call('GET', `/applications/${app}`)).status).toBe(200);
  });
});

describe('the log', () => {
  it('has one line for each request, and never a token', async () => {
    const secret = token.split('.')[2]!;
    await raw(test.url, { target: `${sessions}?access_token=${token}`, headers: [bearer(`${token}x`)] });
    await raw(test.url, { target: `${sessions}?access_token=${token}`, headers: [bearer(token), ['X-Request-Id', 'the.last']] });
    await vi.waitFor(() => expect(test.logged.filter(({ requestId }) => requestId === 'the.last')).toEqual([
      expect.objectContaining({ msg: 'request', method: 'GET', path: '/api/v1/applications/{applicationId}/sessions', operationId: 'listSessions', status: 400, ms: expect.any(Number) })]));
    expect(test.logged.length).toBeGreaterThan(50);
    expect(test.logged.filter((line) => JSON.stringify(line).includes(secret))).toEqual([]);
    expect(test.logged.filter(({ msg, requestId, path }) => msg === 'request' && !(typeof requestId === 'string' && typeof path === 'string' && path.length <= 200))).toEqual([]);
  });
});
