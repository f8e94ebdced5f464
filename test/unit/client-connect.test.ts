// How a process stays connected as one session, and how that ends.
import { getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connect, type Connection, type ConnectOptions, type Disconnected } from '../../client/connect.ts';
import * as at from './client-events-peer.ts';
import { APP, hangs, ID, json, peer, problem, SESSION, unavailable } from './client-peer.ts';

const OTHER = '0199a1b2-0000-7e5f-8a6b-9c0d1e2f3a4b';
const created = json(201, { ...SESSION, generation: 1 });
const over = (reason: string) => at.stream(`retry: 8000\nevent: disconnect\ndata: {"sessionId":"${ID}","reason":"${reason}","detail":"Next."}\n\n`);
const beaten = json(200, { accepted: 1, ended: [] });
const ok = json(200, SESSION);

type Script = Parameters<typeof peer>;

/** A connection to a scripted peer; activity and closing wait until the test says so. */
async function connected(script: Script, more: Partial<ConnectOptions> = {}) {
  const server = await peer(...script);
  const { timing, waits } = at.handTiming();
  const held: { ms: number; over: () => void }[] = [];
  const sleep: typeof timing.sleep = (ms, signal) => {
    if (ms !== 10_000 && ms !== 5_000) return timing.sleep(ms, signal);
    return new Promise((resolve, reject) => {
      held.push({ ms, over: resolve });
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  };
  const told: Disconnected[] = [];
  const options = { ...at.optionsOf(server), onDisconnect: (end: Disconnected) => void told.push(end), ...more };
  let connection: Connection | undefined;
  onTestFinished(async () => {
    const closed = connection?.close().then(() => true);
    while (closed && !(await Promise.race([closed, new Promise(setImmediate)]))) held.forEach((wait) => wait.over());
  });
  const connecting = connect(options, { ...timing, sleep }).then((made) => (connection = made));
  const calls = () => server.received.map(({ method, url }) => `${method} ${url.replace(`/api/v1/applications/${APP}`, '')}`);
  return { connecting, server, waits, held, told, calls };
}

/** Resolves when the peer has been asked that often. */
const asked = async (received: unknown[], times: number) => {
  while (received.length < times) await new Promise(setImmediate);
};

/** Long enough for a request that should not be made to arrive: others do, one after the other. */
const quiet = async () => {
  const { url } = await peer(ok, ok, ok);
  for (let n = 0; n < 3; n += 1) await fetch(url);
};

describe('connect', () => {
  it('creates the session and opens its stream', async () => {
    const { connecting, server, calls } = await connected([created, at.stream(), ok], { session: { hostname: 'build-07', clientInfo: { name: 'desk' } } });
    const connection = await connecting;
    expect(connection.session.id).toBe(ID);
    await asked(server.received, 2);
    expect(calls()).toEqual(['POST /sessions', `GET /sessions/${ID}/events`]);
    const body = JSON.parse(server.received[0]?.body ?? '');
    expect(body).toEqual({ hostname: 'build-07', clientInfo: { name: 'desk' }, externalId: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  });

  it('makes one session even when the first answer is lost', async () => {
    const { connecting, server } = await connected([unavailable, created, at.stream(), ok]);
    await connecting;
    const [first, second] = server.received.map(({ body }) => body);
    expect(second).toBe(first);
  });

  it('is a session of its own, or the one of the given externalId', async () => {
    const ids: unknown[] = [];
    for (const session of [undefined, {}, { externalId: undefined }, { externalId: 'desk:ada' }]) {
      const { connecting, server } = await connected([created, at.stream(), ok], { session });
      await connecting;
      ids.push(JSON.parse(server.received[0]?.body ?? '').externalId);
    }
    expect(new Set(ids).size).toBe(4);
    expect(ids[3]).toBe('desk:ada');
  });

  it('rejects when the login was thrown out', async () => {
    const detail = 'The client has to authenticate again and connect with a new credential.';
    const { connecting, told } = await connected([problem(403, 'credential-revoked', { detail })]);
    await expect(connecting).rejects.toMatchObject({ name: 'ProblemError', code: 'credential-revoked', message: `403 credential-revoked: ${detail}` });
    expect(told).toEqual([]);
  });

  it('gives up on a service out of reach after as many retries as it is told', async () => {
    const down = await connected(Array(9).fill(unavailable));
    await expect(down.connecting).rejects.toMatchObject({ status: 503 });
    expect(down.server.received).toHaveLength(3);
    const patient = await connected([...Array(9).fill(unavailable), created, at.stream(), ok], { retries: Infinity });
    expect((await patient.connecting).session.id).toBe(ID);
  });
});

describe('a connection', () => {
  it.each(['revoked', 'ended', 'a reason of a later version'])('is over for good when the session is over: %s', async (reason) => {
    const { signal } = new AbortController();
    const { connecting, told, calls } = await connected([created, over(reason)], { signal });
    const connection = await connecting;
    const end = { reason, detail: 'Next.', retryAfterMs: 8_000 };
    expect(await connection.disconnected).toEqual(end);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(told).toEqual([end]);
    if (reason !== 'a reason of a later version') await connection.close();
    expect(calls()).toEqual(['POST /sessions', `GET /sessions/${ID}/events`]);
  });

  it('goes on after an end of the stream, with a new token each time', async () => {
    let count = 0;
    const token = () => `token-${(count += 1)}`;
    const { connecting, server } = await connected([created, at.ended('event: token_expired\ndata: {}\n\n'), over('revoked')], { token });
    await (await connecting).disconnected;
    expect(server.received.map(({ headers }) => headers.authorization)).toEqual(['Bearer token-1', 'Bearer token-2', 'Bearer token-3']);
  });

  it('comes back as the same session when it was lost', async () => {
    const { connecting, server, told, calls, waits } = await connected([created, over('lost'), unavailable, created, over('ended')]);
    expect(await (await connecting).disconnected).toMatchObject({ reason: 'ended' });
    expect(calls()).toEqual(['POST /sessions', `GET /sessions/${ID}/events`, 'POST /sessions', 'POST /sessions', `GET /sessions/${ID}/events`]);
    expect(server.received[3]?.body).toBe(server.received[0]?.body);
    expect(told).toHaveLength(1);
    expect(waits[0]).toBe(2_500);
  });

  it('creates a session again that is no longer retained, however long the service is away meanwhile', async () => {
    const other = json(201, { session: { id: OTHER }, generation: 2 });
    const script = [created, problem(404, 'not-found'), ...Array(4).fill(unavailable), problem(500, 'internal-error'), other, over('ended')];
    const { connecting, calls } = await connected(script);
    const connection = await connecting;
    await connection.disconnected;
    expect(connection.session.id).toBe(OTHER);
    expect(calls().at(-1)).toBe(`GET /sessions/${OTHER}/events`);
  });

  it('comes back as often as it must', async () => {
    const gone = problem(404, 'not-found');
    const { connecting, calls } = await connected([created, gone, created, gone, created, over('lost'), created, over('ended')]);
    expect(await (await connecting).disconnected).toMatchObject({ reason: 'ended' });
    expect(calls().filter((call) => call === 'POST /sessions')).toHaveLength(4);
  });

  it('was revoked when it may not be created again', async () => {
    const { connecting, told } = await connected([created, problem(404, 'not-found'), problem(403, 'credential-revoked')]);
    expect(await (await connecting).disconnected).toMatchObject({ reason: 'revoked', error: { code: 'credential-revoked' } });
    expect(told).toHaveLength(1);
  });

  it.each([
    ['its token', [problem(401, 'unauthorized')]],
    ['its scope', [problem(403, 'insufficient-scope')]],
    ['its application', [problem(404, 'not-found'), problem(404, 'not-found')]],
  ])('has failed when the server does not accept %s any more', async (_name, refusals) => {
    const { connecting, told } = await connected([created, ...refusals, ok]);
    const end = await (await connecting).disconnected;
    expect(end).toMatchObject({ reason: 'failed', detail: expect.stringMatching(/^40[134] /), error: { name: 'ProblemError' } });
    expect(told).toEqual([end]);
  });
});

describe('active', () => {
  const moments = (received: { body: string }[]) => received.slice(2).map(({ body }) => JSON.parse(body).heartbeats);
  const on = (second: number) => new Date(Date.UTC(2026, 10, 23, 12, 0, second));

  it('is reported at once, and then at most every ten seconds, with the latest moment', async () => {
    const { connecting, server, held } = await connected([created, at.stream(), beaten, beaten, ok]);
    const connection = await connecting;
    await asked(server.received, 2);
    for (const second of [1, 2, 4, 3]) connection.active(on(second));
    await asked(server.received, 3);
    while (held.length < 1) await new Promise(setImmediate);
    expect(held[0]?.ms).toBe(10_000);
    expect(server.received).toHaveLength(3);
    held[0]?.over();
    await asked(server.received, 4);
    expect(moments(server.received)).toEqual([
      [{ sessionId: ID, lastActiveAt: '2026-11-23T12:00:01.000Z' }],
      [{ sessionId: ID, lastActiveAt: '2026-11-23T12:00:04.000Z' }],
    ]);
  });

  it('is reported at once again after a pause', async () => {
    const { connecting, server, held } = await connected([created, at.stream(), beaten, beaten, ok]);
    const connection = await connecting;
    await asked(server.received, 2);
    connection.active();
    while (held.length < 1) await new Promise(setImmediate);
    held[0]?.over();
    await quiet();
    expect(server.received).toHaveLength(3);
    connection.active();
    await asked(server.received, 4);
  });

  it('is given up when the report fails, and the connection goes on', async () => {
    const { connecting, server, held, told } = await connected([created, at.stream(), unavailable, ok]);
    const connection = await connecting;
    await asked(server.received, 2);
    connection.active();
    while (held.length < 1) await new Promise(setImmediate);
    expect(server.received).toHaveLength(3);
    expect(told).toEqual([]);
  });

  it('says nothing when the connection is over', async () => {
    const { connecting, server } = await connected([created, over('ended')]);
    const connection = await connecting;
    await connection.disconnected;
    connection.active();
    await quiet();
    expect(server.received).toHaveLength(2);
  });

  it('refuses a moment that is none', async () => {
    const { connecting } = await connected([created, at.stream(), ok]);
    const connection = await connecting;
    expect(() => connection.active(new Date(NaN))).toThrow(RangeError);
  });
});

describe('close', () => {
  it('closes the stream and ends the session, once', async () => {
    const gone = at.countdown();
    const { connecting, server, told, calls } = await connected([created, (response) => {
      at.stream()(response);
      response.on('close', gone.hit);
    }, ok]);
    const connection = await connecting;
    await asked(server.received, 2);
    await Promise.all([connection.close(), connection.close()]);
    await gone.done;
    expect(calls().slice(2)).toEqual([`POST /sessions/${ID}/end`]);
    expect(await connection.disconnected).toMatchObject({ reason: 'closed' });
    expect(told).toEqual([]);
  });

  it('is what `await using` does', async () => {
    const { connecting, server, calls } = await connected([created, at.stream(), ok]);
    {
      await using connection = await connecting;
      await asked(server.received, 2);
      expect(connection.session.id).toBe(ID);
    }
    expect(calls().slice(2)).toEqual([`POST /sessions/${ID}/end`]);
  });

  it('takes no more than five seconds', async () => {
    const { connecting, server, held } = await connected([created, at.stream(), hangs]);
    const connection = await connecting;
    await asked(server.received, 2);
    const closed = connection.close();
    await asked(server.received, 3);
    expect(held.map(({ ms }) => ms)).toEqual([5_000]);
    held[0]?.over();
    await closed;
  });

  it('does not mind that the service refuses', async () => {
    const { connecting, server } = await connected([created, at.stream(), problem(404, 'not-found')]);
    const connection = await connecting;
    await asked(server.received, 2);
    await connection.close();
    expect(server.received).toHaveLength(3);
  });
});

describe('a signal', () => {
  const left = new Error('the user left');

  it.each(['before', 'during'])('that aborts %s the start rejects it', async (when) => {
    const controller = new AbortController();
    if (when === 'before') controller.abort(left);
    const { connecting, server } = await connected([() => controller.abort(left)], { signal: controller.signal });
    await expect(connecting).rejects.toBe(left);
    expect(server.received).toHaveLength(when === 'before' ? 0 : 1);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  it('closes the connection without a word; close still ends the session', async () => {
    const controller = new AbortController();
    const { connecting, server, told, calls } = await connected([created, at.stream(), ok], { signal: controller.signal });
    const connection = await connecting;
    await asked(server.received, 2);
    controller.abort(left);
    expect(await connection.disconnected).toMatchObject({ reason: 'closed' });
    expect(told).toEqual([]);
    expect(server.received).toHaveLength(2);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await connection.close();
    expect(calls().slice(2)).toEqual([`POST /sessions/${ID}/end`]);
  });
});
