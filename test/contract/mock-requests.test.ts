// What the mock does with odd requests: it refuses what the server refuses, and nothing that is sent to it ends it.
import { once } from 'node:events';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMock, type Mock } from '../../server/dev/mock.ts';

const SESSIONS = '/api/v1/applications/7c9e6679-7425-40de-944b-e07fc1f90ae7/sessions';
const AUTHORIZATION = { authorization: 'Bearer any' };
const JSON_BODY = { ...AUTHORIZATION, 'content-type': 'application/json' };

let mock: Mock;
beforeAll(async () => { mock = await startMock(); });
afterAll(() => mock.close());

const get = (path: string, headers: Record<string, string> = AUTHORIZATION) => fetch(mock.url + path, { headers });
const post = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) => fetch(mock.url + path, { method: 'POST', headers, body });
const problem = (code: string, status: number) => ({ type: `/docs/errors#${code}`, status, title: expect.any(String), requestId: expect.any(String) });

describe('refusals', () => {
  it.each([{}, { authorization: 'Basic YTpi' }, { authorization: 'Bearer' }])('are 401 without a bearer token: %o', async (headers) => {
    const answered = await get(SESSIONS, headers as Record<string, string>); // a union of literals otherwise
    expect(answered.status).toBe(401);
    expect(answered.headers.get('www-authenticate')).toMatch(/^Bearer/);
    expect(await answered.json()).toEqual({ ...problem('unauthorized', 401), detail: 'Send one as Authorization: Bearer <token>.' });
  });

  it.each([
    ['limit=5000', [{ pointer: '/query/limit', detail: 'must be <= 1000' }]],
    ['clientname=x&userId=', [{ pointer: '/query/clientname', detail: 'is not a parameter of this operation' }, { pointer: '/query/userId', detail: 'must not be empty' }]],
    ['limit=1&limit=2', [{ pointer: '/query/limit', detail: 'is given more than once' }]],
    ['derivedStatus=idle,nope', [{ pointer: '/query/derivedStatus/1', detail: expect.stringMatching(/^must be equal/) }]],
  ])('are about the request that was made: %s', async (query, errors) => {
    const answered = await get(`${SESSIONS}?${query}`);
    expect(answered.headers.get('content-type')).toBe('application/problem+json');
    expect(await answered.json()).toMatchObject({ ...problem('invalid-request', 400), errors });
  });

  it.each([
    ['{', JSON_BODY, 'invalid-request', 400], ['null', JSON_BODY, 'invalid-request', 400], ['"x"', JSON_BODY, 'invalid-request', 400],
    ['{"ключ":1,"a/b":2,"😀":3}', JSON_BODY, 'invalid-request', 400], ['{"__proto__":{}}', JSON_BODY, 'invalid-request', 400],
    [Uint8Array.of(0xff, 0xfe, 0x7b), JSON_BODY, 'invalid-request', 400],
    ['a=b', { ...AUTHORIZATION, 'content-type': 'application/x-www-form-urlencoded' }, 'unsupported-media-type', 415],
    ['{}', { ...AUTHORIZATION, 'content-type': 'application/json; charset=latin1' }, 'unsupported-media-type', 415],
    [`{"clientInfo":${'{"a":'.repeat(17)}1${'}'.repeat(17)}}`, JSON_BODY, 'invalid-request', 400], ['{"clientInfo":{"os":"\\u0000"}}', JSON_BODY, 'invalid-request', 400],
    [`{"a":"${'x'.repeat(70_000)}"}`, JSON_BODY, 'payload-too-large', 413], ['x'.repeat(2_000_000), JSON_BODY, 'payload-too-large', 413],
  ] as const)('are given to a body like %.20s', async (body, headers, code, status) => {
    const answered = await post(SESSIONS, body, headers);
    expect(await answered.json()).toMatchObject(problem(code, status));
    expect(answered.status).toBe(status);
  });

  it('are given to a body where none belongs, and to none where one is needed', async () => {
    const [tooMuch, tooLittle] = await Promise.all([
      fetch(mock.url + SESSIONS, { method: 'DELETE', headers: JSON_BODY, body: '{}' }),
      fetch(`${mock.url}${SESSIONS.replace(/sessions$/, 'heartbeats')}`, { method: 'POST', headers: AUTHORIZATION }),
    ]);
    expect(await tooMuch.json()).toMatchObject({ ...problem('invalid-request', 400), errors: [{ pointer: '/body', detail: expect.stringContaining('must be empty') }] });
    expect(await tooLittle.json()).toMatchObject({ ...problem('invalid-request', 400), errors: [{ pointer: '/body', detail: expect.stringContaining('heartbeats') }] });
  });

  it.each(['/api/v1/applications/%ff/sessions', '/api/v1/applications/%E0%A4%A/sessions', '//', '/', '*', '/%', `http://x${SESSIONS}`, `${SESSIONS}/`, SESSIONS.toUpperCase(), '/api/v1/../v1/applications', `${SESSIONS}#x`])(
    'are 404 for %s', async (path) => {
      const { port } = new URL(mock.url);
      const sent = request({ host: '127.0.0.1', port, path, headers: AUTHORIZATION }).end();
      const [answered] = await once(sent, 'response');
      answered.resume();
      expect(answered.statusCode).toBe(404);
      expect(answered.headers['content-type']).toBe('application/problem+json');
      expect((await get(SESSIONS)).status).toBe(200);
    });

  it('are 405 for a method the path does not take, with those it does', async () => {
    const answered = await fetch(mock.url + SESSIONS, { method: 'PUT' });
    expect(await answered.json()).toMatchObject(problem('method-not-allowed', 405));
    expect(answered.headers.get('allow')).toBe('GET, HEAD, POST, DELETE, OPTIONS');
  });
});

describe('HTTP', () => {
  it('answers HEAD as it does GET, without the body', async () => {
    const [full, head] = [await get(SESSIONS), await fetch(mock.url + SESSIONS, { method: 'HEAD', headers: AUTHORIZATION })];
    expect(head.status).toBe(200);
    expect(head.headers.get('content-length')).toBe(String((await full.arrayBuffer()).byteLength));
    expect(await head.text()).toBe('');
  });

  it('does not mind any Accept header', async () => {
    for (const accept of ['foo', 'text/html', ';;', 'application/json']) expect((await get(`${SESSIONS}?__code=404`, { ...AUTHORIZATION, accept })).status).toBe(404);
  });

  it('does not mind a Content-Type on a request that has no body', async () => {
    for (const type of ['application/json', 'text/plain', ';']) expect((await get(SESSIONS, { ...AUTHORIZATION, 'content-type': type })).status).toBe(200);
  });

  it('lets a page of any origin call it and read its headers', async () => {
    const preflight = await fetch(mock.url + SESSIONS, { method: 'OPTIONS', headers: {
      origin: 'http://localhost:5173', 'access-control-request-method': 'DELETE', 'access-control-request-headers': 'authorization' } });
    expect(preflight.status).toBe(204);
    expect(Object.fromEntries(preflight.headers)).toMatchObject({
      'access-control-allow-origin': 'http://localhost:5173', 'access-control-allow-methods': 'DELETE', 'access-control-allow-headers': 'authorization' });
    const answered = await get(`${SESSIONS}?__code=429`, { ...AUTHORIZATION, origin: 'http://localhost:5173' });
    expect(answered.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
    expect(answered.headers.get('access-control-expose-headers')).toMatch(/\bX-Request-Id\b.*\bRetry-After\b/);
  });
});
