// Paths, methods and headers on real sockets: what is served, what is not, and what every answer carries.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHttpServer } from '../../server/http.ts';
import { pages, starting } from '../../server/pages.ts';
import type { Store } from '../../server/store/store.ts';
import { contract, CONTRACT, operations, problemTypes } from '../contract/contract.ts';
import { raw, type RawRequest } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';

const ORIGIN = 'https://console.example';
const ABSENT = '0199ffff-ffff-7fff-8fff-ffffffffffff';

let test: TestService, app: string, sessions: string, token: string;
const stored: string[] = [];
beforeAll(async () => {
  test = await startTestService({ env: { CORS_ORIGINS: `${ORIGIN}, http://localhost:5173` } });
  app = await test.application();
  sessions = `/api/v1/applications/${app}/sessions`;
  token = await test.token();
  await test.call('POST', `/applications/${app}/sessions`);
  spyOn(test.service.store, stored);
});
afterAll(() => test.close());

/** Notes every call that reaches the store. */
function spyOn(store: Store, calls: string[]): void {
  for (const [name, method] of Object.entries(store)) {
    if (typeof method === 'function' && name !== 'now') Object.assign(store, { [name]: (...args: unknown[]) => { calls.push(name); return method.apply(store, args); } });
  }
}

const send = (request: RawRequest) => raw(test.url, request);
const get = (target: string, headers: RawRequest['headers'] = [['Authorization', `Bearer ${token}`]]) => send({ target, headers });

describe('odd spellings of a path', () => {
  const spellings = (): string[] => [
    sessions.toUpperCase(), sessions.replace('/api', '/API'), sessions.replace('sessions', 'Sessions'), `${sessions}/`, `${sessions}//`, `${sessions}/?limit=1`, `/${sessions}`, `//${sessions}`,
    sessions.replace('/v1', '//v1'), sessions.replace('/sessions', '%2Fsessions'), sessions.replace('/sessions', '%2fsessions'), sessions.replace('/api', '/%61pi'), sessions.replace('sessions', 'sess%69ons'),
    `${test.url}${sessions}`, `http://evil.example${sessions}`, `http://${sessions}`, `${sessions}#x`, `${sessions}?#x`, `${sessions};x`, `${sessions};x=1`, `${sessions}%3Fdelete`, `${sessions}%00`, `${sessions}%20`, `${sessions}.json`,
    `${sessions}/%ff`, `${sessions}/%E0%A4%A`, `${sessions}/%`, `/api/v1/applications/%ff/sessions`, `/api/v1/applications/%2525/sessions`, `/api/v1/applications//sessions`, '/api/v1/applications/%2F/sessions',
    sessions.replace(app, app.toUpperCase()), sessions.replace(app, `urn:uuid:${app}`), sessions.replace(app, `{${app}}`), sessions.replace(app, `%20${app}`), sessions.replace(app, app.replaceAll('-', '')),
    sessions.replace('/v1', '/v1/.'), sessions.replace('/v1', '/v1/x/..'), `/docs/..${sessions}`, `/docs/%2e%2e${sessions}`, `/livez/..${sessions}`, `/livez${sessions}`, `${sessions}/..`, `${sessions}/%2e%2e`, `${sessions}/.`,
    `${sessions}??limit=1`, `\\${sessions}`, sessions.slice(1), '*', '//', '/api', '/api/v1', '/api/v1/', '/metrics', '/console/..', '/docs/..%2f..%2fpackage.json', '/docs/%2e%2e/%2e%2e/package.json', '/.env',
  ];

  it('reach no handler without a token, and never fail', async () => {
    const seen: [string, number][] = [];
    for (const target of spellings()) {
      for (const method of ['GET', 'DELETE', 'POST', 'HEAD']) {
        stored.length = 0;
        const { status } = await send({ method, target });
        expect(stored, `${method} ${target}`).toEqual([]);
        seen.push([`${method} ${target}`, status]);
      }
    }
    expect(seen.filter(([, status]) => ![302, 400, 401, 404, 405, 503].includes(status))).toEqual([]);
    expect(seen.filter(([target, status]) => status === 503 && !/\/(docs|console)/.test(target))).toEqual([]);
  });

  it('change nothing and never fail with a token', async () => {
    const seen: [string, number][] = [];
    for (const target of spellings()) seen.push([target, (await send({ method: 'DELETE', target, headers: [['Authorization', `Bearer ${token}`]] })).status]);
    expect(seen.filter(([, status]) => ![400, 404, 405, 503].includes(status))).toEqual([]);
    expect((await test.call('GET', `/applications/${app}/sessions`)).body.items).toHaveLength(1);
  });

  it('that do not decode are 404 before anything is asked of the caller', async () => {
    for (const target of [`${sessions}/%ff`, '/api/v1/applications/%E0%A4%A/sessions']) expect((await send({ target })).body).toMatchObject({ type: '/docs/errors#not-found', status: 404 });
  });

  it('revokeSession with its id lost is no revokeSessions', async () => {
    const { status, body } = await test.call('DELETE', `/applications/${app}/sessions/`);
    expect([status, body.type]).toEqual([404, '/docs/errors#not-found']);
  });

  it.each(['toUpperCase', 'urn:uuid:', '{', 'short'])('of a UUID are 400: %s', async (how) => {
    const id = { toUpperCase: 'ABCDEF00-0000-7000-8000-00000000000A', 'urn:uuid:': `urn:uuid:${app}`, '{': `{${app}}`, short: app.replaceAll('-', '') }[how]!;
    const { body } = await get(`/api/v1/applications/${encodeURIComponent(id)}/sessions/${encodeURIComponent(id)}`);
    expect(body).toMatchObject({ status: 400, errors: [{ pointer: '/path/applicationId', detail: 'must be a UUID in lower case' }, { pointer: '/path/sessionId', detail: 'must be a UUID in lower case' }] });
  });
});

describe('methods', () => {
  const ids = (template: string) => template.replace('{applicationId}', app).replace(/\{\w+\}/, ABSENT);

  it('HEAD answers as GET does, without the body', async () => {
    for (const target of [sessions, `/api/v1/applications/${app}`, `${sessions}?limit=0`, `${sessions}/${ABSENT}`, '/livez', '/openapi.json']) {
      const headers = [['Authorization', `Bearer ${token}`]] as const;
      const [full, head] = [await send({ target, headers }), await send({ method: 'HEAD', target, headers })];
      expect(head.text).toBe('');
      const strip = ({ date, ratelimit, 'x-request-id': _, ...rest }: Record<string, string>) => rest;
      expect({ status: head.status, ...strip(head.headers) }).toEqual({ status: full.status, ...strip(full.headers) });
    }
  });

  it('HEAD of a stream is over at once', async () => {
    const { status, headers, text } = await send({ method: 'HEAD', target: `/api/v1/applications/${app}/events`, headers: [['Authorization', `Bearer ${token}`]] });
    expect([status, headers['content-type'], text]).toEqual([200, 'text/event-stream', '']);
  });

  it.each(Object.keys(contract.paths ?? {}))('OPTIONS %s is 204 with the methods of the path, and needs no token', async (template) => {
    const takes = operations.filter(({ path }) => path === template).flatMap(({ method }) => method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]);
    const { status, headers, text } = await send({ method: 'OPTIONS', target: ids(template) });
    expect([status, text, headers.allow?.split(', ').sort()]).toEqual([204, '', [...takes, 'OPTIONS'].sort()]);
  });

  it('OPTIONS of what is not there is 404', async () => {
    for (const target of ['/api/v1/nope', '*', '/api']) expect((await send({ method: 'OPTIONS', target })).status).toBe(404);
  });

  it.each(['PUT', 'PATCH', 'TRACE', 'PROPFIND', 'QUERY'])('%s is 405 with Allow, before the token is asked for', async (method) => {
    const { body, headers } = await send({ method, target: sessions });
    expect(body).toMatchObject({ type: '/docs/errors#method-not-allowed', status: 405 });
    expect(headers.allow?.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST']);
  });

  it('a method in a header changes nothing', async () => {
    const { status } = await send({ method: 'GET', target: sessions, headers: [['Authorization', `Bearer ${token}`], ['X-HTTP-Method-Override', 'DELETE']] });
    expect(status).toBe(200);
    expect((await test.call('GET', `/applications/${app}/sessions`)).body.items).toHaveLength(1);
  });
});

describe('other origins', () => {
  const preflight = (origin: string, target = sessions) => send({ method: 'OPTIONS', target, headers: [['Origin', origin], ['Access-Control-Request-Method', 'DELETE'], ['Access-Control-Request-Headers', 'authorization']] });

  it('that are configured may call, and read what matters', async () => {
    const { status, headers } = await preflight(ORIGIN);
    expect(status).toBe(204);
    expect(headers).toMatchObject({ 'access-control-allow-origin': ORIGIN, 'access-control-allow-headers': 'authorization', 'access-control-max-age': '600' });
    expect(headers['access-control-allow-methods']?.split(',')).toEqual(expect.arrayContaining(['GET', 'POST', 'DELETE']));
    for (const auth of [[['Authorization', `Bearer ${token}`]], []] as const) {
      const answered = await send({ target: sessions, headers: [['Origin', ORIGIN], ...auth] });
      expect(answered.headers).toMatchObject({ 'access-control-allow-origin': ORIGIN, 'access-control-expose-headers': expect.stringMatching(/X-Request-Id.*Retry-After.*WWW-Authenticate/), vary: 'Origin' });
      expect(answered.headers).not.toHaveProperty('access-control-allow-credentials');
    }
  });

  it.each(['https://evil.example', 'null', `${ORIGIN}.evil.example`, `${ORIGIN}:8443`, 'http://console.example', '*', `${ORIGIN}, https://evil.example`])('such as %s hear nothing', async (origin) => {
    for (const answered of [await preflight(origin), await send({ target: sessions, headers: [['Origin', origin], ['Authorization', `Bearer ${token}`]] })]) {
      expect(Object.keys(answered.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect(answered.headers.vary).toBe('Origin'); // or a cache would give one origin's answer to another
    }
  });

  it('hear nothing at all where none is configured', async () => {
    const plain = await startTestService();
    try {
      const { status, headers } = await raw(plain.url, { method: 'OPTIONS', target: '/api/v1/applications', headers: [['Origin', ORIGIN], ['Access-Control-Request-Method', 'GET']] });
      expect(status).toBe(204);
      expect(Object.keys(headers).filter((name) => /^access-control/.test(name))).toEqual([]);
    } finally { await plain.close(); }
  });
});

describe('every answer', () => {
  it('is not to be kept, tells no tales, and is what it says it is', async () => {
    const auth = [['Authorization', `Bearer ${token}`]] as const;
    for (const [status, request] of [
      [200, { target: sessions, headers: auth }], [201, { method: 'POST', target: sessions, headers: auth }], [400, { target: `${sessions}?x=1`, headers: auth }], [401, { target: sessions }],
      [404, { target: `${sessions}/${ABSENT}`, headers: auth }], [404, { target: '/nope' }], [405, { method: 'PUT', target: sessions }], [204, { method: 'OPTIONS', target: sessions }],
      [415, { method: 'POST', target: sessions, headers: [...auth, ['Content-Type', 'text/plain']], body: 'x' }],
    ] as [number, RawRequest][]) {
      const answered = await send(request);
      expect(answered.status).toBe(status);
      expect(answered.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': expect.stringMatching(/./) });
      expect(Object.keys(answered.headers).filter((name) => ['x-powered-by', 'etag', 'server', 'set-cookie', 'last-modified'].includes(name))).toEqual([]);
    }
  });
});

describe('pages', () => {
  it('are served without a token, with the right types', async () => {
    for (const [target, type] of [['/livez', 'application/json'], ['/readyz', 'application/json'], ['/openapi.json', 'application/json'], ['/openapi.yaml', 'application/yaml']] as const) {
      const { status, headers } = await get(target, []);
      expect([target, status, headers['content-type']?.split(';')[0]]).toEqual([target, 200, type]);
    }
    expect((await get('/openapi.json', [])).body).toEqual(contract);
    expect((await get('/openapi.yaml', [])).text).toBe(readFileSync(CONTRACT, 'utf8'));
    for (const [target, location] of [['/', 'docs/'], ['/llms.txt', 'docs/llms.txt']] as const) expect((await get(target, [])).headers.location).toBe(location);
  });

  it('take no other method', async () => {
    for (const method of ['POST', 'DELETE']) expect(await send({ method, target: '/livez' })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD, OPTIONS' } });
  });

  it('before the store is there: alive, not ready, and everything with a request id', async () => {
    const server = createHttpServer(starting(), { log: pino({ level: 'silent' }) });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number }; // it listens on TCP
    try {
      for (const [target, status] of [['/livez', 200], ['/readyz', 503], ['/api/v1/applications', 503], ['/', 503]] as const) {
        const answered = await raw(`http://127.0.0.1:${port}`, { target, headers: [['X-Request-Id', 'early']] });
        expect([target, answered.status]).toEqual([target, status]);
        expect(answered.headers).toMatchObject({ 'x-request-id': 'early', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
        if (/^\/(?:api|$)/.test(target)) expect(answered).toMatchObject({ headers: { 'retry-after': '1', 'content-type': 'application/problem+json' }, body: { type: '/docs/errors#store-unavailable', requestId: 'early' } });
      }
      expect((await raw(`http://127.0.0.1:${port}`, { target: '/livez' })).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    } finally { await new Promise((resolve) => server.close(resolve)); }
  });

  async function documentation(site: string, console = join(tmpdir(), 'rollcall-not-there')) {
    const server = express();
    pages(server, { notReady: async () => [], site, console });
    server.use(((error, _req, res, _next) => void res.status(error.status).json(error.body('id'))) satisfies express.ErrorRequestHandler);
    const listening = server.listen(0, '127.0.0.1');
    await new Promise((resolve) => listening.once('listening', resolve));
    const { port } = listening.address() as { port: number }; // it listens on TCP
    return { url: `http://127.0.0.1:${port}`, close: () => new Promise((resolve) => listening.close(resolve)) };
  }

  it('/docs names the command that builds it, where it has not been built', async () => {
    const { url, close } = await documentation(join(tmpdir(), 'rollcall-not-there'));
    try {
      for (const target of ['/docs', '/docs/errors']) {
        expect(await raw(url, { target })).toMatchObject({ status: 503, body: { type: '/docs/errors#not-built', detail: expect.stringContaining('npm run docs') } });
      }
    } finally { await close(); }
  });

  it('/console names the command that builds it, where it has not been built', async () => {
    const { url, close } = await documentation(join(tmpdir(), 'rollcall-not-there'));
    try {
      for (const target of ['/console', '/console/app.js']) {
        expect(await raw(url, { target })).toMatchObject({ status: 503, body: { type: '/docs/errors#not-built', detail: expect.stringContaining('npm run console') } });
      }
    } finally { await close(); }
  });

  it('/console lets its own files run and nothing else, and only they may be kept by a browser', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-')), built = join(directory, 'dist');
    mkdirSync(built);
    writeFileSync(join(built, 'index.html'), '<h1>Console</h1>');
    writeFileSync(join(built, 'console-1.js'), '1');
    writeFileSync(join(directory, 'key'), 'treasure');
    const { url, close } = await documentation(built, built);
    try {
      for (const target of ['/console', '/console/', '/console/console-1.js']) {
        const { status, headers } = await raw(url, { target });
        expect(status).toBe(200);
        expect(headers['content-security-policy']?.split('; ')).toEqual(["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:", "base-uri 'none'",
          "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"]);
        expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
        expect(headers['cache-control']).toBe(target.endsWith('.js') ? 'public, max-age=31536000, immutable' : 'no-store');
      }
      for (const target of ['/console/../key', '/console/%2e%2e/key', '/console/..%2fkey', '/console/..%5ckey']) expect((await raw(url, { target })).text).not.toContain('treasure');
      expect((await raw(url, { method: 'DELETE', target: '/console' })).status).toBe(405);
    } finally {
      await close();
      rmSync(directory, { recursive: true });
    }
  });

  it('/docs and the page that problems link to are served where they have been', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-')), site = join(directory, 'site');
    mkdirSync(site);
    writeFileSync(join(site, 'index.html'), '<h1>API</h1>');
    writeFileSync(join(site, 'errors.html'), '<h2 id="not-found">');
    writeFileSync(join(directory, 'key'), 'treasure');
    const { url, close } = await documentation(site);
    try {
      expect(await raw(url, { target: '/docs' })).toMatchObject({ status: 302, headers: { location: 'docs/' } });
      expect(await raw(url, { target: '/docs/' })).toMatchObject({ status: 200, text: '<h1>API</h1>',
        headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "frame-ancestors 'none'", 'referrer-policy': 'no-referrer' } });
      expect((await raw(url, { target: problemTypes[0]!.split('#')[0]! })).text).toContain('id="not-found"');
      for (const target of ['/docs/../key', '/docs/%2e%2e/key', '/docs/..%2fkey', '/docs/..%5ckey']) {
        expect((await raw(url, { target })).text).not.toContain('treasure');
      }
    } finally {
      await close();
      rmSync(directory, { recursive: true });
    }
  });
});
