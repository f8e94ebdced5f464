// Who is still there: clients that are killed, that fall silent, that say goodbye, that come back, and that are somebody else.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { connectClient, grant, initialize, MODERN, openRoom, post, realClock, startMcpServer, type ClientKind, type ServerKind, type Tokens } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

const LEASE_MS = 2_000;
const ECHO = { method: 'tools/call', params: { name: 'echo', arguments: {} } };
const MODERN_ECHO = { method: 'tools/call', params: { name: 'echo', arguments: {}, _meta: MODERN } };
/** Vitest's own, which in concurrent tests has to come from the test's context. */
type Finished = (done: () => void | Promise<void>) => void;
const CHILD = new URL('../../support/mcp-client.ts', import.meta.url);

describe('mcpSessions', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ env: { LEASE: `${LEASE_MS}ms` }, clock: realClock, background: true }); });
  afterAll(() => test.close());

  async function start(kind: ServerKind, options = {}, tokens?: Tokens, finished: Finished = onTestFinished) {
    const room = await openRoom(test);
    const server = await startMcpServer(kind, { service: room.service, reportEveryMs: 100, ...options }, tokens);
    finished(() => server.close());
    return { room, server };
  }

  /** A client in a process of its own, connected and having called a tool. */
  async function spawnClient(kind: ClientKind, url: string, finished: Finished): Promise<ChildProcess> {
    const child = fork(CHILD, [kind, url], { execArgv: [] });
    finished(() => void child.kill('SIGKILL'));
    await once(child, 'message');
    return child;
  }

  it.concurrent.for([['v1', 'v1 sessionful SSE'], ['v2', 'v2 sessionful']] as const)('sees a killed %s client with an open stream disconnected after the lease (%s)', { timeout: 60_000 }, async ([client, kind], { onTestFinished: finished }) => {
    const { room, server } = await start(kind, { idleTimeoutMs: 10_000 }, undefined, finished);
    const child = await spawnClient(client, server.url, finished);
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ status: 'active' }); });
    await vi.waitFor(() => { expect(server.sessions.stats().exchanges).toBe(1); });
    const killedAt = Date.now();
    child.kill('SIGKILL');
    const gone = await vi.waitFor(async () => {
      const session = await room.only();
      expect(session).toMatchObject({ status: 'disconnected', disconnectReason: 'lost' });
      return session;
    }, { timeout: 12_000, interval: 100 });
    const after = Date.parse(String(gone['disconnectedAt'])) - killedAt;
    expect(after).toBeGreaterThan(LEASE_MS - 1_000); // not before the lease: the last report was at most one round before its end
    expect(after).toBeLessThan(9_000); // because the stream closed, and not because it was idle for too long
    await vi.waitFor(() => { expect({ ...server.sessions.stats(), transports: server.transports() }).toEqual({ sessions: 0, unregistered: 0, exchanges: 0, denied: 0, transports: 0 }); }, { timeout: 12_000, interval: 100 });
  });

  it.concurrent.for([['v1', 'v1 stateless'], ['v2 negotiating', 'v2 createMcpHandler']] as const)('sees a killed %s client without a stream disconnected after the idle timeout and the lease (%s)', { timeout: 60_000 }, async ([client, kind], { onTestFinished: finished }) => {
    const { room, server } = await start(kind, { idleTimeoutMs: 1_000 }, undefined, finished);
    const child = await spawnClient(client, server.url, finished);
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ status: 'active' }); });
    child.kill('SIGKILL');
    await vi.waitFor(() => { expect(server.sessions.stats()).toEqual({ sessions: 0, unregistered: 0, exchanges: 0, denied: 0 }); }, { timeout: 5_000, interval: 100 });
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ status: 'disconnected', disconnectReason: 'lost' }); }, { timeout: 12_000, interval: 100 });
  });

  it('frees the transport of a client that has been idle for too long', async () => {
    const { server } = await start('v1 sessionful JSON', { idleTimeoutMs: 500 });
    await initialize(server.url);
    expect(server.transports()).toBe(1);
    await vi.waitFor(() => { expect(server.transports()).toBe(0); }, { timeout: 5_000 });
    expect(server.sessions.stats().sessions).toBe(0);
  });

  it('brings a lost client of the 2026 era back as the same session', async () => {
    const { room, server } = await start('v2 createMcpHandler', { idleTimeoutMs: 300 }, { token: grant('alice') });
    await (await post(server.url, MODERN_ECHO, { token: 'token' })).text();
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ disconnectReason: 'lost' }); }, { timeout: 12_000, interval: 100 });
    const { id } = await room.only();
    await (await post(server.url, MODERN_ECHO, { token: 'token' })).text();
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ id, status: 'active' }); });
  });

  it('ends the session of a stateless server when the client says goodbye to the id it was given', async () => {
    const { room, server } = await start('v1 stateless');
    const client = await connectClient('v1', server.url);
    expect(client.sessionId).toMatch(/^rollcall-/);
    await vi.waitFor(room.only);
    await client.terminate();
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ disconnectReason: 'ended' }); });
    expect(server.sessions.stats().sessions).toBe(0);
  });

  it('ends a session whose client leaves before the service has answered', async () => {
    const { room, server } = await start('v1 stateless');
    const createSession = test.service.store.connect;
    const held = Promise.withResolvers<void>();
    const connect = vi.spyOn(test.service.store, 'connect').mockImplementationOnce(async (...args) => { await held.promise; return createSession(...args); });
    onTestFinished(() => connect.mockRestore());
    const sessionId = await initialize(server.url);
    expect((await fetch(server.url, { method: 'DELETE', headers: { 'Mcp-Session-Id': sessionId } })).status).toBe(200);
    held.resolve();
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ disconnectReason: 'ended' }); });
  });

  it('takes pings and notifications for no activity', async () => {
    const { room, server } = await start('v1 sessionful SSE');
    const sessionId = await initialize(server.url);
    const { id } = await vi.waitFor(room.only);
    await (await post(server.url, { method: 'notifications/initialized', id: undefined }, { sessionId })).text();
    await (await post(server.url, { method: 'ping' }, { sessionId })).text();
    const beats = vi.spyOn(test.service.store, 'recordHeartbeats');
    onTestFinished(() => beats.mockRestore());
    await vi.waitFor(() => { expect(beats.mock.calls.filter(([, , given]) => given.some((beat) => beat.sessionId === id)).length).toBeGreaterThan(1); }, 5_000);
    expect(await room.only()).not.toHaveProperty('lastActiveAt');
    await (await post(server.url, ECHO, { sessionId })).text();
    await vi.waitFor(async () => { expect(await room.only()).toHaveProperty('lastActiveAt'); });
  });

  it('reports a refreshed token, and a revoke denies the old one and the new one', async () => {
    const tokens = { first: grant('alice', { ttlS: 600 }), second: grant('alice', { ttlS: 1_200 }) };
    const { room, server } = await start('v1 sessionful SSE', {}, tokens);
    const sessionId = await initialize(server.url, { token: 'first' });
    await vi.waitFor(room.only);
    await (await post(server.url, ECHO, { token: 'second', sessionId })).text();
    await vi.waitFor(async () => { expect(Date.parse(String((await room.only())['tokenExpiresAt'])) / 1_000).toBe(tokens.second.expiresAt); });
    await room.revokeAll();
    for (const token of ['first', 'second']) await vi.waitFor(async () => { expect((await post(server.url, ECHO, { token, sessionId })).status).toBe(401); });
  });

  it('denies by the claim that outlives the tokens, and knows the session by it', async () => {
    const { room, server } = await start('v2 createMcpHandler', {}, { first: grant('alice', { sid: 'login-1' }), second: grant('alice', { sid: 'login-1' }), third: grant('alice', { sid: 'login-1' }), new: grant('alice', { sid: 'login-2' }) });
    for (const token of ['first', 'second']) await (await post(server.url, MODERN_ECHO, { token })).text();
    await vi.waitFor(room.only);
    await room.revokeAll();
    await vi.waitFor(async () => { expect((await post(server.url, MODERN_ECHO, { token: 'third' })).status).toBe(401); });
    expect((await post(server.url, MODERN_ECHO, { token: 'new' })).status).toBe(200);
    const { deniedUntil } = (await test.call('GET', `/applications/${room.service.applicationId}/revoked-credentials`)).body.items[0];
    expect(Date.parse(deniedUntil) - Date.now()).toBeGreaterThan(29 * 24 * 3_600_000); // not only until the token's end
  });

  it('lets in again who was allowed again, and whoever logged in anew is told to connect anew', async () => {
    const { room, server } = await start('v1 sessionful SSE', {}, { old: grant('alice'), new: grant('alice', { ttlS: 7_200 }) });
    const sessionId = await initialize(server.url, { token: 'old' });
    await vi.waitFor(room.only);
    await room.revokeAll();
    await vi.waitFor(async () => { expect((await post(server.url, ECHO, { token: 'old', sessionId })).status).toBe(401); });
    // A 401 here would send the client to log in over and over.
    expect((await post(server.url, ECHO, { token: 'new', sessionId })).status).toBe(404);
    expect(await initialize(server.url, { token: 'new' })).not.toBe(sessionId);
  });

  it('answers 404 to another principal that uses the session id', async () => {
    const { room, server } = await start('v1 stateless', {}, { alice: grant('alice'), mallory: grant('mallory') });
    const sessionId = await initialize(server.url, { token: 'alice' });
    await vi.waitFor(room.only);
    const answer = await post(server.url, ECHO, { token: 'mallory', sessionId });
    expect([answer.status, await answer.json()]).toEqual([404, { jsonrpc: '2.0', id: 1, error: { code: -32_001, message: 'Session not found', data: { reason: 'session_not_found' } } }]);
    expect((await fetch(server.url, { method: 'DELETE', headers: { Authorization: 'Bearer mallory', 'Mcp-Session-Id': sessionId } })).status).toBe(404);
    expect((await post(server.url, ECHO, { token: 'alice', sessionId })).status).toBe(200);
    await room.revokeAll();
    await vi.waitFor(async () => { expect((await post(server.url, ECHO, { token: 'alice', sessionId })).status).toBe(401); });
    expect((await post(server.url, ECHO, { token: 'mallory', sessionId })).status).toBe(404);
  });

  it('registers whatever a client says of itself, cut to size', async () => {
    const { room, server } = await start('v1 stateless');
    await initialize(server.url, { clientInfo: { name: `a\u0000b\nc\ud800${'😀'.repeat(300)}`, version: 7, title: '   ', icons: [{ src: `data:${'x'.repeat(20_000)}` }], websiteUrl: 'https://client.example' }, headers: { 'X-Client-Hostname': 'h'.repeat(1_000), 'User-Agent': `u\t${'v'.repeat(2_000)}` } });
    await vi.waitFor(async () => {
      const { clientInfo, hostname, userAgent } = await room.only();
      expect(clientInfo).toEqual({ name: `a b c ${'😀'.repeat(194)}`, websiteUrl: 'https://client.example' });
      expect([String(hostname).length, String(userAgent).length]).toEqual([255, 500]);
    });
    expect(server.errors).toEqual([]);
  });
});
