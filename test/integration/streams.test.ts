// The two event streams, on real sockets, with time that the test moves.
import { connect } from 'node:net';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTestService, type TestService } from '../support/service.ts';
import { openStream, type TestStream } from '../support/stream.ts';

const LEASE = 90_000;
let test: TestService;
let app: string;
beforeAll(async () => { test = await startTestService({ env: { STREAMS: '40', STREAMS_PER_APPLICATION: '30', STREAMS_PER_PRINCIPAL: '20', STREAMS_PER_CLIENT: '3' } }); });
afterAll(() => test.close());
beforeEach(async () => { app = await test.application(); });

const connectSession = async (body: object = {}): Promise<string> => (await test.call('POST', `/applications/${app}/sessions`, { body })).body.session.id;
const session = async (id: string) => (await test.call('GET', `/applications/${app}/sessions/${id}`)).body.session;
const streamOf = async (id: string, token?: string): Promise<TestStream> => openStream(`${test.url}/api/v1/applications/${app}/sessions/${id}/events`, token ?? await test.token());
const streamOfApplication = async (headers = {}, token?: string): Promise<TestStream> => openStream(`${test.url}/api/v1/applications/${app}/events`, token ?? await test.token(), headers);
/** One round of what goes on in the background. */
const round = async () => { test.service.streams.tick(); await test.service.hub.poll(); await test.service.store.maintain(); };
/** A client cannot be seen leaving before its socket has told. */
const closed = async (stream: TestStream) => {
  const before = test.service.streams.count;
  stream.close();
  while (test.service.streams.count === before) await new Promise(setImmediate);
};
const pass = async (ms: number, step = 1_000) => { for (let left = ms; left > 0; left -= step) { test.clock.advance(Math.min(step, left)); await round(); } };

describe('streamSessionEvents', () => {
  it('says nothing while the session lives, and answers as an event stream that no cache keeps', async () => {
    const stream = await streamOf(await connectSession());
    expect(stream.response.status).toBe(200);
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream');
    expect(stream.response.headers.get('cache-control')).toBe('no-store');
    expect(stream.response.headers.get('x-request-id')).toBeTruthy();
    stream.close();
    expect(await stream.ended).toEqual([]);
    expect(stream.text).toMatch(/^retry: \d{4}\n:\n\n$/);
  });

  it.each([
    ['revokeSessions', () => test.call('DELETE', `/applications/${app}/sessions`)],
    ['revokeSessions with a filter', () => test.call('DELETE', `/applications/${app}/sessions?userId=ada`)],
    ['revokeSession', async (id: string) => test.call('DELETE', `/applications/${app}/sessions/${id}`)],
  ])('is told by %s to authenticate again, once, and ends', async (_name, revoke) => {
    const id = await connectSession({ userId: 'ada' });
    const stream = await streamOf(id);
    expect((await revoke(id)).body.disconnectedCount).toBe(1);
    expect(await stream.ended).toEqual([{ id: undefined, event: 'disconnect', data: { sessionId: id, reason: 'revoked', detail: expect.stringContaining('Authenticate again') } }]);
    expect(Number(/retry: (\d+)\nevent: disconnect/.exec(stream.text)?.[1])).toBeGreaterThanOrEqual(1_000);
  });

  it('is told that the session has ended', async () => {
    const id = await connectSession();
    const stream = await streamOf(id);
    await test.call('POST', `/applications/${app}/sessions/${id}/end`);
    expect((await stream.ended).map(({ data }) => data.reason)).toEqual(['ended']);
  });

  it('learns first thing that the session is over already, settled or not', async () => {
    const id = await connectSession();
    await test.call('DELETE', `/applications/${app}/sessions`);
    for (const settle of [false, true]) {
      if (settle) await test.service.store.maintain();
      expect((await (await streamOf(id)).ended).map(({ event, data }) => [event, data.reason])).toEqual([['disconnect', 'revoked']]);
    }
  });

  it('does not end the streams of sessions that were made after the revoke', async () => {
    const old = await streamOf(await connectSession());
    await test.call('DELETE', `/applications/${app}/sessions`);
    const young = await streamOf(await connectSession());
    await test.service.hub.poll();
    await old.ended;
    await test.service.hub.poll();
    young.close();
    expect(await young.ended).toEqual([]);
  });

  it('is the heartbeat: the session stays connected as long as the stream is open, and is lost a lease after it closed', async () => {
    const id = await connectSession();
    const stream = await streamOf(id);
    await pass(2 * LEASE + 30_000); // the server ends no stream before four minutes
    expect(await session(id)).toMatchObject({ status: 'active' });
    expect(await session(id)).not.toHaveProperty('lastActiveAt');
    await closed(stream);
    await pass(LEASE);
    expect(await session(id)).toMatchObject({ status: 'active' });
    await pass(10_000);
    expect(await session(id)).toMatchObject({ status: 'disconnected', disconnectReason: 'lost' });
  });

  it('reconnects a lost session as the same one', async () => {
    const id = await connectSession();
    await pass(LEASE + 10_000);
    expect(await session(id)).toMatchObject({ disconnectReason: 'lost' });
    const stream = await streamOf(id);
    expect(await session(id)).toMatchObject({ id, status: 'active', connectedAt: new Date(test.clock.now()).toISOString() });
    await closed(stream);
  });

  it('only watches with sessions:read, and keeps nothing alive', async () => {
    const id = await connectSession();
    const stream = await streamOf(id, await test.token({ scopes: ['sessions:read'] }));
    await pass(LEASE + 10_000);
    expect((await stream.ended).map(({ data }) => data.reason)).toEqual(['lost']);
  });

  it('is open with sessions:connect to the session\'s own subject only', async () => {
    const mine = await test.token({ scopes: ['sessions:connect'], subject: 'agent-1' }), other = await test.token({ scopes: ['sessions:connect'], subject: 'agent-2' });
    const { body } = await test.call('POST', `/applications/${app}/sessions`, { token: mine });
    const stream = await streamOf(body.session.id, mine);
    expect(stream.response.status).toBe(200);
    expect((await streamOf(body.session.id, other)).response.status).toBe(404);
    expect((await streamOf(await connectSession(), mine)).response.status).toBe(404);
    await test.call('DELETE', `/applications/${app}/sessions`);
    await stream.ended;
    expect((await (await streamOf(body.session.id, mine)).ended)[0]?.data.reason).toBe('revoked');
    expect((await streamOf(body.session.id, other)).response.status).toBe(404);
  });

  it('of a session that was lost and then ended tells so', async () => {
    const id = await connectSession();
    await pass(LEASE + 10_000);
    const stream = await streamOfApplication();
    await test.call('POST', `/applications/${app}/sessions/${id}/end`);
    expect((await stream.next()).data).toMatchObject({ sessionId: id, reason: 'ended' });
    await closed(stream);
  });

  it('is ended by the server after about five minutes, without an event, and the session lives on', async () => {
    const id = await connectSession();
    const stream = await streamOf(id);
    test.clock.advance(6 * 60_000 + 1);
    test.service.streams.tick();
    expect(await stream.ended).toEqual([]);
  });

  it('ends with token_expired when its token does', async () => {
    const stream = await streamOf(await connectSession(), await test.token({ ttlMs: 60_000 }));
    test.clock.advance(60_000);
    test.service.streams.tick();
    expect((await stream.ended).map(({ event }) => event)).toEqual(['token_expired']);
  });

  it('keeps the connection alive with comments', async () => {
    const stream = await streamOf(await connectSession());
    for (let beats = 0; beats < 2; beats++) { test.clock.advance(15_001); test.service.streams.tick(); }
    test.clock.advance(6 * 60_000);
    test.service.streams.tick();
    await stream.ended;
    expect(stream.text.match(/^:$/gm)?.length).toBeGreaterThanOrEqual(3);
  });

  it('answers 404 for a session that is not there, and for the application of another organization', async () => {
    const id = await connectSession();
    expect((await streamOf('0199a1b2-c3d4-7e5f-8a6b-9c0d1e2f3a4b')).response.status).toBe(404);
    expect((await streamOf(id, await test.token({ organizationId: 'org_other' }))).response.status).toBe(404);
  });
});

describe('streamApplicationEvents', () => {
  it('tells who connects, is refreshed, ends, and is cut: in order, a revoke-all as one event', async () => {
    const stream = await streamOfApplication();
    const id = await connectSession({ clientInfo: { name: 'claude-code' } });
    await test.call('POST', `/applications/${app}/heartbeats`, { body: { heartbeats: [{ sessionId: id, lastActiveAt: new Date(test.clock.now()).toISOString() }] } });
    await test.call('POST', `/applications/${app}/heartbeats`, { body: { heartbeats: [{ sessionId: id, tokenExpiresAt: '2030-01-01T00:00:00Z' }] } });
    await test.call('POST', `/applications/${app}/sessions/${id}/end`);
    await Promise.all([connectSession(), connectSession()]);
    await test.call('DELETE', `/applications/${app}/sessions`);
    const events = [];
    do events.push(await stream.next()); while (events.at(-1)?.event !== 'sessions.revoked');
    expect(events.map(({ event }) => event)).toEqual(['session.connected', 'session.updated', 'session.disconnected', 'session.connected', 'session.connected', 'sessions.revoked']);
    expect(events[0]?.data).toMatchObject({ session: { id, clientInfo: { name: 'claude-code' } }, generation: 1 });
    expect(events[1]?.data.session).toMatchObject({ id, tokenExpiresAt: '2030-01-01T00:00:00.000Z' });
    expect(events[2]?.data).toEqual({ sessionId: id, reason: 'ended', disconnectedAt: new Date(test.clock.now()).toISOString() });
    const { body: { items: [revocation] } } = await test.call('GET', `/applications/${app}/revocations`);
    expect(events[5]?.data).toEqual({ revocationId: revocation.id, generation: 1, count: 2 });
    expect(new Set(events.map(({ id }) => id)).size).toBe(6);
    stream.close();
  });

  it('resumes after the last event: nothing missing, nothing twice', async () => {
    const first = await streamOfApplication();
    const ids = [await connectSession()];
    const { id: last } = await first.next();
    await closed(first);
    for (let more = 0; more < 5; more++) ids.push(await connectSession());
    const second = await streamOfApplication({ 'Last-Event-ID': last! });
    ids.push(await connectSession());
    const seen = [];
    while (seen.length < 6) seen.push((await second.next()).data.session.id);
    expect(seen).toEqual(ids.slice(1));
    await closed(second);
    expect(second.events).toHaveLength(6);
  });

  it.each([
    ['unknown', () => 'nonsense'],
    ['another application\'s', (id: string) => id.replace(/.{6}$/, '000000')],
    ['from a log that has gone on longer', (id: string) => id.replace(/\.[^.]+\.([^.]+)$/, '.zzzzzz.$1')],
  ])('says reset first for an id that is %s, and goes on from now', async (_name, change) => {
    const first = await streamOfApplication();
    await connectSession();
    const { id } = await first.next();
    await closed(first);
    await connectSession();
    const stream = await streamOfApplication({ 'Last-Event-ID': change(id!) });
    expect(await stream.next()).toEqual({ id: expect.any(String), event: 'reset', data: {} });
    const next = await connectSession();
    expect((await stream.next()).data.session.id).toBe(next);
    await closed(stream);
  });

  it('says reset for an event that is older than what is kept', async () => {
    const first = await streamOfApplication();
    await connectSession();
    const { id } = await first.next();
    await closed(first);
    test.clock.advance(24 * 3_600_000 + 1);
    const stream = await streamOfApplication({ 'Last-Event-ID': id! });
    expect((await stream.next()).event).toBe('reset');
    await closed(stream);
  });

  it('keeps a value with line breaks in one event', async () => {
    const stream = await streamOfApplication();
    await connectSession({ clientInfo: { name: 'x', note: 'a\n\nevent: disconnect\ndata: {}\n\n' } });
    expect((await stream.next()).data.session.clientInfo.note).toContain('event: disconnect');
    await closed(stream);
    expect(stream.events).toHaveLength(1);
  });

  it('shows nothing of another application', async () => {
    const stream = await streamOfApplication();
    const mine = app;
    app = await test.application();
    await connectSession();
    app = mine;
    const id = await connectSession();
    expect((await stream.next()).data.session.id).toBe(id);
    await closed(stream);
  });

  it('is refused without sessions:read, and for an application that is not there', async () => {
    expect((await streamOfApplication({}, await test.token({ scopes: ['sessions:write'] }))).response.status).toBe(403);
    app = '0199a1b2-c3d4-7e5f-8a6b-9c0d1e2f3a4b';
    expect((await streamOfApplication()).response.status).toBe(404);
  });
});

describe('how many streams there may be', () => {
  const fill = async (count: number, token: string) => Promise.all(Array.from({ length: count }, () => streamOfApplication({}, token)));
  const letGo = async (streams: TestStream[]) => { for (const stream of streams) await closed(stream); };

  it('is bounded for a caller, whatever its token, for an application, and in all; what is closed makes room', async () => {
    const [one, two, three] = await Promise.all(['one', 'two', 'three'].map((subject) => test.token({ subject, ttlMs: 86_400_000 }))) as [string, string, string];
    const ofOne = await fill(20, one);
    const refused = await streamOfApplication({}, await test.token({ subject: 'one', ttlMs: 86_399_000 })); // as a refresh brings one
    expect([refused.response.status, refused.response.headers.get('retry-after')]).toEqual([429, expect.stringMatching(/^[1-5]$/)]);
    const ofTwo = await fill(10, two);
    expect((await streamOfApplication({}, two)).response.status).toBe(429);
    app = await test.application();
    const ofThree = await fill(10, three);
    const full = await streamOfApplication({}, three);
    expect([full.response.status, full.response.headers.get('retry-after')]).toEqual([503, expect.stringMatching(/^[1-5]$/)]);
    // Whoever is refused has changed nothing: a lost session stays lost.
    const lost = await connectSession();
    await pass(LEASE + 10_000);
    expect((await streamOf(lost, three)).response.status).toBe(503);
    expect(await session(lost)).toMatchObject({ disconnectReason: 'lost' });
    await letGo(ofThree);
    const again = await streamOfApplication({}, three);
    expect(again.response.status).toBe(200);
    await letGo([...ofOne, ...ofTwo, again]);
    expect(test.service.streams.count).toBe(0);
  });

  it('is bounded more narrowly for a client, whatever its token', async () => {
    const own = (ttlMs: number) => test.token({ subject: 'client', scopes: ['sessions:connect'], ttlMs });
    const { id } = (await test.call('POST', `/applications/${app}/sessions`, { token: await own(60_000) })).body.session;
    const streams = await Promise.all([1, 2, 3].map(async (n) => streamOf(id, await own(60_000 + n * 1_000))));
    expect(streams.map(({ response }) => response.status)).toEqual([200, 200, 200]);
    const refused = await fetch(streams[0]!.response.url, { headers: { authorization: `Bearer ${await own(70_000)}` } });
    expect([refused.status, (await refused.json()).detail]).toEqual([429, 'This caller has 3 streams open, and may have no more.']);
    const other = await streamOf(id); // of somebody else, on the same session
    expect(other.response.status).toBe(200);
    await letGo([streams.pop()!]);
    streams.push(await streamOf(id, await own(80_000)));
    expect(streams.at(-1)!.response.status).toBe(200);
    await letGo([...streams, other]);
  });

  /** Asks for the application's events on one connection, so many times at once. */
  async function ask(times: number, requestId: string) {
    const socket = connect(Number(new URL(test.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(`GET /api/v1/applications/${app}/events HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${requestId}\r\nAuthorization: Bearer ${await test.token()}\r\n\r\n`.repeat(times));
    return socket;
  }

  it('does not count a client that went before its stream was opened', async () => {
    const { store, streams } = test.service, { isVisible } = store, asked = Promise.withResolvers<void>(), gone = Promise.withResolvers<void>();
    store.isVisible = async (tenant) => {
      store.isVisible = isVisible;
      asked.resolve();
      await gone.promise;
      return isVisible(tenant);
    };
    const before = streams.count, socket = await ask(1, 'went-early');
    await asked.promise;
    socket.destroy();
    await vi.waitFor(() => expect(test.logged.some(({ requestId }) => requestId === 'went-early')).toBe(true));
    gone.resolve();
    for (let turns = 0; turns < 20; turns += 1) await new Promise(setImmediate);
    expect(streams.count).toBe(before);
  });

  it('lets go of one that waits behind another on its connection, too', async () => {
    const { streams } = test.service, before = streams.count, socket = await ask(3, 'pipelined');
    await vi.waitFor(() => expect(streams.count).toBe(before + 3));
    socket.destroy();
    await vi.waitFor(() => { streams.tick(); expect(streams.count).toBe(before); });
    expect(test.logged.filter(({ requestId, msg }) => requestId === 'pipelined' && msg === 'stream closed')).toHaveLength(3);
  });
});

describe('a reader that does not read', () => {
  let deafReaders = 0;
  /** Reads the head of its answer, and nothing more. */
  async function deaf(): Promise<{ closed: Promise<unknown> }> {
    const socket = connect(Number(new URL(test.url).port), '127.0.0.1'), requestId = `deaf-${++deafReaders}`;
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(`GET /api/v1/applications/${app}/events HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${requestId}\r\nAuthorization: Bearer ${await test.token()}\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    const over = async () => {
      while (!test.logged.some((line) => line['requestId'] === requestId)) await wait(5);
      socket.destroy();
    };
    return { closed: over() };
  }
  const flood = async (sessions: number) => {
    const note = 'x'.repeat(7_000);
    for (let at = 0; at < sessions; at += 20) await Promise.all(Array.from({ length: 20 }, () => connectSession({ clientInfo: { name: 'x', note } })));
    await test.service.hub.poll();
  };

  it('is cut when more than 256 KB wait for it', async () => {
    const reader = await deaf();
    let cut = false;
    void reader.closed.then(() => { cut = true; });
    for (let rounds = 0; !cut && rounds < 80; rounds++) { await flood(40); await wait(10); } // the kernel takes some megabytes first
    expect(cut).toBe(true);
  }, 60_000);

  it('is cut when something has waited for it for more than ten seconds, and catches up by resuming', async () => {
    const watching = await streamOfApplication();
    const first = await connectSession();
    const { id } = await watching.next();
    await closed(watching);
    const reader = await deaf();
    let cut = false, sessions = 0;
    void reader.closed.then(() => { cut = true; });
    while (!cut && sessions < 3_000) { // what waits stays far below 256 KB: it is the time that counts
      await flood(20);
      sessions += 20;
      test.service.streams.tick();
      test.clock.advance(10_001);
      test.service.streams.tick();
      await wait(10);
    }
    expect(cut).toBe(true);
    const resumed = await streamOfApplication({ 'Last-Event-ID': id! });
    const seen = new Set<string>();
    while (seen.size < sessions) { const { event, data } = await resumed.next(); if (event === 'session.connected') seen.add(data.session.id); }
    expect(seen).not.toContain(first);
    await closed(resumed);
  }, 60_000);
});

describe('nobody without a token', () => {
  it('takes the place of a stream', async () => {
    const id = await connectSession(), before = test.service.streams.count;
    for (const path of ['events', `sessions/${id}/events`]) for (const token of [null, 'a.b.c']) expect((await test.call('GET', `/applications/${app}/${path}`, { token })).status).toBe(401);
    expect(test.service.streams.count).toBe(before);
  });
});

describe('deleteApplication', () => {
  it('ends the streams of the application, and those of its sessions, at once; opened again they are 404', async () => {
    const application = await test.application(), url = `${test.url}/api/v1/applications/${application}`, token = await test.token();
    const { body: { session: { id } } } = await test.call('POST', `/applications/${application}/sessions`);
    const watching = await Promise.all([openStream(`${url}/events`, token), openStream(`${url}/events`, token)]), own = await openStream(`${url}/sessions/${id}/events`, token);
    const other = await streamOfApplication();
    expect((await test.call('DELETE', `/applications/${application}`)).body).toEqual({ success: true, disconnectedCount: 1 });
    for (const stream of watching) expect((await stream.ended).map(({ event, data }) => [event, data.count])).toEqual([['sessions.revoked', 1]]);
    expect((await own.ended).map(({ event, data }) => [event, data.reason])).toEqual([['disconnect', 'revoked']]);
    for (const path of ['events', `sessions/${id}/events`]) expect((await test.call('GET', `/applications/${application}/${path}`)).status).toBe(404);
    await connectSession();
    expect((await other.next()).event).toBe('session.connected'); // another application's goes on
    await closed(other);
  });

  it('is not missed by a stream that is opened at the same time', async () => {
    const application = await test.application(), { store, streams } = test.service, { isVisible } = store, before = streams.count;
    store.isVisible = async (tenant) => {
      const visible = await isVisible(tenant);
      store.isVisible = isVisible;
      await test.call('DELETE', `/applications/${application}`);
      return visible;
    };
    expect((await test.call('GET', `/applications/${application}/events`)).status).toBe(404);
    await vi.waitFor(() => expect(streams.count).toBe(before));
  });

  it('a revoke-all ends no stream of an application', async () => {
    const watching = await streamOfApplication();
    await test.call('DELETE', `/applications/${app}/sessions`);
    expect((await watching.next()).event).toBe('sessions.revoked');
    await connectSession();
    expect((await watching.next()).event).toBe('session.connected');
    await closed(watching);
  });
});

describe('SIGTERM', () => {
  it('ends every stream with server_shutdown, and marks no session disconnected', async () => {
    const own = await startTestService();
    const application = await own.application();
    const { body: { session: { id } } } = await own.call('POST', `/applications/${application}/sessions`);
    const stream = await openStream(`${own.url}/api/v1/applications/${application}/sessions/${id}/events`, await own.token());
    const [events] = await Promise.all([stream.ended, own.service.close()]);
    expect(events.map(({ event }) => event)).toEqual(['server_shutdown']);
    const again = await startTestService({ directory: own.directory, clock: own.clock });
    expect((await again.call('GET', `/applications/${application}/sessions/${id}`)).body.session).toMatchObject({ status: 'active' });
    await again.close();
  });
});
