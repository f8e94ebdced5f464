// What the log says of every request, and what it never says.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog } from '../../server/log.ts';
import { StoreUnavailable } from '../../server/store/store.ts';
import { raw } from '../support/raw.ts';
import { ORGANIZATION, startTestService, type TestService } from '../support/service.ts';
import { openStream } from '../support/stream.ts';

let test: TestService, app: string, token: string, base: string;
beforeAll(async () => {
  test = await startTestService();
  app = await test.application();
  token = await test.token();
  base = `/api/v1/applications/${app}`;
});
afterAll(() => test.close());
beforeEach(() => { test.logged.length = 0; });

const lines = (requestId: string) => test.logged.filter((line) => line['requestId'] === requestId);
/** Sends one request, and answers the lines that tell of it. */
async function linesOf(requestId: string, target: string, { method = 'GET', bearer = token, headers = [] as [string, string][], body = '' } = {}) {
  const answer = await raw(test.url, { method, target, headers: [['Authorization', `Bearer ${bearer}`], ['X-Request-Id', requestId], ...headers], body });
  await vi.waitFor(() => expect(lines(requestId)).not.toEqual([]));
  return { answer, lines: lines(requestId) };
}
const principal = createHash('sha256').update(`${ORGANIZATION}\0tester`).digest('hex').slice(0, 16);

describe('the line of a request', () => {
  it('says who did what to which application, with what outcome, in how long', async () => {
    const { lines, answer } = await linesOf('ok', `${base}/sessions?limit=1`);
    expect(lines).toEqual([{
      level: 30, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/), requestId: 'ok', method: 'GET', path: '/api/v1/applications/{applicationId}/sessions', operationId: 'listSessions',
      status: 200, ms: expect.any(Number), principal, applicationId: app, msg: 'request', ...(answer.headers['content-length'] && { bytes: Number(answer.headers['content-length']) }),
    }]);
  });

  it.each([
    ['not-found', '/sessions/01890a5d-ac96-774b-bcce-b302099a8057', 404, 'getSession'], ['invalid-request', '/sessions?limit=0', 400, 'listSessions'],
  ])('names the problem: %s', async (problem, path, status, operationId) => {
    expect((await linesOf(`is-${problem}`, base + path)).lines).toEqual([expect.objectContaining({ level: 30, problem, status, operationId, principal, applicationId: app })]);
  });

  it('knows no caller where there is none', async () => {
    const { lines } = await linesOf('nobody', `${base}/sessions`, { bearer: `${token}x` });
    expect(lines).toEqual([expect.objectContaining({ level: 30, status: 401, problem: 'unauthorized' })]);
    expect(lines[0]).not.toHaveProperty('principal');
  });

  it('is an error, with its cause, when the server failed', async () => {
    const { store } = test.service, { getSession } = store;
    store.getSession = () => Promise.reject(new StoreUnavailable('gone', { cause: Object.assign(new Error('postgres://user:hunter2@db/x'), { input: 'hunter3', code: 'ECONNREFUSED' }) }));
    try {
      const { lines } = await linesOf('failed', `${base}/sessions/01890a5d-ac96-774b-bcce-b302099a8057`);
      expect(lines).toEqual([expect.objectContaining({ level: 50, status: 503, problem: 'store-unavailable', operationId: 'getSession', err: expect.objectContaining({ message: 'gone', cause: expect.objectContaining({ code: 'ECONNREFUSED' }) }) })]);
      expect(JSON.stringify(lines)).not.toContain('hunter3');
    } finally { store.getSession = getSession; }
  });

  it('tells a probe only to who asks for everything, and pages by their kind', async () => {
    for (const [target, level, page] of [['/livez', 20, 'livez'], ['/readyz?x=1', 20, 'readyz'], ['/openapi.json', 30, 'contract'], ['/', 30, 'docs'], ['/docs/errors', 30, 'docs']] as const) {
      expect((await linesOf('a-page', target)).lines).toEqual([expect.objectContaining({ level, page })]);
      test.logged.length = 0;
    }
  });
});

describe('the lines of a stream', () => {
  it('are one when it opens and one when it is over, with the reason', async () => {
    const { body: { session } } = await test.call('POST', `/applications/${app}/sessions`, { body: {} });
    const of = (path: string, id: string) => openStream(`${test.url}${base}${path}`, token, { 'x-request-id': id });
    const [mine, everybody] = await Promise.all([of(`/sessions/${session.id}/events`, 'mine'), of('/events', 'everybody')]);
    expect([...lines('mine'), ...lines('everybody')].map(({ msg, kind, status }) => [msg, kind, status])).toEqual([['stream opened', 'session', 200], ['stream opened', 'application', 200]]);
    await test.call('DELETE', `/applications/${app}/sessions/${session.id}`);
    await mine.ended;
    everybody.close();
    await vi.waitFor(() => expect([lines('mine').length, lines('everybody').length]).toEqual([2, 2]));
    expect(lines('mine')[1]).toMatchObject({ level: 30, msg: 'stream closed', kind: 'session', reason: 'revoked', ms: expect.any(Number), operationId: 'streamSessionEvents', applicationId: app, principal });
    expect(lines('everybody')[1]).toMatchObject({ msg: 'stream closed', kind: 'application', reason: 'client_gone', operationId: 'streamApplicationEvents' });
  });

  it('are none where none was opened: a refusal is a request like any other', async () => {
    const { lines } = await linesOf('not-opened', `${base}/sessions/01890a5d-ac96-774b-bcce-b302099a8057/events`);
    expect(lines).toEqual([expect.objectContaining({ msg: 'request', status: 404, problem: 'not-found' })]);
  });

  it.each([['token_expired', () => test.clock.advance(3_601_000)], ['max_age', () => test.clock.advance(361_000)]] as const)('say %s', async (reason, later) => {
    const { body: { session } } = await test.call('POST', `/applications/${app}/sessions`, { body: {} });
    const stream = await openStream(`${test.url}${base}/sessions/${session.id}/events`, await test.token({ ttlMs: 3_600_000 }), { 'x-request-id': reason });
    later();
    test.service.streams.tick();
    await stream.ended;
    await vi.waitFor(() => expect(lines(reason)).toMatchObject([{ msg: 'stream opened' }, { msg: 'stream closed', reason }]));
    token = await test.token();
  });
});

describe('what callers write', () => {
  const nasty = ['\r\n{"level":60,"msg":"forged"}\r\n', '\u001b[2J\u001b]0;x\u0007', '\u009b31m', '\u2028\u2029', '${jndi:ldap://x}', '\u202e', '\u0000', '"}', 'x'.repeat(100_000)];

  it('is data: every line stays one line of plain ASCII, and short', async () => {
    const { body: { session } } = await test.call('POST', `/applications/${app}/sessions`, { body: {} });
    for (const text of nasty) {
      const percent = encodeURIComponent(text).slice(0, 6_000);
      for (const body of [{ hostname: text }, { userAgent: text }, { clientInfo: { name: text } }, { name: text }, { clientInfo: { [text.slice(0, 100)]: text } }]) await test.call('POST', `/applications/${app}/sessions`, { body });
      await raw(test.url, { target: `/api/v1/${percent}`, headers: [['X-Request-Id', text.replace(/[\r\n\0]/g, '').slice(0, 5_000)], ['User-Agent', text.replace(/[\r\n\0]/g, '').slice(0, 5_000)]] });
      await raw(test.url, { target: `${base}/sessions/${percent}`, headers: [['Authorization', `Bearer ${token}`]] });
      await raw(test.url, { target: `${base}/sessions?userId=${percent}`, headers: [['Authorization', `Bearer ${token}`]] });
      await raw(test.url, { target: `/${text.replace(/[\r\n\0 ]/g, '').slice(0, 5_000)}` }).catch(() => {}); // Node itself refuses some
    }
    await linesOf('the.last', `${base}/sessions/${session.id}`);
    expect(test.log.length).toBeGreaterThan(nasty.length * 5);
    expect(test.logged.filter(({ msg }) => msg !== 'request' && msg !== 'refused')).toEqual([]);
    for (const line of test.log) {
      expect(line).toMatch(/^\{[\x20-\x7e]+\}\n$/);
      expect(line.length).toBeLessThan(1_500);
    }
    expect(test.log.filter((line) => /jndi.*jndi|forged.*forged/.test(line))).toEqual([]); // at most once: in a path that matched nothing
  });

  it('of a path that matched nothing is cut, and loses its query', async () => {
    const { lines } = await linesOf('cut', `/nowhere/${'a'.repeat(500)}?secret=hunter2#hunter2`);
    expect(lines).toEqual([expect.objectContaining({ path: `/nowhere/${'a'.repeat(191)}`, status: 404 })]);
  });

  it('of an error is bounded, escaped, and without what drivers hang on it', () => {
    const written: string[] = [];
    const log = createLog('info', new Writable({ write(chunk: Buffer, _encoding, done) { written.push(chunk.toString()); done(); } }));
    const cause = Object.assign(new Error(`\u2028\u009b${'x'.repeat(1e6)}`), { input: 'postgres://user:hunter2@x', parameters: ['hunter2'] });
    for (const err of [new Error('outer', { cause }), cause, null, 'text', { toString: () => { throw new Error('no'); } }, Object.assign(new Error('loop'), { cause: undefined })]) log.error({ err }, 'failed');
    expect(written).toHaveLength(6);
    for (const line of written) {
      expect(line).toMatch(/^\{[\x20-\x7e]+\}\n$/);
      expect(line.length).toBeLessThan(8_000);
      expect(line).not.toContain('hunter2');
    }
    expect(JSON.parse(written[0]!).err.cause.message).toMatch(/^\u2028\u009bx+\.\.\.$/);
  });
});

describe('tokens', () => {
  it('are in no line, wherever they were sent, valid or not', async () => {
    const bad = [`${token}x`, token.replace(/^[^.]+/, 'e30'), await test.token({ ttlMs: -60_000 }), await test.token({ scopes: [] })];
    const secrets = [token, ...bad].flatMap((text) => [text, text.split('.')[2]!]);
    for (const given of [token, ...bad]) {
      for (const target of [`${base}/sessions`, `${base}/sessions?access_token=${given}`, `/api/v1/${given}`, `/${given}/x`, `${base}/sessions/${given}`, `/docs/${given}`, `http://x/${given}`, `/%2e/${given}`, `${base}/revoked-credentials/${given}`, `/x#${given}`]) {
        await raw(test.url, { target, headers: [['Authorization', `Bearer ${given}`]] });
        await raw(test.url, { target, method: 'POST', headers: [['Authorization', given], ['X-Request-Id', given], ['Cookie', `t=${given}`], ['Content-Type', given]], body: given });
      }
    }
    const socket = connect(Number(new URL(test.url).port), '127.0.0.1');
    socket.end(`GET / HTTP/9.9\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    socket.resume();
    await once(socket, 'close');
    await linesOf('the.last', `${base}/sessions`);
    expect(test.log.length).toBeGreaterThan(100);
    const all = test.log.join('');
    expect(secrets.filter((secret) => all.includes(secret))).toEqual([]);
  });
});
