// Every kind of official server with every kind of official client, with and without tokens: seen once, and really cut.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { clientKinds, connectClient, grant, rejection, serverKinds, startMcpServer, statusOf } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

/** What a revoke may take from its answer to the call it cuts, at three times the bound of one second. */
const BOUND_MS = 3_000;
const cells = serverKinds.flatMap((server) => clientKinds.flatMap((client) => (['anonymous', 'bearer'] as const).map((auth) => ({ server, client, auth }))));

describe('mcpSessions', () => {
  let test: TestService;
  const latencies: number[] = [];
  beforeAll(async () => { test = await startTestService({ env: { LEASE: '3s' }, clock: { now: Date.now, advance() {}, set() {} }, background: true }); });
  afterAll(async () => {
    await test.close();
    latencies.sort((a, b) => a - b);
    const at = (part: number) => latencies[Math.min(latencies.length - 1, Math.floor(part * latencies.length))]?.toFixed(1);
    if (latencies.length > 0) console.info(`${latencies.length} calls in flight were cut: median ${at(0.5)} ms, p95 ${at(0.95)} ms, longest ${at(1)} ms after the revoke was sent`);
  });

  it.concurrent.for(cells)('sees and cuts the $client client at the $server server, $auth', { timeout: 20_000 }, async ({ server: serverKind, client: clientKind, auth }, { onTestFinished: finished }) => {
    const applicationId = await test.application(), path = `/applications/${applicationId}`;
    const list = async () => (await test.call('GET', `${path}/sessions?status=all`)).body.items;
    const token = auth === 'bearer' ? `token-of-${serverKind}-${clientKind}`.replaceAll(' ', '-') : undefined;
    const alice = grant('alice');
    const service = { baseUrl: test.url, token: () => test.token({ scopes: ['sessions:read', 'sessions:write'] }), applicationId };
    const server = await startMcpServer(serverKind, { service, reportEveryMs: 100, resourceMetadataUrl: 'https://app.example/metadata' }, token === undefined ? undefined : { [token]: alice });
    finished(() => server.close());
    const options = { ...(token && { token }), hostname: 'build-07' };
    const client = await connectClient(clientKind, server.url, options);
    for (let calls = 0; calls < 5; calls += 1) await client.call('echo');

    // Once, as what it says it is.
    await vi.waitFor(async () => { expect(server.sessions.stats()).toMatchObject({ sessions: 1, unregistered: 0 }); });
    await vi.waitFor(async () => { expect((await list())[0]).toHaveProperty('lastActiveAt'); });
    const sessions = await list();
    expect(sessions).toHaveLength(1);
    const [session] = sessions;
    const name = `client-${clientKind.replace(' ', '-')}`;
    expect(session).toMatchObject({ name: `Client ${clientKind} on build-07`, status: 'active', derivedStatus: 'active', hostname: 'build-07', userAgent: 'node', clientInfo: { name, title: `Client ${clientKind}`, version: '1.2.3' } });
    expect(session.externalId).not.toContain(client.sessionId ?? token ?? 'anonymous');
    expect(session.userId).toBe(token && 'alice');
    expect(session.tokenExpiresAt && Date.parse(session.tokenExpiresAt) / 1_000).toBe(token && alice.expiresAt);

    // Cut, with a call in flight.
    const cut = rejection(client.call('wait')).then((error) => ({ error, at: performance.now() }));
    await server.tool.started;
    const sentAt = performance.now();
    const revoked = await test.call('DELETE', `${path}/sessions${auth === 'bearer' ? `/${session.id}` : ''}`);
    expect(revoked.body).toEqual({ success: true, disconnectedCount: 1 });
    const { error, at } = await cut;
    expect(at - sentAt).toBeLessThan(BOUND_MS);
    latencies.push(at - sentAt);
    expect(String(error)).toMatch(/session revoked|session_revoked/i);
    await server.tool.aborted;
    expect((await test.call('GET', `${path}/sessions/${session.id}`)).body.session).toMatchObject({ status: 'disconnected', disconnectReason: 'revoked' });

    // And cut off.
    expect(statusOf(await rejection(client.call('echo')))).toBe(token ? 401 : 404);
    await client.close();
    if (token) {
      const answer = await fetch(server.url, { method: 'POST', headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }) });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token", error_description="Session revoked", resource_metadata="https://app.example/metadata"');
      expect(await answer.json()).toMatchObject({ id: 1, error: { code: -32001, data: { reason: 'session_revoked' } } });
      expect(statusOf(await rejection(connectClient(clientKind, server.url, options)))).toBe(401);
      expect(await list()).toHaveLength(1);
    } else {
      const again = await connectClient(clientKind, server.url, options);
      await again.call('echo');
      await vi.waitFor(async () => { expect((await list()).map(({ status }: { status: string }) => status)).toEqual(['active', 'disconnected']); });
      await again.close();
    }
    await server.close();
    expect(server.sessions.stats()).toMatchObject({ sessions: 0, unregistered: 0, exchanges: 0 });
    expect(server.errors).toEqual([]);
  });
});
