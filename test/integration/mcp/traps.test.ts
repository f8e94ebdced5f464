// What went wrong once while the adapter was tried out: each has a test, numbered as it was found.
import { type EventEmitter, once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { InMemoryEventStore } from '@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { mcpSessions } from '../../../client/mcp.ts';
import { connectClient, grant, initialize, MODERN, openRoom, post, realClock, rejection, startMcpServer, type ServerKind, type Tokens } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

const LEASE_MS = 2_000;
const ECHO = { method: 'tools/call', params: { name: 'echo', arguments: {} } };
const MODERN_ECHO = { method: 'tools/call', params: { name: 'echo', arguments: {}, _meta: MODERN } };
const MODERN_DISCOVER = { method: 'server/discover', params: { _meta: MODERN } };

describe('mcpSessions', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ env: { LEASE: `${LEASE_MS}ms` }, clock: realClock, background: true }); });
  afterAll(() => test.close());

  async function start(kind: ServerKind, tokens?: Tokens, options = {}) {
    const room = await openRoom(test);
    const server = await startMcpServer(kind, { service: room.service, reportEveryMs: 100, ...options }, tokens);
    onTestFinished(() => server.close());
    return { room, server };
  }

  describe('(1) a client that only asks what the server can do', () => {
    it.each(['v1 sessionful SSE', 'v1 stateless', 'v2 createMcpHandler'] as const)('is no session (%s)', async (kind) => {
      const { room, server } = await start(kind);
      await (await post(server.url, MODERN_DISCOVER)).text();
      expect(server.sessions.stats().sessions).toBe(0);
      const client = await connectClient('v2 negotiating', server.url);
      onTestFinished(() => client.close());
      await client.call('echo');
      await vi.waitFor(async () => { expect(await room.list()).toHaveLength(1); });
      expect(server.sessions.stats().sessions).toBe(1);
    });
  });

  describe('(2) a handler that answers after its session was cut', () => {
    it.each(['v1 sessionful JSON', 'v2 sessionful', 'v2 createMcpHandler'] as const)('disturbs nobody (%s)', async (kind) => {
      const unhandled: unknown[] = [];
      const note = (error: unknown) => unhandled.push(error);
      process.on('unhandledRejection', note).on('uncaughtException', note);
      onTestFinished(() => { process.off('unhandledRejection', note).off('uncaughtException', note); });
      const { room, server } = await start(kind);
      const client = await connectClient('v2 negotiating', server.url);
      await client.call('echo');
      await vi.waitFor(room.only);
      const cut = rejection(client.call('wait'));
      await server.tool.started;
      await room.revokeAll();
      await cut;
      await server.tool.aborted; // from here on it answers
      await client.close();
      await vi.waitFor(() => { expect(server.sessions.stats()).toMatchObject({ sessions: 0, exchanges: 0 }); });
      for (let turns = 0; turns < 20; turns += 1) await new Promise(setImmediate);
      expect(unhandled).toEqual([]);
    });
  });

  it('(2) lets a handler that answers late answer into nothing, however it answers', async () => {
    const room = await openRoom(test);
    const sessions = mcpSessions({ service: room.service });
    const begun = Promise.withResolvers<void>(), proceed = Promise.withResolvers<void>(), late: unknown[] = [];
    const app = express().use(express.json(), sessions, async (request, response) => {
      if (request.body.method === 'initialize') return void response.set('Mcp-Session-Id', 'its own').json({ jsonrpc: '2.0', id: 1, result: {} });
      begun.resolve();
      await proceed.promise;
      try {
        response.setHeader('X-Late', '1');
        response.writeHead(200, { 'Content-Type': 'text/plain' });
        response.flushHeaders();
        await new Promise<void>((resolve) => { response.write('too late', () => resolve()); });
        response.end(() => late.push('said'));
      } catch (error) {
        late.push(error);
      }
    });
    const server = app.listen(0, '127.0.0.1');
    onTestFinished(async () => { await sessions.close(); server.closeAllConnections(); server.close(); });
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // a TCP server has one
    const sessionId = await initialize(url);
    await vi.waitFor(room.only);
    const answer = post(url, ECHO, { sessionId });
    await begun.promise;
    await room.revokeAll();
    expect([(await answer).status, await (await answer).json()]).toEqual([404, expect.objectContaining({ error: expect.objectContaining({ data: { reason: 'session_revoked' } }) })]);
    proceed.resolve();
    await vi.waitFor(() => { expect(late).toEqual(['said']); });
  });

  it('keeps nothing of a client that goes while its token is looked at, but hears its goodbye', async () => {
    const room = await openRoom(test), sessions = mcpSessions({ service: room.service });
    let look = async () => {};
    const app = express().use(express.json(), async (_request, _response, next) => { await look(); next(); }, sessions, (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.flushHeaders();
    });
    const server = app.listen(0, '127.0.0.1');
    onTestFinished(async () => { await sessions.close(); server.closeAllConnections(); server.close(); });
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // a TCP server has one
    const connecting = new AbortController();
    const connected = await post(url, { method: 'initialize', params: {} }, { signal: connecting.signal }), sessionId = connected.headers.get('mcp-session-id') ?? '';
    connecting.abort();
    await vi.waitFor(() => { expect(sessions.stats()).toMatchObject({ sessions: 1, exchanges: 0 }); });

    /** Its client hangs up while it is looked at, and only then it goes on. */
    async function abandon(method: string): Promise<void> {
      const looking = Promise.withResolvers<void>(), gone = new AbortController(), passed = Promise.withResolvers<void>();
      look = async () => {
        looking.resolve();
        await passed.promise;
      };
      const isOver = once(server, 'request').then(([, response]) => once(response as EventEmitter, 'close')); // what a server of HTTP tells
      const answer = rejection(fetch(url, { method, signal: gone.signal, headers: { 'Mcp-Session-Id': sessionId, Accept: 'text/event-stream' } }));
      await looking.promise;
      gone.abort();
      await Promise.all([isOver, answer]);
      passed.resolve();
      for (let turns = 0; turns < 20; turns += 1) await new Promise(setImmediate);
    }
    await abandon('GET');
    expect(sessions.stats()).toMatchObject({ sessions: 1, exchanges: 0 });
    await abandon('DELETE');
    expect(sessions.stats()).toMatchObject({ sessions: 0, exchanges: 0 });
  });

  it('(3) refuses the credential of a revoked session whatever is asked with it', async () => {
    const { room, server } = await start('v2 createMcpHandler', { 'alices-token': grant('alice'), 'bobs-token': grant('bob') });
    await (await post(server.url, MODERN_ECHO, { token: 'alices-token' })).text();
    await (await post(server.url, MODERN_ECHO, { token: 'bobs-token' })).text();
    await vi.waitFor(async () => { expect(await room.list()).toHaveLength(2); });
    const [alices] = (await room.list()).filter(({ userId }) => userId === 'alice');
    await room.revoke(alices?.['id']);
    await vi.waitFor(async () => { expect((await post(server.url, MODERN_DISCOVER, { token: 'alices-token' })).status).toBe(401); });
    for (const message of [MODERN_ECHO, { method: 'initialize', params: {} }, { method: 'subscriptions/listen', params: { _meta: MODERN } }]) {
      const answer = await post(server.url, message, { token: 'alices-token' });
      expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, expect.stringMatching(/^Bearer error="invalid_token".*resource_metadata="https:/)]);
    }
    expect((await post(server.url, MODERN_ECHO, { token: 'bobs-token' })).status).toBe(200);
  });

  it('(3) refuses another form of the same token: a signature has more than one', async () => {
    const { room, server } = await start('v1 stateless', { 'head.claims.one': grant('alice'), 'head.claims.two': grant('alice'), 'opaque.one': grant('alice'), 'opaque.two': grant('alice') });
    await initialize(server.url, { token: 'head.claims.one' });
    await initialize(server.url, { token: 'opaque.one' });
    await vi.waitFor(async () => { expect(await room.list()).toHaveLength(2); });
    await room.revokeAll();
    await vi.waitFor(async () => { expect((await post(server.url, ECHO, { token: 'head.claims.one' })).status).toBe(401); });
    expect((await post(server.url, ECHO, { token: 'head.claims.two' })).status).toBe(401);
    expect((await post(server.url, ECHO, { token: 'opaque.two' })).status).toBe(200); // what is no JWT has no signature to cut off
  });

  it('(4) knows the client from its first message on, and takes only DELETE for a goodbye', async () => {
    const { room, server } = await start('v1 sessionful SSE');
    const client = await connectClient('v1', server.url);
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ clientInfo: { name: 'client-v1', title: 'Client v1', version: '1.2.3' } }); });
    await client.terminate();
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ status: 'disconnected', disconnectReason: 'ended' }); });
    await vi.waitFor(() => { expect(server.sessions.stats()).toMatchObject({ sessions: 0, exchanges: 0 }); });
    expect(server.transports()).toBe(0);
  });

  it('(5) writes its frames between those of the SDK: whole, and one for each call that waits', async () => {
    const { room, server } = await start('v1 sessionful SSE');
    const sessionId = await initialize(server.url);
    const waiting = await post(server.url, { id: 'seven', method: 'tools/call', params: { name: 'wait', arguments: {} } }, { sessionId });
    const stream = await fetch(server.url, { headers: { Accept: 'text/event-stream', 'Mcp-Session-Id': sessionId } });
    await server.tool.started;
    await vi.waitFor(room.only);
    await room.revokeAll();
    const framesIn = (text: string) => text.split('\n\n').filter((frame) => frame.includes('data: {')).map((frame) => JSON.parse(frame.slice(frame.indexOf('data: ') + 6)));
    expect(framesIn(await waiting.text())).toEqual([{ jsonrpc: '2.0', id: 'seven', error: { code: -32_001, message: expect.stringContaining('revoked'), data: { reason: 'session_revoked' } } }]);
    expect(framesIn(await stream.text())).toEqual([expect.objectContaining({ method: 'notifications/message', params: expect.objectContaining({ data: expect.objectContaining({ reason: 'session_revoked' }) }) })]);
    const resumed = await fetch(server.url, { headers: { Accept: 'text/event-stream', 'Mcp-Session-Id': sessionId, 'Last-Event-ID': '1' } });
    expect(resumed.status).toBe(404);
  });

  it('(6) cuts an anonymous client of the 2026 era as well as it can: until it asks anew', async () => {
    const { room, server } = await start('v2 createMcpHandler');
    expect((await post(server.url, MODERN_ECHO)).status).toBe(200);
    await vi.waitFor(room.only);
    await room.revokeAll();
    await vi.waitFor(async () => { expect((await post(server.url, MODERN_ECHO)).status).toBe(404); });
    const other = { ...MODERN_ECHO.params, _meta: { ...MODERN, 'io.modelcontextprotocol/clientInfo': { name: 'another', version: '1' } } };
    expect((await post(server.url, { ...MODERN_ECHO, params: other })).status).toBe(200);
    expect((await post(server.url, MODERN_DISCOVER)).status).toBe(200);
    expect((await post(server.url, MODERN_ECHO)).status).toBe(200);
    await vi.waitFor(async () => { expect((await room.list()).filter(({ status }) => status === 'active')).toHaveLength(2); });
  });

  it('(7) takes the end of an answer, or of a refused stream, for no departure', async () => {
    const { room, server } = await start('v1 stateless');
    const sessionId = await initialize(server.url);
    await (await post(server.url, ECHO, { sessionId })).text();
    expect((await fetch(server.url, { headers: { Accept: 'text/event-stream', 'Mcp-Session-Id': sessionId } })).status).toBe(405);
    const { id } = await vi.waitFor(room.only);
    const beats = vi.spyOn(test.service.store, 'recordHeartbeats');
    onTestFinished(() => beats.mockRestore());
    // The third heartbeat after that is as good as any later one.
    await vi.waitFor(() => { expect(beats.mock.calls.filter(([, , given]) => given.some(({ sessionId: beaten }) => beaten === id)).length).toBeGreaterThan(2); }, 5_000);
    expect(await room.only()).toMatchObject({ status: 'active' });
  });

  it('(8) ends a stream when the token expires that opened it', async () => {
    const { room, server } = await start('v1 sessionful SSE', { short: grant('alice', { ttlS: 2, sid: 'login' }), fresh: grant('alice', { sid: 'login' }) });
    const sessionId = await initialize(server.url, { token: 'short' });
    const open = (token: string) => fetch(server.url, { headers: { Accept: 'text/event-stream', Authorization: `Bearer ${token}`, 'Mcp-Session-Id': sessionId } });
    const stream = await open('short');
    expect(stream.status).toBe(200);
    await vi.waitFor(() => { expect(server.sessions.stats().exchanges).toBe(1); });
    await stream.text(); // it would never come to an end
    // Whoever comes back with a fresh token goes on with the same session.
    const again = await open('fresh');
    onTestFinished(() => again.body?.cancel());
    expect(again.status).toBe(200);
    await vi.waitFor(async () => { expect(await room.only()).toMatchObject({ derivedStatus: expect.stringMatching(/active|idle/) }); });
  });

  it('(9) settles a call whose stream broke on the one that was resumed for it', async () => {
    const room = await openRoom(test), begun = Promise.withResolvers<void>();
    let transport: StreamableHTTPServerTransport | undefined;
    const sessions = mcpSessions({ service: room.service, reportEveryMs: 100 });
    const app = express().use(express.json(), sessions, async (request, response) => {
      if (!transport) {
        const server = new McpServer({ name: 'resumable', version: '1.0.0' });
        server.registerTool('wait', {}, () => { begun.resolve(); return new Promise(() => {}); });
        transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => crypto.randomUUID(), eventStore: new InMemoryEventStore() });
        await server.connect(transport);
      }
      await transport.handleRequest(request, response, request.body);
    });
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(async () => { await sessions.close(); server.closeAllConnections(); server.close(); });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sessionId = await initialize(url);
    const call = new AbortController(), headers = { 'Mcp-Protocol-Version': '2025-11-25' };
    const stream = await post(url, { id: 42, method: 'tools/call', params: { name: 'wait', arguments: {} } }, { sessionId, signal: call.signal, headers });
    const [, last = ''] = /^id: (.+)$/m.exec(new TextDecoder().decode((await stream.body!.getReader().read()).value)) ?? []; // the server begins with one
    await begun.promise;
    call.abort(); // as a network does it
    await vi.waitFor(() => { expect(sessions.stats().exchanges).toBe(0); });

    const resumed = await fetch(url, { headers: { ...headers, Accept: 'text/event-stream', 'Mcp-Session-Id': sessionId, 'Last-Event-ID': last } });
    expect(resumed.status).toBe(200);
    await room.revokeAll();
    const frames = [...(await resumed.text()).matchAll(/^data: (\{.*)$/gm)].map(([, data = '']) => JSON.parse(data));
    expect(frames).toEqual([{ jsonrpc: '2.0', id: 42, error: { code: -32001, message: expect.any(String), data: { reason: 'session_revoked' } } }]);
  });
});
