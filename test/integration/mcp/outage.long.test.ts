// When the service is away, when the server itself restarts, and when news of a revoke gets lost on the way.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createMcpSessions } from '../../../client/mcp/adapter.ts';
import { type Registry, serviceRegistry } from '../../../client/mcp/registry.ts';
import { connectClient, grant, initialize, openRoom, post, realClock, rejection, startMcpServer, statusOf } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

const ECHO = { method: 'tools/call', params: { name: 'echo', arguments: {} } };
const SOON = { timeout: 12_000, interval: 50 };
const env = { LEASE: '30s' };

/** A service that can be away, and back at the same address. */
async function startService() {
  const first = await startTestService({ env, clock: realClock, background: true });
  const state = { now: first, isUp: true };
  onTestFinished(() => state.now.close());
  return {
    first,
    get test(): TestService { return state.now; },
    async stop() { await state.now.service.close(); },
    async start() { state.now = await startTestService({ env: { ...env, PORT: new URL(first.url).port }, clock: realClock, background: true, directory: first.directory }); },
  };
}

describe('mcpSessions', () => {
  it('serves while the service is away, and registers later whom it could not register', async () => {
    const service = await startService(), room = await openRoom(service.first);
    await service.stop();
    const server = await startMcpServer('v1 sessionful SSE', { service: room.service, reportEveryMs: 100 });
    onTestFinished(() => server.close());
    const client = await connectClient('v1', server.url);
    onTestFinished(() => client.close());
    await client.call('echo');
    expect(server.sessions.stats()).toMatchObject({ sessions: 1, unregistered: 1 });
    expect(server.errors).not.toEqual([]);
    await service.start();
    const again = await openRoomOf(service.test, room.service.applicationId);
    await vi.waitFor(async () => { expect(await again.only()).toMatchObject({ status: 'active', clientInfo: { name: 'client-v1' } }); }, SOON);
    await vi.waitFor(async () => { expect(await again.only()).toHaveProperty('lastActiveAt'); }, SOON);
    await again.revokeAll();
    await vi.waitFor(async () => { expect(statusOf(await rejection(client.call('echo')))).toBe(404); }, SOON);
  });

  it('goes on when the service was restarted, and hears of revokes again', async () => {
    const service = await startService(), room = await openRoom(service.first);
    const server = await startMcpServer('v1 stateless', { service: room.service, reportEveryMs: 100 }, { token: grant('alice') });
    onTestFinished(() => server.close());
    const sessionId = await initialize(server.url, { token: 'token' });
    const { id } = await vi.waitFor(room.only);
    await service.stop();
    expect((await post(server.url, ECHO, { token: 'token', sessionId })).status).toBe(200);
    await service.start();
    const again = await openRoomOf(service.test, room.service.applicationId);
    expect(await again.only()).toMatchObject({ id, status: 'active' });
    await again.revoke(id);
    await vi.waitFor(async () => { expect((await post(server.url, ECHO, { token: 'token', sessionId })).status).toBe(401); }, SOON);
  });

  it('with `deny` serves nobody it cannot vouch for', async () => {
    const service = await startService(), room = await openRoom(service.first);
    await service.stop();
    const server = await startMcpServer('v1 stateless', { service: room.service, reportEveryMs: 100, onServiceError: 'deny' });
    onTestFinished(() => server.close());
    const answer = await post(server.url, { method: 'initialize', params: {} });
    expect([answer.status, answer.headers.get('retry-after'), await answer.json()]).toEqual([503, '2', expect.objectContaining({ error: expect.objectContaining({ data: { reason: 'service_unavailable' } }) })]);
    await service.start();
    const sessionId = await vi.waitFor(() => initialize(server.url), SOON);
    expect((await post(server.url, ECHO, { sessionId })).status).toBe(200);
    expect((await openRoomOf(service.test, room.service.applicationId).then((again) => again.list()))).toHaveLength(1);
  });

  it('with `deny` holds a request back until the service has confirmed its session', async () => {
    const { test } = await startService(), room = await openRoom(test);
    const server = await startMcpServer('v1 stateless', { service: room.service, onServiceError: 'deny' });
    onTestFinished(() => server.close());
    await server.sessions.ready;
    const connect = vi.spyOn(test.service.store, 'connect').mockRejectedValue(new Error('not today'));
    const sessionId = await vi.waitFor(() => initialize(server.url), SOON);
    expect((await post(server.url, ECHO, { sessionId })).status).toBe(503);
    connect.mockRestore();
    expect((await post(server.url, ECHO, { sessionId })).status).toBe(200);
    expect(await room.list()).toHaveLength(1);
  });

  it('refuses from its first request on what was revoked before it started', async () => {
    const { test } = await startService(), room = await openRoom(test), tokens = { token: grant('alice') };
    const first = await startMcpServer('v1 stateless', { service: room.service }, tokens);
    const sessionId = await initialize(first.url, { token: 'token' });
    await vi.waitFor(room.only);
    await first.close();
    await room.revokeAll();
    const second = await startMcpServer('v1 stateless', { service: room.service }, tokens);
    onTestFinished(() => second.close());
    expect((await post(second.url, ECHO, { token: 'token', sessionId })).status).toBe(401);
    expect(second.sessions.stats().sessions).toBe(0);
  });

  it('goes on with the same session after its own restart, and without a token makes a new one', async () => {
    const { test } = await startService(), room = await openRoom(test);
    const first = await startMcpServer('v1 stateless', { service: room.service });
    const sessionId = await initialize(first.url);
    const { id } = await vi.waitFor(room.only);
    await first.close();
    expect(await room.only()).toMatchObject({ status: 'active' }); // left to lapse
    const second = await startMcpServer('v1 stateless', { service: room.service, reportEveryMs: 100 });
    onTestFinished(() => second.close());
    expect((await post(second.url, ECHO, { sessionId })).status).toBe(200);
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ id, clientInfo: { name: 'raw' }, lastActiveAt: expect.any(String) }); });
  });

  it.each(['one', 'all'])('learns of a revoke (%s) from the next heartbeat when no event comes', async (which) => {
    const { test } = await startService(), room = await openRoom(test);
    const server = await startMcpServer('v2 sessionful', { service: room.service, reportEveryMs: 100 }, undefined, { make: (options) => createMcpSessions(deaf(serviceRegistry(options.service)), options) });
    onTestFinished(() => server.close());
    const client = await connectClient('v2', server.url);
    onTestFinished(() => client.close());
    const { id } = await vi.waitFor(room.only);
    const cut = rejection(client.call('wait'));
    await server.tool.started;
    await (which === 'one' ? room.revoke(id) : room.revokeAll());
    expect(String(await cut)).toContain('Session revoked');
  });

  it('cuts everybody when the application is deleted', async () => {
    const { test } = await startService(), room = await openRoom(test);
    const server = await startMcpServer('v1 sessionful JSON', { service: room.service });
    onTestFinished(() => server.close());
    const client = await connectClient('v1', server.url);
    onTestFinished(() => client.close());
    await vi.waitFor(room.only);
    const cut = rejection(client.call('wait'));
    await server.tool.started;
    expect((await test.call('DELETE', `/applications/${room.service.applicationId}`)).status).toBe(200);
    expect(statusOf(await cut)).toBe(404);
  });

  it('lets the process end once it is closed', async () => {
    const { test } = await startService(), room = await openRoom(test);
    const support = new URL('../../support/mcp.ts', import.meta.url).href;
    const token = await test.token({ scopes: ['sessions:read', 'sessions:write'] });
    const code = `
      import { initialize, startMcpServer } from ${JSON.stringify(support)};
      const server = await startMcpServer('v1 stateless', { service: { baseUrl: ${JSON.stringify(test.url)}, applicationId: ${JSON.stringify(room.service.applicationId)}, token: ${JSON.stringify(token)} } });
      await initialize(server.url);
      await server.close();
      console.log(JSON.stringify(server.sessions.stats()));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], { timeout: 15_000 });
    expect(JSON.parse(stdout)).toMatchObject({ sessions: 0, unregistered: 0, exchanges: 0 });
  });
});

/** The application again, asked through the service that is running now. */
async function openRoomOf(test: TestService, applicationId: string) {
  return openRoom({ ...test, application: async () => applicationId });
}

/** Events never come; everything else does. */
function deaf(registry: Registry): Registry {
  return {
    ...registry,
    async *events(signal) {
      await new Promise((resolve) => { signal.addEventListener('abort', resolve); });
    },
  };
}
