// What the adapter keeps and sends, against a service of the test's own: how much, how often, and in which order.
import { EventEmitter, getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createMcpSessions } from '../../../client/mcp/adapter.ts';
import { createDenials } from '../../../client/mcp/denials.ts';
import type { McpRequest, McpResponse } from '../../../client/mcp/http.ts';
import type { McpSessionsOptions } from '../../../client/mcp/options.ts';
import type { Registry, RegistryEvent } from '../../../client/mcp/registry.ts';
import { startWatcher } from '../../../client/mcp/watcher.ts';
import type { Heartbeat, NewSession } from '../../../client/types.ts';

/** A service that remembers what it was told, and says what the test wants said. */
function fakeService() {
  const events: RegistryEvent[] = [], bell = new EventEmitter();
  const service = {
    created: [] as NewSession[], beats: [] as Heartbeat[][], denied: [] as { credentialId: string; until: number }[], ended: [] as string[], lists: 0,
    over: [] as { sessionId: string; reason: string }[],
    /** Called before a session is answered. */
    beforeAnswer: async () => {},
    tell(event: RegistryEvent) { events.push(event); bell.emit('event'); },
  };
  const registry: Registry = {
    async create(session) {
      service.created.push(session);
      const sessionId = `session-${service.created.length}`;
      await service.beforeAnswer();
      return { sessionId, generation: 1 };
    },
    beat: async (heartbeats) => { service.beats.push(heartbeats); return service.over.splice(0); },
    end: async (sessionId) => { service.ended.push(sessionId); },
    async *deniedCredentials() { service.lists += 1; yield* service.denied; },
    async *events(signal, onState) {
      onState(true);
      while (!signal.aborted) {
        yield* events.splice(0);
        await new Promise<void>((resolve) => { bell.once('event', resolve); signal.addEventListener('abort', () => resolve()); });
      }
    },
  };
  return { service, registry };
}

/** A response that is written to by hand. */
function fakeResponse() {
  const emitter = new EventEmitter(), written: string[] = [];
  const headers: Record<string, unknown> = {};
  let status: number | undefined, isEnded = false;
  const response: McpResponse = {
    get headersSent() { return status !== undefined; }, get writableEnded() { return isEnded; }, destroyed: false,
    writeHead: (given: number) => { status = given; }, write: (chunk) => written.push(chunk),
    end: (chunk) => { if (chunk !== undefined) written.push(chunk); isEnded = true; emitter.emit('close'); },
    setHeader: (name, value) => { headers[name.toLowerCase()] = value; }, getHeader: (name) => headers[name.toLowerCase()],
    destroy: () => emitter.emit('close'), once: (event, listener) => emitter.once(event, listener),
  };
  return { response, written, headers, get status() { return status; } };
}

async function start(options: Partial<McpSessionsOptions> = {}, { service, registry } = fakeService()) {
  const errors: unknown[] = [];
  const sessions = createMcpSessions(registry, { reportEveryMs: 20, onError: (error) => errors.push(error), ...options });
  onTestFinished(() => sessions.close());
  await sessions.ready;
  /** One request; the server behind answers 200 at once, unless the adapter has answered. */
  const visit = (given: Partial<McpRequest>, { finish = true, status = 200 } = {}) => {
    const fake = fakeResponse(), request: McpRequest = { method: 'POST', headers: {}, body: {}, ...given };
    sessions(request, fake.response, (error) => {
      if (error !== undefined) throw error;
      fake.response.writeHead(status);
      if (finish) fake.response.end();
    });
    return { ...fake, get status() { return fake.status; }, request };
  };
  const connect = (request: Partial<McpRequest> = {}) => String(visit({ ...request, body: { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} } }).headers['mcp-session-id']);
  const call = (sessionId: string, request: Partial<McpRequest> = {}) => visit({ ...request, headers: { 'mcp-session-id': sessionId }, body: { jsonrpc: '2.0', id: 2, method: 'tools/call' } });
  return { sessions, service, visit, connect, call, errors };
}

describe('mcpSessions', () => {
  it('sends at most 1,000 heartbeats in a call, and says of each session once that it was active', async () => {
    const { service, connect, call } = await start({ maxSessions: 5_000, reportEveryMs: 100 });
    const ids = Array.from({ length: 2_500 }, () => connect());
    await vi.waitFor(() => { expect(service.created).toHaveLength(2_500); });
    service.beats.length = 0;
    for (let calls = 0; calls < 3; calls += 1) for (const id of ids) call(id);
    await vi.waitFor(() => { expect(service.beats.flat().filter(({ lastActiveAt }) => lastActiveAt)).toHaveLength(2_500); });
    expect(Math.max(...service.beats.map(({ length }) => length))).toBe(1_000);
    const told = service.beats.length;
    await vi.waitFor(() => { expect(service.beats.length).toBeGreaterThan(told + 2); }); // heartbeats of everybody
    expect(service.beats.slice(told).flat().some(({ lastActiveAt }) => lastActiveAt)).toBe(false);
  });

  it('keeps at most so many connections: the quietest makes room, and when none is quiet nobody gets in', async () => {
    const closed: string[] = [];
    const { sessions, visit, connect, call } = await start({ maxSessions: 2, closeTransport: (id) => closed.push(id) });
    const first = connect(), second = connect();
    call(first);
    const third = connect();
    expect(sessions.stats().sessions).toBe(2);
    // Ids that nobody accepts push nobody out.
    for (let guesses = 0; guesses < 5; guesses += 1) visit({ headers: { 'mcp-session-id': `guess-${guesses}` }, body: { jsonrpc: '2.0', id: 1, method: 'tools/call' } }, { status: 404 });
    expect(sessions.session(call(third).request)).toMatchObject({ mcpSessionId: third });
    expect(call(second).status).toBe(200); // as a session that is new here: it had made room for the third
    expect(sessions.stats().sessions).toBe(2);
    for (const id of [second, third]) visit({ method: 'GET', headers: { 'mcp-session-id': id } }, { finish: false });
    const last = visit({ body: { jsonrpc: '2.0', id: 1, method: 'initialize' } });
    expect([last.status, sessions.stats().sessions]).toEqual([503, 2]);
    expect(closed).toEqual([]); // these ids were made up by the adapter: there is no transport
  });

  it('cuts everybody else when one response cannot be written to', async () => {
    const { service, connect, visit, errors } = await start();
    const open = (sessionId: string) => visit({ method: 'GET', headers: { 'mcp-session-id': sessionId } }, { finish: false });
    const [broken, whole] = [open(connect()), open(connect())];
    await vi.waitFor(() => { expect(service.created).toHaveLength(2); });
    broken.response.destroy = () => { throw new Error('broken'); };
    const destroyed = vi.spyOn(whole.response, 'destroy');
    service.tell({ type: 'revoked-all', generation: 1 });
    await vi.waitFor(() => { expect(destroyed).toHaveBeenCalled(); });
    expect(errors).toEqual([new Error('broken')]);
  });

  it('hears a revoke that comes before the answer that names its session', async () => {
    for (const event of [{ type: 'revoked-all', generation: 1 }, { type: 'ended', sessionId: 'session-1', reason: 'revoked' }] as const) {
      const fake = fakeService(), held = Promise.withResolvers<void>();
      fake.service.beforeAnswer = () => held.promise;
      const revoked = vi.fn();
      const { connect, call, sessions } = await start({ onRevoked: revoked }, fake);
      const id = connect();
      fake.service.tell(event);
      await vi.waitFor(() => { expect(fake.service.lists).toBe(3); }); // two at the start, one because of what was heard
      held.resolve();
      await vi.waitFor(() => { expect(revoked).toHaveBeenCalledTimes(1); });
      expect(call(id).status).toBe(404);
      expect(sessions.stats().sessions).toBe(0);
    }
  });

  it('leaves sessions of a newer generation alone', async () => {
    const { service, connect, call } = await start();
    const id = connect();
    service.tell({ type: 'revoked-all', generation: 0 });
    await vi.waitFor(() => { expect(service.lists).toBe(3); }); // two at the start, one because of what was heard
    expect(call(id).status).toBe(200);
  });

  it('makes a new session of a connection that the service has forgotten', async () => {
    const { service, connect } = await start();
    connect();
    await vi.waitFor(() => { expect(service.created).toHaveLength(1); });
    service.over.push({ sessionId: 'session-1', reason: 'unknown' });
    await vi.waitFor(() => { expect(service.created).toHaveLength(2); });
    expect(service.created[1]).toEqual(service.created[0]);
  });

  it('reports a refreshed token, and neither an older one nor one whose end is merely counted anew', async () => {
    const { service, connect, call } = await start();
    const from = Math.floor(Date.now() / 1_000);
    const auth = (endsIn: number) => ({ auth: { token: 'opaque', clientId: 'app', scopes: [], expiresAt: from + endsIn, extra: { sid: 'login' } } });
    const id = connect(auth(600));
    await vi.waitFor(() => { expect(service.created).toHaveLength(1); });
    for (const endsIn of [601, 300, 1_200, 1_201, 600]) call(id, auth(endsIn));
    await vi.waitFor(() => { expect(service.beats.flat().filter(({ tokenExpiresAt }) => tokenExpiresAt)).toHaveLength(1); });
    const told = service.beats.length;
    await vi.waitFor(() => { expect(service.beats.length).toBeGreaterThan(told + 1); });
    expect(service.beats.flat().flatMap(({ tokenExpiresAt }) => tokenExpiresAt ?? [])).toEqual([new Date((from + 1_200) * 1_000).toISOString()]);
  });

  it('tells the host once whom it cut, and survives what the host does then', async () => {
    const auth = { token: 'opaque', clientId: 'app', scopes: [], expiresAt: Date.now() / 1_000 + 60, extra: { sub: 'alice' } };
    const refreshed = { ...auth, token: 'refreshed', expiresAt: auth.expiresAt + 600 };
    const onRevoked = vi.fn(() => { throw new Error('of the host'); });
    const { service, connect, call, errors, sessions } = await start({ onRevoked });
    const id = connect({ auth });
    call(id, { auth: refreshed });
    await vi.waitFor(() => { expect(sessions.stats().unregistered).toBe(0); });
    service.tell({ type: 'ended', sessionId: 'session-1', reason: 'revoked' });
    service.tell({ type: 'revoked-all', generation: 1 });
    // Before the service's list has been read, which knows nothing of them here.
    await vi.waitFor(() => { expect([call(id, { auth }).status, call(id, { auth: refreshed }).status]).toEqual([401, 401]); }, { interval: 1 });
    await vi.waitFor(() => { expect(errors).toEqual([new Error('of the host')]); });
    expect(onRevoked.mock.calls).toEqual([[expect.objectContaining({ sessionId: 'session-1', mcpSessionId: id, principal: 'app:alice', userId: 'alice', credentialIds: [expect.stringMatching(/^sha256:/), expect.stringMatching(/^sha256:/)] })]]);
  });

  it('names the session of a request, and refuses a denied credential in a verifier', async () => {
    const { service, registry } = fakeService();
    const { sessions } = await start({}, { service, registry });
    const auth = { token: 'opaque', clientId: 'app', scopes: [], extra: { sid: 'login' } };
    const request: McpRequest = { method: 'POST', headers: {}, auth, body: { jsonrpc: '2.0', id: 1, method: 'initialize', params: { clientInfo: { name: 'cursor' } } } };
    sessions(request, fakeResponse().response, () => {});
    expect(sessions.session(request)).toBeUndefined();
    const fake = fakeResponse();
    sessions(request, fake.response, () => fake.response.writeHead(200));
    expect(sessions.session(request)).toMatchObject({ clientInfo: { name: 'cursor' }, credentialIds: ['sid:login'] });
    const guarded = sessions.verifier({ verifyAccessToken: async () => auth }, (message) => new TypeError(message));
    expect(await guarded.verifyAccessToken('opaque')).toBe(auth);
    service.denied.push({ credentialId: 'sid:login', until: Date.now() + 60_000 });
    service.tell({ type: 'reset' });
    await vi.waitFor(() => expect(guarded.verifyAccessToken('opaque')).rejects.toThrow(TypeError));
  });

  it('asks again whether a refused credential is still denied, when it is used and some time has passed', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const { service, registry } = fakeService();
    service.denied.push({ credentialId: 'sid:login', until: Date.now() + 3_600_000 });
    const { connect, visit } = await start({}, { service, registry });
    const auth = { token: 'opaque', clientId: 'app', scopes: [], extra: { sid: 'login' } };
    const again = () => visit({ auth, body: { jsonrpc: '2.0', id: 1, method: 'initialize' } }).status;
    await vi.waitFor(() => { expect(service.lists).toBe(2); }); // at the start, and when events began to come
    service.denied.length = 0; // allowed again, of which no event tells
    expect([again(), again(), service.lists]).toEqual([401, 401, 2]);
    vi.advanceTimersByTime(16_000);
    expect(again()).toBe(401);
    await vi.waitFor(() => { expect(again()).toBe(200); });
    expect(service.lists).toBe(3);
    expect(connect({ auth })).toMatch(/^rollcall-/);
  });

  it('reports what is left when it is closed, forgets everybody, and serves nobody after that', async () => {
    const { service, sessions, connect, call } = await start({ reportEveryMs: 60_000 });
    await vi.waitFor(() => { expect(service.lists).toBe(2); });
    const id = connect();
    call(id);
    await sessions.close();
    expect(service.beats.flat()).toEqual([{ sessionId: 'session-1', lastActiveAt: expect.any(String) }]);
    expect(service.ended).toEqual([]);
    expect(sessions.stats()).toMatchObject({ sessions: 0, unregistered: 0, exchanges: 0 });
    expect(call(id).status).toBe(503);
  });

  it('says so when there is no parsed body to look at', async () => {
    const { sessions } = await start();
    const next = vi.fn();
    const ask = (headers: McpRequest['headers']) => sessions({ method: 'POST', headers }, fakeResponse().response, next);
    ask({ 'content-type': 'application/json', 'content-length': '2' });
    expect(next).toHaveBeenLastCalledWith(expect.objectContaining({ message: expect.stringContaining('express.json()') }));
    // What no parser for JSON reads, and what is empty, is for the MCP handler to refuse.
    for (const headers of [{ 'content-type': 'text/plain', 'content-length': '2' }, { 'content-type': 'application/json', 'content-length': '0' }]) {
      ask(headers);
      expect(next).toHaveBeenLastCalledWith();
    }
  });
});

describe('the list of denied credentials', () => {
  it('never forgets what was learnt while it was being read', async () => {
    const gate = Promise.withResolvers<void>();
    let reads = 0;
    const denials = createDenials({ async *deniedCredentials() { reads += 1; if (reads === 1) await gate.promise; yield* [] as never[]; } }, () => 1_000);
    const first = denials.refresh();
    denials.deny('a', 2_000);
    const second = denials.refresh();
    expect(denials.refresh()).toBe(second); // one more reading serves both
    gate.resolve();
    await first;
    expect(denials.isDenied('a')).toBe(true);
    await second;
    expect([denials.isDenied('a'), reads, denials.size]).toEqual([false, 2, 0]); // allowed again, or else it would be listed
  });

  it('ends each denial at its time, and keeps the old list when a new one cannot be read', async () => {
    let now = 1_000, fails = false;
    const denials = createDenials({ async *deniedCredentials() { if (fails) throw new Error('away'); yield { credentialId: 'a', until: 2_000 }; } }, () => now);
    await denials.refresh();
    fails = true;
    await expect(denials.refresh()).rejects.toThrow('away');
    expect(denials.isDenied('a')).toBe(true);
    now = 2_000;
    expect(denials.isDenied('a')).toBe(false);
  });
});

describe('the watcher', () => {
  it('leaves no listener behind, however often its stream is refused', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => { vi.useRealTimers(); });
    const { registry } = fakeService(), signals: AbortSignal[] = [], nothing = () => {};
    const events: Registry['events'] = (signal) => {
      signals.push(signal);
      throw new Error('refused');
    };
    const watcher = startWatcher({
      registry: { ...registry, events }, denials: createDenials(registry, Date.now), now: Date.now,
      onRevoked: nothing, onRevokedAll: nothing, onEnded: nothing, onOpen: nothing, onError: nothing,
    });
    for (let rounds = 0; rounds < 5; rounds += 1) await vi.advanceTimersByTimeAsync(15_000);
    expect(signals.length).toBeGreaterThan(4);
    expect(getEventListeners(signals[0]!, 'abort')).toHaveLength(1);
    watcher.stop();
    expect(getEventListeners(signals[0]!, 'abort')).toHaveLength(0);
  });
});
