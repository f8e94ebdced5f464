// The adapter on the fake service, as authors of MCP servers test theirs: parts of its own suite, and what their tests will want to know.
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createFakeRollcall } from '../../../client/testing.ts';
import { connectClient, grant, rejection, startMcpServer, statusOf, type ClientKind, type ServerKind } from '../../support/mcp.ts';

const TOKEN = 'a-token', MATRIX: [ServerKind, ClientKind][] = [['v1 sessionful SSE', 'v1'], ['v1 stateless', 'v1'], ['v2 sessionful', 'v2'], ['v2 createMcpHandler', 'v2 negotiating']];

async function start(kind: ServerKind, rollcall = createFakeRollcall(), options = {}) {
  const server = await startMcpServer(kind, { service: rollcall.service, reportEveryMs: 50, ...options }, { [TOKEN]: grant('ada') });
  onTestFinished(() => server.close());
  return { rollcall, server };
}

async function connect(kind: ClientKind, url: string) {
  const client = await connectClient(kind, url, { token: TOKEN, hostname: 'build-07' });
  onTestFinished(() => client.close());
  await client.call('echo');
  return client;
}

describe('mcpSessions on the fake service', () => {
  it.each(MATRIX)('shows a client, cuts its call and refuses it from then on (%s, %s)', async (serverKind, clientKind) => {
    const { rollcall, server } = await start(serverKind);
    const client = await connect(clientKind, server.url);
    await vi.waitFor(() => { expect(rollcall.sessions()).toMatchObject([{ status: 'active', userId: 'ada', hostname: 'build-07', lastActiveAt: expect.any(String) }]); });
    const cut = rejection(client.call('wait'));
    await server.tool.started;
    expect(rollcall.revokeAll({ userId: 'ada' })).toBe(1);
    expect(String(await cut)).toMatch(/session revoked|session_revoked/i);
    expect(statusOf(await rejection(client.call('echo')))).toBe(401);
    expect(statusOf(await rejection(connectClient(clientKind, server.url, { token: TOKEN })))).toBe(401);
    expect(rollcall.sessions()).toMatchObject([{ disconnectReason: 'revoked' }]);
    expect(rollcall.deniedCredentials()).toHaveLength(1);
    expect(server.errors).toEqual([]);
  });

  it('cuts everybody with one revoke, and refuses them after a restart of the server, too', async () => {
    const { rollcall, server } = await start('v1 sessionful SSE');
    const client = await connect('v1', server.url);
    await vi.waitFor(() => { expect(rollcall.sessions()).toHaveLength(1); });
    expect(rollcall.revokeAll()).toBe(1);
    await vi.waitFor(async () => { expect(statusOf(await rejection(client.call('echo')))).toBe(401); });
    const { server: next } = await start('v1 sessionful SSE', rollcall);
    expect(statusOf(await rejection(connectClient('v1', next.url, { token: TOKEN })))).toBe(401);
  });

  it('ends the session of a client that says goodbye', async () => {
    const { rollcall, server } = await start('v1 sessionful SSE');
    const client = await connect('v1', server.url);
    await vi.waitFor(() => { expect(rollcall.sessions()).toHaveLength(1); });
    await client.terminate();
    await vi.waitFor(() => { expect(rollcall.sessions()).toMatchObject([{ disconnectReason: 'ended' }]); });
  });

  it('makes good for an outage', async () => {
    const { rollcall, server } = await start('v1 sessionful SSE');
    await server.sessions.ready;
    rollcall.setReachable(false);
    await connect('v1', server.url); // is served all the same
    expect(rollcall.sessions()).toEqual([]);
    rollcall.setReachable(true);
    await vi.waitFor(() => { expect(rollcall.sessions()).toMatchObject([{ status: 'active' }]); }, { timeout: 10_000 });
  });
});
