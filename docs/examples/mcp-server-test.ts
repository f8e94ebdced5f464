// How to test an MCP server with the service in memory: node --test docs/examples/mcp-server-test.ts
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import express, { type RequestHandler } from 'express';
import { mcpSessions } from '../../client/mcp.ts';
import { createFakeRollcall } from '../../client/testing.ts';

/** Stands for your application. */
function createApp(...middleware: RequestHandler[]) {
  const handler = toNodeHandler(createMcpHandler(() => new McpServer({ name: 'example', version: '1.0.0' })));
  return express().use(express.json(), ...middleware, (request, response) => void handler(request, response, request.body));
}

test('whoever is revoked is out', async (t) => {
  const rollcall = createFakeRollcall();
  const sessions = mcpSessions({ service: rollcall.service, credential: () => 'a-login', reportEveryMs: 50 });
  const server = createApp(sessions).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new Client({ name: 'tester', version: '1.0.0' });
  t.after(async () => {
    await client.close();
    await sessions.close();
    server.close();
    server.closeAllConnections();
  });

  await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));
  while (rollcall.sessions().length === 0) await new Promise(setImmediate);
  assert.equal(rollcall.sessions()[0]?.name, 'tester');

  assert.equal(rollcall.revokeAll(), 1);
  while (sessions.stats().sessions > 0) await new Promise(setImmediate);
  await assert.rejects(client.ping(), /Session revoked/);
  assert.deepEqual(rollcall.deniedCredentials(), ['a-login']);
});
