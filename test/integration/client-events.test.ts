// The client's streams against a real service: what a revoke reaches, and what survives a broken network, an expired token, a restart.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, type Connection, type ConnectOptions, type Disconnected } from '../../client/connect.ts';
import { type ApplicationEvent, type StreamState, subscribe, type SubscribeOptions, watchSession } from '../../client/events.ts';
import type { Timing } from '../../client/request.ts';
import { startProxy, type Proxy } from '../support/proxy.ts';
import { startTestService, type TestService, type TokenRequest } from '../support/service.ts';

const MINUTE = 60_000, DAY = 24 * 60 * MINUTE;
let test: TestService, proxy: Proxy, applicationId: string, app: string;
/** Ends whatever a test has left open. */
let over: AbortController;

beforeEach(async () => {
  test = await startTestService();
  proxy = await startProxy(test.url);
  applicationId = await test.application();
  app = `/applications/${applicationId}`;
  over = new AbortController();
});
afterEach(async () => {
  over.abort();
  await proxy.close();
  await test.close();
});

/** Waits are short and a silence never ends: the clock of the service is not the one of the sockets. */
const timing: Timing = {
  random: () => 0,
  sleep: (ms, signal) => new Promise((resolve, reject) => {
    if (ms !== 45_000 && ms !== 10_000 && ms !== 5_000) setImmediate(resolve);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  }),
};

/** Something to wait for until it has been so often. */
function counter() {
  let count = 0, waiting: (() => void)[] = [];
  return {
    hit() {
      count += 1;
      for (const tell of waiting.splice(0)) tell();
    },
    async reached(times: number) {
      while (count < times) await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
}

/** Options of a reader behind the network, with a new token for every attempt. */
function reader(request: TokenRequest = {}) {
  const opens = counter(), tokens: string[] = [], errors: unknown[] = [];
  const options = {
    baseUrl: proxy.url, applicationId, signal: over.signal,
    async token() {
      // Two tokens of one second would be the same.
      test.clock.advance(1_000);
      tokens.push(await test.token(request));
      return tokens.at(-1)!;
    },
    onState(state: StreamState) {
      if (state.state === 'open') opens.hit();
      else if (state.error) errors.push(state.error);
    },
  } satisfies SubscribeOptions;
  return { options, tokens, errors, opened: opens.reached };
}

/** Reads on its own until it is left. */
function gather(options: SubscribeOptions) {
  const events: ApplicationEvent[] = [], count = counter();
  const read = async () => {
    for await (const event of subscribe(options, timing)) {
      events.push(event);
      count.hit();
    }
  };
  const failed = read().catch((error: unknown) => error);
  return { events, failed, reached: count.reached };
}

const create = async (body: object = {}): Promise<{ id: string; connectedAt: string }> => (await test.call('POST', `${app}/sessions`, { body })).body.session;
const read = async (id: string) => (await test.call('GET', `${app}/sessions/${id}`)).body.session;
const revokeAll = () => test.call('DELETE', `${app}/sessions`);
/** Lets time pass as in a running service; in a longer step it would see an outage, which makes nobody lost. */
const pass = async (ms: number) => {
  for (let passed = 0; passed < ms; passed += 2_000) {
    test.clock.advance(2_000);
    test.service.streams.tick();
    await test.service.store.maintain();
  }
};
const types = (events: ApplicationEvent[]) => events.map(({ type }) => type);

describe('subscribe', () => {
  it('brings what happens, in order', async () => {
    const { options, opened } = reader();
    const { events, reached } = gather(options);
    await opened(1);
    const { id } = await create({ externalId: 'x', tokenExpiresAt: '2026-11-23T13:00:00Z' });
    await create({ externalId: 'x', tokenExpiresAt: '2026-11-23T14:00:00Z' });
    await test.call('POST', `${app}/sessions/${id}/end`);
    await create();
    await revokeAll();
    await reached(5);
    expect(events).toMatchObject([
      { type: 'session.connected', session: { id }, generation: 1 },
      { type: 'session.updated', session: { id } },
      { type: 'session.disconnected', sessionId: id, reason: 'ended' },
      { type: 'session.connected', generation: 1 },
      { type: 'sessions.revoked', generation: 1, count: 1 },
    ]);
  });

  it('misses nothing and repeats nothing when the network breaks', async () => {
    const { options, opened, errors } = reader();
    const { events, reached } = gather(options);
    await opened(1);
    const made: unknown[] = [(await create()).id];
    await reached(1);
    for (let round = 2; round <= 4; round += 1) {
      proxy.cut();
      for (let n = 0; n < 3; n += 1) made.push((await create()).id);
      proxy.mend();
      await opened(round);
      made.push((await create()).id);
      await reached(made.length);
    }
    expect(events.map((event) => event.type === 'session.connected' && event.session.id)).toEqual(made);
    expect(errors.length).toBeGreaterThanOrEqual(3);
  });

  it('misses nothing when the network breaks before the first event', async () => {
    const { options, opened } = reader();
    const { events, reached } = gather(options);
    await opened(1);
    proxy.cut();
    await revokeAll();
    proxy.mend();
    await reached(1);
    expect(types(events)).toEqual(['sessions.revoked']);
  });

  it('goes on after an event that was kept', async () => {
    const { options, opened } = reader();
    const first = gather({ ...options });
    await opened(1);
    await create();
    await revokeAll();
    await first.reached(2);
    const second = gather({ ...options, lastEventId: first.events[0]!.id });
    await second.reached(1);
    expect(second.events[0]).toEqual(first.events[1]);
  });

  it.each(['an event that is forgotten', 'an id of nobody'])('begins with a reset after %s', async (what) => {
    const { options, opened } = reader();
    const first = gather(options);
    await opened(1);
    await create();
    await first.reached(1);
    const lastEventId = what === 'an id of nobody' ? 'nobody' : first.events[0]!.id;
    test.clock.advance(what === 'an id of nobody' ? 0 : DAY + MINUTE);
    const { events, reached } = gather({ ...options, lastEventId });
    await reached(1);
    expect(types(events)).toEqual(['reset']);
    await create();
    await reached(2);
    expect(types(events)).toEqual(['reset', 'session.connected']);
    const third = gather({ ...options, lastEventId: events[0]!.id });
    await third.reached(1);
    expect(third.events[0]).toEqual(events[1]);
  });

  it('opens another stream with a new token when the old one is over', async () => {
    const { options, opened, tokens, errors } = reader({ ttlMs: 5 * MINUTE });
    const { events, reached } = gather(options);
    await opened(1);
    test.clock.advance(6 * MINUTE);
    test.service.streams.tick();
    await opened(2);
    await create();
    await reached(1);
    expect(types(events)).toEqual(['session.connected']);
    expect(new Set(tokens).size).toBe(2);
    expect(errors).toEqual([]);
  });

  it('goes on where it was when the server is another', async () => {
    const { options, opened } = reader();
    const { events, reached } = gather(options);
    await opened(1);
    await create();
    await reached(1);
    await test.service.close();
    const { directory, clock } = test;
    test = await startTestService({ directory, clock });
    await create();
    proxy.leadTo(test.url);
    await reached(2);
    expect(types(events)).toEqual(['session.connected', 'session.connected']);
  });

  it.each([
    ['without the scope', { scopes: ['sessions:write'] }, 403],
    ['for another organization', { organizationId: 'org_other' }, 404],
  ])('is refused %s', async (_name, request, status) => {
    const { options } = reader(request);
    expect(await gather(options).failed).toMatchObject({ name: 'ProblemError', status });
  });
});

describe('watchSession', () => {
  it.each(['sessions:read', 'sessions:write'])('is told of a revoke (%s)', async (scope) => {
    const { id: sessionId } = await create();
    const { options, opened } = reader({ scopes: [scope] });
    const end = watchSession({ ...options, sessionId }, timing);
    await opened(1);
    await revokeAll();
    expect(await end).toMatchObject({ sessionId, reason: 'revoked', retryAfterMs: expect.any(Number) });
  });

  it('is told of a revoke that happened while nobody could tell it', async () => {
    const { id: sessionId } = await create();
    const { options, opened } = reader();
    const end = watchSession({ ...options, sessionId }, timing);
    await opened(1);
    proxy.cut();
    await revokeAll();
    proxy.mend();
    expect(await end).toMatchObject({ reason: 'revoked' });
  });

  it('keeps the session alive, through the end that the server gives every stream, until it is left', async () => {
    const { id: sessionId, connectedAt } = await create();
    const { options, opened } = reader();
    const leave = new AbortController();
    const end = watchSession({ ...options, signal: leave.signal, sessionId }, timing).catch(() => 'left');
    for (let round = 1; round <= 3; round += 1) {
      await opened(round);
      await pass(3 * MINUTE);
      expect(await read(sessionId)).toMatchObject({ status: 'active', connectedAt });
      test.clock.advance(4 * MINUTE);
      test.service.streams.tick();
    }
    await opened(4);
    leave.abort();
    expect(await end).toBe('left');
    while (test.service.streams.count > 0) await new Promise(setImmediate);
    await pass(2 * MINUTE);
    expect(await read(sessionId)).toMatchObject({ status: 'disconnected', disconnectReason: 'lost' });
  });
});

describe('connect', () => {
  const own = (more: TokenRequest = {}) => reader({ scopes: ['sessions:connect'], subject: 'ada', ...more });
  const connected = async ({ options, opened }: ReturnType<typeof own>, more: Partial<ConnectOptions> = {}): Promise<{ connection: Connection; told: Disconnected[] }> => {
    const told: Disconnected[] = [];
    const connection = await connect({ ...options, onDisconnect: (end) => void told.push(end), ...more }, timing);
    await opened(1);
    return { connection, told };
  };

  it('needs no more than sessions:connect, and is told when it is thrown out; the login is then refused', async () => {
    const agent = own();
    const { connection, told } = await connected(agent, { session: { hostname: 'build-07', clientInfo: { name: 'desk' } } });
    expect(await read(connection.session.id)).toMatchObject({ name: 'desk on build-07', userId: 'ada', status: 'active' });
    await revokeAll();
    const end = await connection.disconnected;
    expect(end).toMatchObject({ reason: 'revoked', detail: 'Authenticate again and create a new session.' });
    expect(told).toEqual([end]);
    await expect(connect({ ...agent.options, token: agent.tokens[0]! }, timing)).rejects.toMatchObject({ code: 'credential-revoked' });
  });

  it('comes back as the same session after it was lost', async () => {
    const agent = own();
    const { connection, told } = await connected(agent);
    const { id } = connection.session;
    proxy.cut();
    while (test.service.streams.count > 0) await new Promise(setImmediate);
    await pass(2 * MINUTE);
    expect(await read(id)).toMatchObject({ status: 'disconnected', disconnectReason: 'lost' });
    proxy.mend();
    await agent.opened(2);
    expect(await read(id)).toMatchObject({ status: 'active' });
    expect(connection.session.id).toBe(id);
    expect(told).toEqual([]);
  });

  it('does not come back after it was revoked while it was lost', async () => {
    const agent = own();
    const { connection } = await connected(agent);
    proxy.cut();
    while (test.service.streams.count > 0) await new Promise(setImmediate);
    await pass(2 * MINUTE);
    await revokeAll();
    proxy.mend();
    expect(await connection.disconnected).toMatchObject({ reason: 'revoked' });
  });

  it('brings the new token along when the old one is over, and a revoke denies both', async () => {
    const agent = own({ ttlMs: 5 * MINUTE });
    const { connection } = await connected(agent);
    const { id, tokenExpiresAt: before = '' } = connection.session;
    test.clock.advance(6 * MINUTE);
    expect(await read(id)).toMatchObject({ derivedStatus: 'expired' });
    test.service.streams.tick();
    await agent.opened(2);
    const now = await read(id);
    expect(now).toMatchObject({ status: 'active' });
    expect(now.derivedStatus).not.toBe('expired');
    expect(Date.parse(now.tokenExpiresAt)).toBeGreaterThan(Date.parse(before));
    await revokeAll();
    await connection.disconnected;
    await expect(connect({ ...agent.options, token: agent.tokens.at(-1)! }, timing)).rejects.toMatchObject({ code: 'credential-revoked' });
  });

  it('survives a restart of the server', async () => {
    const agent = own();
    const { connection } = await connected(agent);
    await test.service.close();
    const { directory, clock } = test;
    test = await startTestService({ directory, clock });
    proxy.leadTo(test.url);
    await agent.opened(2);
    expect(await read(connection.session.id)).toMatchObject({ status: 'active' });
  });

  it('reports that it is used', async () => {
    const { connection } = await connected(own());
    const at = new Date(test.clock.now());
    connection.active(at);
    while (!(await read(connection.session.id)).lastActiveAt) await new Promise(setImmediate);
    expect(await read(connection.session.id)).toMatchObject({ lastActiveAt: at.toISOString() });
  });

  it('ends its session when it is closed', async () => {
    const { connection, told } = await connected(own());
    await connection.close();
    expect(await read(connection.session.id)).toMatchObject({ status: 'disconnected', disconnectReason: 'ended' });
    expect(told).toEqual([]);
  });

  it('is told when somebody else ends it', async () => {
    const { connection } = await connected(own());
    await test.call('POST', `${app}/sessions/${connection.session.id}/end`);
    expect(await connection.disconnected).toMatchObject({ reason: 'ended' });
  });
});
