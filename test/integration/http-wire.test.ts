// What never becomes a request, as bytes on real sockets: malformed, ambiguous, too large, too slow; and what the server says to it.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createHttpServer } from '../../server/http.ts';
import { createLog } from '../../server/log.ts';
import { exchange, raw } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { openStream } from '../support/stream.ts';

let test: TestService, app: string, sessions: string, token: string, auth: string;
beforeAll(async () => {
  test = await startTestService({ timeouts: { headers: 300, request: 600, check: 50 } });
  app = await test.application();
  sessions = `/api/v1/applications/${app}/sessions`;
  token = await test.token();
  auth = `Host: x\r\nAuthorization: Bearer ${token}\r\n`;
});
afterAll(() => test.close());

/** Nothing but problems, the last of which closes the connection, and each with its line in the log. */
async function refused(pieces: string | readonly string[], status: number, type: string, options?: Parameters<typeof exchange>[2]) {
  const { answers, ms, reset } = await exchange(test.url, pieces, options);
  expect(answers.map((answer) => [answer.status, answer.body?.type])).toEqual([[status, `/docs/errors#${type}`]]);
  const { headers, body } = answers[0]!;
  expect(headers).toMatchObject({ 'content-type': 'application/problem+json', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'connection': 'close', 'x-request-id': body.requestId, 'content-length': expect.any(String) });
  expect(reset).toBe(false);
  await vi.waitFor(() => expect(test.logged).toContainEqual(expect.objectContaining({ msg: 'refused', requestId: body.requestId, problem: type, status })));
  return { body, headers, ms };
}

const countOf = async () => (await test.call('GET', `/applications/${app}/sessions?limit=1000`)).body.items.length;
const get = (headers = '') => `GET ${sessions} HTTP/1.1\r\n${auth}${headers}\r\n`;
const create = (headers: string, body = '') => `POST ${sessions} HTTP/1.1\r\n${auth}Content-Type: application/json\r\n${headers}\r\n${body}`;
const smuggled = () => `DELETE ${sessions} HTTP/1.1\r\nHost: x\r\n\r\n`;

describe('malformed HTTP', () => {
  it.each([
    ['nonsense', () => '\u0016\u0003\u0001 hello\r\n\r\n'], ['no version', () => 'GET /livez\r\n\r\n'], ['an odd version', () => 'GET /livez HTTP/9.9\r\nHost: x\r\n\r\n'], ['an unknown method', () => 'FETCH /livez HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], ['a space before the colon', () => get('X-Name : x\r\n')], ['a header without a name', () => get(': x\r\n')], ['no colon', () => get('nonsense\r\n')], ['NUL in a header', () => get('X-Name: a\0b\r\n')],
    ['a folded header', () => get('X-Name: a\r\n b\r\n')], ['a folded first header', () => `GET /livez HTTP/1.1\r\n Host: x\r\n\r\n`], ['bare line feeds', () => get('X-Name: a\nX-Other: b\r\n')], ['line feeds alone', () => `GET ${sessions} HTTP/1.1\nHost: x\n\n`], ['a bare carriage return', () => get('X-Name: a\rb\r\n')],
    ['a space in the target', () => `GET ${sessions} x HTTP/1.1\r\nHost: x\r\n\r\n`],
  ])('%s', async (_what, bytes) => { await refused(bytes(), 400, 'malformed-request'); });

  it.each([['none', ''], ['two', 'Host: x\r\nHost: y\r\n'], ['the same twice', 'Host: x\r\nHost: x\r\n']])('hosts: %s', async (_what, headers) => {
    await refused(`GET /livez HTTP/1.1\r\n${headers}\r\n`, 400, 'malformed-request');
  });

  it('needs no Host in HTTP/1.0', async () => {
    const { answers } = await exchange(test.url, 'GET /livez HTTP/1.0\r\n\r\n');
    expect(answers.map(({ status }) => status)).toEqual([200]);
  });
});

describe('bodies of two lengths', () => {
  const chunked = 'Transfer-Encoding: chunked\r\n';
  it.each([
    ['Content-Length and Transfer-Encoding', () => create(`Content-Length: 4\r\n${chunked}`, `0\r\n\r\n${smuggled()}`)], ['the other way round', () => create(`${chunked}Content-Length: 4\r\n`, `0\r\n\r\n${smuggled()}`)],
    ['two Content-Lengths', () => create('Content-Length: 2\r\nContent-Length: 80\r\n', `{}${smuggled()}`)], ['the same Content-Length twice', () => create('Content-Length: 2\r\nContent-Length: 2\r\n', '{}')],
    ['a list of lengths', () => create('Content-Length: 2, 2\r\n', '{}')], ['a signed length', () => create('Content-Length: +2\r\n', '{}')], ['a negative length', () => create('Content-Length: -1\r\n', '{}')], ['a length in hex', () => create('Content-Length: 0x2\r\n', '{}')],
    ['a length beyond numbers', () => create(`Content-Length: ${'9'.repeat(30)}\r\n`, '{}')], ['another encoding last', () => create('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')], ['an unknown encoding', () => create('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
    ['a tab before the encoding\'s colon', () => create('Transfer-Encoding\t: chunked\r\n', '0\r\n\r\n')], ['a bad chunk size', () => create(chunked, 'zz\r\n{}\r\n0\r\n\r\n')], ['a negative chunk size', () => create(chunked, '-2\r\n{}\r\n0\r\n\r\n')],
    ['a chunk size beyond numbers', () => create(chunked, `${'f'.repeat(20)}\r\n{}\r\n0\r\n\r\n`)], ['a chunk longer than it says', () => create(chunked, '2\r\n{}}\r\n0\r\n\r\n')], ['a chunk that ends in a bare line feed', () => create(chunked, '2\n{}\n0\n\n')],
  ])('%s: refused, and nothing of it runs', async (_what, bytes) => {
    const before = await countOf();
    await refused(bytes(), 400, 'malformed-request');
    expect(await countOf()).toBe(before);
  });

  it('chunk extensions without end are too large', async () => { await refused(create(chunked, `2;${'x'.repeat(40_000)}\r\n{}\r\n0\r\n\r\n`), 413, 'payload-too-large'); });

  it('a body without a length is none, and what follows is another request', async () => {
    const { answers } = await exchange(test.url, `${create('')}${get('Connection: close\r\n')}`);
    expect(answers.map(({ status }) => status)).toEqual([201, 200]);
  });
});

describe('too large', () => {
  it.each([['one header', () => get(`X-Name: ${'a'.repeat(20_000)}\r\n`)], ['many headers', () => get(Array.from({ length: 2_000 }, (_, n) => `X-${n}: ${n}\r\n`).join(''))], ['the target', () => `GET ${sessions}?userId=${'a'.repeat(100_000)} HTTP/1.1\r\n${auth}\r\n`]])('%s', async (_what, bytes) => {
    await refused(bytes(), 431, 'headers-too-large');
  });

  it('the answer arrives although the client goes on sending', async () => {
    await refused([`GET /livez HTTP/1.1\r\nX-Name: ${'a'.repeat(2_000_000)}`, ...Array.from({ length: 10 }, () => 'a'.repeat(100_000))], 431, 'headers-too-large', { pauseMs: 5 });
  });
});

describe('expectations and other protocols', () => {
  it('an unknown expectation is 417, with the request id that was given', async () => {
    const { headers } = await refused(create('X-Request-Id: mine\r\nExpect: miracles\r\nContent-Length: 2\r\n', '{}'), 417, 'expectation-failed');
    expect(headers['x-request-id']).toBe('mine');
  });

  it('100-continue is met', async () => {
    const { answers } = await exchange(test.url, [create('Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n'), '{}'], { pauseMs: 50 });
    expect(answers.map(({ status }) => status)).toEqual([201]);
  });

  it('CONNECT is 405', async () => {
    for (const target of ['evil.example:443', `${sessions}`, '127.0.0.1:22']) {
      const { headers } = await refused(`CONNECT ${target} HTTP/1.1\r\nHost: x\r\n\r\n${smuggled()}`, 405, 'method-not-allowed');
      expect(headers.allow).toBe('GET, HEAD, POST, DELETE, OPTIONS');
    }
  });

  it('CONNECT behind an answer that waits closes the connection', async () => {
    const { store } = test.service, { pageSessions } = store, go = Promise.withResolvers<void>();
    store.pageSessions = async (...args) => { await go.promise; return pageSessions(...args); };
    try {
      expect((await exchange(test.url, `${get()}CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n`)).answers).toEqual([]);
    } finally { go.resolve(); store.pageSessions = pageSessions; }
  });

  it.each(['websocket', 'h2c', 'TLS/1.2'])('an upgrade to %s is not taken up: the request is answered as it is', async (protocol) => {
    const { answers } = await exchange(test.url, `GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: ${protocol}\r\n\r\n`);
    expect(answers.map(({ status, body }) => [status, body])).toEqual([[200, { status: 'ok' }]]);
    expect((await exchange(test.url, `GET ${sessions} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: ${protocol}\r\n\r\n`)).answers[0]!.status).toBe(401);
  });
});

describe('several requests on one connection', () => {
  it('nonsense after a request is answered after it', async () => {
    const { store } = test.service, { pageSessions } = store, asked = Promise.withResolvers<void>(), go = Promise.withResolvers<void>();
    store.pageSessions = async (...args) => { asked.resolve(); await go.promise; return pageSessions(...args); };
    try {
      const exchanged = exchange(test.url, `${get()}nonsense\r\n\r\n`);
      await asked.promise;
      await wait(50); // the second would be answered by now
      go.resolve();
      expect((await exchanged).answers.map(({ status, body }) => [status, body.type ?? 'items' in body])).toEqual([[200, true], [400, '/docs/errors#malformed-request']]);
    } finally { store.pageSessions = pageSessions; }
  });

  it('more than 32 that wait for their answers are not taken, and the connection ends with the reason', async () => {
    const { answers } = await exchange(test.url, 'GET /livez HTTP/1.1\r\nHost: rollcall\r\n\r\n'.repeat(500));
    expect(answers.map(({ status }) => status)).toEqual([...Array<number>(32).fill(200), 400]);
    expect(answers.at(-1)!.body).toMatchObject({ type: '/docs/errors#malformed-request', detail: 'At most 32 requests of a connection may wait for their answers.' });
  });

  it.each([['with it', [`zz\r\n`], 0], ['after the answer', ['', 'zz\r\n'], 50]])('nonsense in a body that nobody reads any more gets no second answer when it comes %s', async (_when, [first, ...rest], pauseMs) => {
    const { answers, reset } = await exchange(test.url, [`POST ${sessions} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${first}`, ...rest], { pauseMs });
    expect(answers.map(({ status }) => status)).toEqual([401]);
    expect(reset).toBe(false);
  });

  it('nonsense in a body is not answered in the place of the requests before', async () => {
    const { store } = test.service, { pageSessions } = store, asked = Promise.withResolvers<void>(), go = Promise.withResolvers<void>();
    store.pageSessions = async (...args) => { asked.resolve(); await go.promise; return pageSessions(...args); };
    try {
      const exchanged = exchange(test.url, `${get()}${create('Transfer-Encoding: chunked\r\n', 'zz\r\n')}`);
      await asked.promise;
      expect((await exchanged).answers).toEqual([]); // the connection is closed: nobody knows what became of them
    } finally { go.resolve(); store.pageSessions = pageSessions; }
  });

  it('nothing is written into an open stream', async () => {
    const { text } = await exchange(test.url, [`GET /api/v1/applications/${app}/events HTTP/1.1\r\n${auth}\r\n`, 'nonsense\r\n\r\n'], { pauseMs: 100 });
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*text\/event-stream/);
    expect(text.match(/HTTP\/1.1/g)).toHaveLength(1);
  });
});

describe('too slow', () => {
  it('a silent connection is closed, and told why', async () => {
    const { ms } = await refused('', 408, 'request-timeout');
    expect(ms).toBeLessThan(1_500);
  });

  it('headers that trickle', async () => {
    const { ms } = await refused([`GET ${sessions} HTTP/1.1\r\n`, ...Array.from({ length: 40 }, (_, n) => `X-${n}: a\r\n`)], 408, 'request-timeout', { pauseMs: 50 });
    expect(ms).toBeLessThan(3_000);
  });

  it('a body that trickles; nothing of it runs', async () => {
    const before = await countOf();
    await refused([create('Content-Length: 30\r\n'), ...Array.from({ length: 40 }, () => ' ')], 408, 'request-timeout', { pauseMs: 50 });
    expect(await countOf()).toBe(before);
  });

  it('half a request, and no more', async () => {
    await refused(`GET ${sessions} HTTP/1.1\r\nHost: x\r\n`, 400, 'malformed-request', { halfClose: true });
  });

  it('an open stream is not cut, nor is an answer that takes long', async () => {
    const stream = await openStream(`${test.url}/api/v1/applications/${app}/events`, token);
    const { store } = test.service, { countSessions } = store;
    store.countSessions = async (...args) => { await wait(1_000); return countSessions(...args); };
    try {
      expect((await test.call('GET', `/applications/${app}/session-counts`)).status).toBe(200);
    } finally { store.countSessions = countSessions; }
    await test.call('POST', `/applications/${app}/sessions`);
    expect((await stream.next()).event).toBe('session.connected');
    stream.close();
  });
});

describe('by default', () => {
  it('a request has nine seconds, its headers five, and a connection on which nothing moves two minutes', () => {
    const { headersTimeout, requestTimeout, keepAliveTimeout, timeout } = createHttpServer(() => {}, { log: createLog('silent') });
    expect({ headersTimeout, requestTimeout, keepAliveTimeout, timeout }).toEqual({ headersTimeout: 5_000, requestTimeout: 9_000, keepAliveTimeout: 10_000, timeout: 120_000 });
  });

  it('a connection on which nothing moves is closed, whatever it waits for', async () => {
    const own = await startTestService({ timeouts: { stalled: 300 } }), { store } = own.service, go = Promise.withResolvers<never>();
    store.listApplications = () => go.promise;
    try {
      const { answers, ms } = await exchange(own.url, `GET /api/v1/applications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await own.token()}\r\n\r\n`);
      expect(answers).toEqual([]);
      expect(ms).toBeLessThan(5_000);
    } finally {
      go.reject(new Error('too late'));
      await own.close();
    }
  });
});

describe('many connections', () => {
  it('500 slow ones do not delay a good client; beyond MAX_CONNECTIONS they are closed, and who is in stays in', async () => {
    const own = await startTestService({ env: { MAX_CONNECTIONS: '510' } }), { port } = new URL(own.url), sockets: Socket[] = [];
    const dial = (bytes: string) => { const socket = connect(Number(port), '127.0.0.1', () => { socket.write(bytes); }).on('error', () => {}); sockets.push(socket); return socket; };
    try {
      expect((await own.call('GET', '/applications')).status).toBe(200);
      for (let n = 0; n < 500; n++) dial(['', 'GET /livez HTTP/1.1\r\nHost: x\r\nX-', 'POST /api/v1/applications HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{'][n % 3]!);
      const times: number[] = [];
      for (let n = 0; n < 100; n++) {
        const started = performance.now();
        expect((await own.call('GET', '/applications')).status).toBe(200);
        times.push(performance.now() - started);
      }
      expect(times.sort((a, b) => a - b)[98]).toBeLessThan(300); // three times what is promised
      const late = Array.from({ length: 20 }, () => dial(''));
      await Promise.all(late.slice(10).map((socket) => socket.closed || once(socket, 'close')));
      expect((await own.call('GET', '/applications')).status).toBe(200); // on the connection it has
      expect(own.logged.filter(({ msg }) => String(msg).startsWith('there are as many connections'))).toEqual([expect.objectContaining({ connections: 510 })]);
    } finally {
      for (const socket of sockets) socket.destroy();
      await own.close();
    }
  });
});

describe('the server', () => {
  it('is as well afterwards as before', async () => {
    for (let n = 0; n < 50; n++) { // who does not even wait for the answer
      const socket = connect(Number(new URL(test.url).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.write('nonsense\r\n\r\n', () => n % 2 ? socket.resetAndDestroy() : socket.destroy());
    }
    expect((await raw(test.url, { target: '/livez' })).status).toBe(200);
    expect(test.logged.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });
});
