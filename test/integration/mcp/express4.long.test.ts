// The adapter in Express 4, which many MCP servers are on still: its clients are seen, cut and refused there as well. Needs the registry.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type express from 'express';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createFakeRollcall } from '../../../client/testing.ts';
import { connectClient, grant, initialize, rejection, startMcpServer, statusOf, type ClientKind, type ServerKind } from '../../support/mcp.ts';
import { registryIsReachable, run } from '../../support/packed.ts';

const isReachable = await registryIsReachable('the test of the adapter in Express 4');

describe.runIf(isReachable)('mcpSessions in Express 4', () => {
  let folder: string, express4: typeof express;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rollcall-express-'));
    await writeFile(join(folder, 'package.json'), '{}');
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', 'express@4'], { cwd: folder });
    const require = createRequire(join(folder, 'package.json'));
    expect(require('express/package.json').version).toMatch(/^4\./);
    express4 = require('express'); // what the tests use of it is the same in both
  }, 120_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function start(kind: ServerKind) {
    const rollcall = createFakeRollcall();
    const server = await startMcpServer(kind, { service: rollcall.service, reportEveryMs: 50 }, { 'a-token': grant('ada') }, { framework: express4 });
    onTestFinished(() => server.close());
    return { rollcall, server };
  }

  it.each<[ServerKind, ClientKind]>([['v1 sessionful SSE', 'v1'], ['v1 sessionful JSON', 'v1'], ['v1 stateless', 'v1'], ['v2 sessionful', 'v2'], ['v2 createMcpHandler', 'v2 negotiating']])(
    'shows a client, cuts its call and refuses it from then on (%s, %s)', async (serverKind, clientKind) => {
      const { rollcall, server } = await start(serverKind);
      const client = await connectClient(clientKind, server.url, { token: 'a-token' });
      onTestFinished(() => client.close());
      await client.call('echo');
      await vi.waitFor(() => { expect(rollcall.sessions()).toMatchObject([{ status: 'active', userId: 'ada' }]); });
      const cut = rejection(client.call('wait'));
      await server.tool.started;
      rollcall.revokeAll();
      expect(String(await cut)).toMatch(/session revoked|session_revoked/i);
      expect(statusOf(await rejection(client.call('echo')))).toBe(401);
      expect(server.errors).toEqual([]);
    });

  it('ends the session of a client that says goodbye', async () => {
    const { rollcall, server } = await start('v1 sessionful SSE');
    const sessionId = await initialize(server.url, { token: 'a-token' });
    await vi.waitFor(() => { expect(rollcall.sessions()).toHaveLength(1); });
    expect((await fetch(server.url, { method: 'DELETE', headers: { authorization: 'Bearer a-token', 'mcp-session-id': sessionId } })).status).toBe(200);
    await vi.waitFor(() => { expect(rollcall.sessions()).toMatchObject([{ disconnectReason: 'ended' }]); });
  });
});
