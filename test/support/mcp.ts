// Real MCP servers and clients on loopback, of both lines of the official SDK, with the adapter in front of the servers.
import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { requireBearerAuth as requireBearerAuthV2 } from '@modelcontextprotocol/express';
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth as requireBearerAuthV1 } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createMcpHandler, McpServer as McpServerV2, OAuthError, OAuthErrorCode } from '@modelcontextprotocol/server';
import express, { type Request, type Response } from 'express';
import type { TestService } from './service.ts';
import { mcpSessions, type McpAuth, type McpSessions, type McpSessionsOptions } from '../../client/mcp.ts';

export const serverKinds = ['v1 sessionful SSE', 'v1 sessionful JSON', 'v1 stateless', 'v2 sessionful', 'v2 createMcpHandler'] as const;
export type ServerKind = (typeof serverKinds)[number];
export const clientKinds = ['v1', 'v2', 'v2 negotiating'] as const;
export type ClientKind = (typeof clientKinds)[number];

export const METADATA_URL = 'https://app.example/.well-known/oauth-protected-resource/mcp';

/** Tells a test what a tool sees. */
class Tool {
  private readonly begun = Promise.withResolvers<void>();
  private readonly stopped = Promise.withResolvers<void>();
  /** The tool that never answers is being run. */
  readonly started = this.begun.promise;
  /** It was told to stop. */
  readonly aborted = this.stopped.promise;
  readonly wait = (signal: AbortSignal) => {
    signal.addEventListener('abort', () => this.stopped.resolve(), { once: true });
    this.begun.resolve();
    return this.stopped.promise.then(() => text('too late'));
  };
}

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
const INFO = { name: 'test-server', version: '1.0.0' };

function serverV1(tool: Tool) {
  const server = new McpServerV1(INFO);
  server.registerTool('echo', { description: 'Answers at once' }, () => text('echo'));
  server.registerTool('wait', { description: 'Never answers' }, ({ signal }) => tool.wait(signal));
  return server;
}

function serverV2(tool: Tool) {
  const server = new McpServerV2(INFO);
  server.registerTool('echo', { description: 'Answers at once' }, () => text('echo'));
  server.registerTool('wait', { description: 'Never answers' }, ({ mcpReq }) => tool.wait(mcpReq.signal));
  return server;
}

interface Serving { handle(request: Request, response: Response): unknown; closeTransport?(id: string): unknown; transports(): number }

interface SessionTransport { handleRequest(request: Request, response: Response, body: unknown): Promise<void>; close(): Promise<void> }

/** The documented way of serving sessions: a map of transports. */
function sessionful(open: (keep: (id: string, transport: SessionTransport) => void, drop: (id: string | undefined) => void) => Promise<SessionTransport>): Serving {
  const transports = new Map<string, SessionTransport>();
  return {
    async handle(request, response) {
      const id = request.get('mcp-session-id');
      const found = id === undefined ? undefined : transports.get(id);
      if (id !== undefined && !found) return response.status(404).json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } });
      const transport = found ?? await open((made, kept) => transports.set(made, kept), (gone) => { if (gone !== undefined) transports.delete(gone); });
      await transport.handleRequest(request, response, request.body);
    },
    closeTransport: (id) => transports.get(id)?.close(),
    transports: () => transports.size,
  };
}

function serve(kind: ServerKind, tool: Tool): Serving {
  if (kind === 'v2 createMcpHandler') {
    const handler = toNodeHandler(createMcpHandler(() => serverV2(tool)));
    return { handle: (request, response) => handler(request, response, request.body), transports: () => 0 };
  }
  if (kind === 'v1 stateless') {
    return {
      async handle(request, response) {
        if (request.method !== 'POST') return response.status(405).end();
        const server = serverV1(tool), transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
        response.on('close', () => { void transport.close(); void server.close(); });
        await server.connect(transport);
        await transport.handleRequest(request, response, request.body);
      },
      transports: () => 0,
    };
  }
  return sessionful(async (keep, drop) => {
    const options = { sessionIdGenerator: () => crypto.randomUUID(), enableJsonResponse: kind === 'v1 sessionful JSON' };
    if (kind === 'v2 sessionful') {
      const transport = new NodeStreamableHTTPServerTransport({ ...options, onsessioninitialized: (id) => { keep(id, transport); } });
      transport.onclose = () => drop(transport.sessionId);
      await serverV2(tool).connect(transport);
      return transport;
    }
    const transport = new StreamableHTTPServerTransport({ ...options, onsessioninitialized: (id) => { keep(id, transport); } });
    transport.onclose = () => drop(transport.sessionId);
    await serverV1(tool).connect(transport);
    return transport;
  });
}

export interface TestServer {
  readonly url: string;
  readonly sessions: McpSessions;
  readonly tool: Tool;
  /** Errors of the adapter's background work. */
  readonly errors: unknown[];
  /** Transports the SDK server still holds. */
  transports(): number;
  /** Also when a client still holds a connection. */
  close(): Promise<void>;
}

export type Tokens = Record<string, Omit<McpAuth, 'token'>>;

/** What a verifier knows of a token of the tests. */
export const grant = (sub: string, { ttlS = 3_600, ...extra }: { ttlS?: number; sid?: string } = {}): Omit<McpAuth, 'token'> =>
  ({ clientId: 'client', scopes: [], expiresAt: Math.floor(Date.now() / 1_000) + ttlS, extra: { sub, ...extra } });

/** @param tokens those that are accepted; without them the server asks for none */
export async function startMcpServer(kind: ServerKind, options: McpSessionsOptions, tokens?: Tokens, { port = 0, make = mcpSessions, framework = express } = {}): Promise<TestServer> {
  const tool = new Tool(), serving = serve(kind, tool), errors: unknown[] = [];
  const sessions = make({ closeTransport: serving.closeTransport, onError: (error) => errors.push(error), ...options });
  const app = framework();
  if (tokens) {
    const know = (token: string, unknown: Error) => {
      const auth = tokens[token];
      if (!auth) throw unknown;
      return { token, ...auth };
    };
    app.use(kind.startsWith('v1')
      ? requireBearerAuthV1({ resourceMetadataUrl: METADATA_URL, verifier: { verifyAccessToken: async (token) => know(token, new InvalidTokenError('unknown')) as never } })
      : requireBearerAuthV2({ resourceMetadataUrl: METADATA_URL, verifier: { verifyAccessToken: async (token) => know(token, new OAuthError(OAuthErrorCode.InvalidToken, 'unknown')) as never } }));
  }
  // Nobody looks at what becomes of it, as in Express 4: an error there is an unhandled rejection.
  app.all('/mcp', framework.json(), sessions, (request, response) => void serving.handle(request, response));
  const server: HttpServer = createServer(app).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, // a TCP server has one
    sessions, tool, errors, transports: serving.transports,
    async close() {
      await sessions.close();
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}

export interface TestClient {
  call(tool: 'echo' | 'wait' | 'greet'): Promise<unknown>;
  /** Whether a stream is open besides calls. */
  readonly sessionId: string | undefined;
  terminate(): Promise<void>;
  close(): Promise<void>;
}

/** A real client, connected. */
export async function connectClient(kind: ClientKind, url: string, { token, hostname, fetch }: { token?: string; hostname?: string; fetch?: typeof globalThis.fetch } = {}): Promise<TestClient> {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(hostname && { 'X-Client-Hostname': hostname }) };
  const options = { requestInit: { headers }, ...(fetch && { fetch }) };
  const info = { name: `client-${kind.replace(' ', '-')}`, title: `Client ${kind}`, version: '1.2.3' };
  if (kind === 'v1') {
    const client = new ClientV1(info), transport = new TransportV1(new URL(url), options);
    client.onerror = () => {};
    await client.connect(transport);
    return { call: (name) => client.callTool({ name }), get sessionId() { return transport.sessionId; }, terminate: () => transport.terminateSession(), close: () => client.close() };
  }
  const client = new ClientV2(info, kind === 'v2' ? {} : { versionNegotiation: { mode: 'auto' } }), transport = new TransportV2(new URL(url), options);
  client.onerror = () => {};
  await client.connect(transport);
  return { call: (name) => client.callTool({ name }), get sessionId() { return transport.sessionId; }, terminate: () => transport.terminateSession(), close: () => client.close() };
}

/** The HTTP status in what a client rejects with: v1 calls it `code`, v2 `status`. */
export function statusOf(error: unknown): unknown {
  const { status, code } = error as { status?: unknown; code?: unknown }; // looked at, not trusted
  return status ?? code;
}

/** What a client rejects with; a success is the failure here. */
export const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(() => { throw new Error('it succeeded'); }, (error: unknown) => error);

/** An application of the service, and what tests ask about its sessions. */
export interface Room {
  /** For the adapter: where the service is. */
  readonly service: McpSessionsOptions['service'];
  /** Every session, newest first. */
  list(): Promise<Record<string, unknown>[]>;
  /** The one session there is. */
  only(): Promise<Record<string, unknown>>;
  revoke(sessionId: unknown): Promise<void>;
  revokeAll(): Promise<void>;
}

export async function openRoom(test: TestService): Promise<Room> {
  const applicationId = await test.application(), path = `/applications/${applicationId}/sessions`;
  const token = () => test.token({ scopes: ['sessions:read', 'sessions:write'], ttlMs: 3_600_000 });
  const list = async () => (await test.call('GET', `${path}?status=all`)).body.items;
  const expectRevoked = ({ status, text }: { status: number; text: string }) => { if (status !== 200) throw new Error(text); };
  return {
    service: { baseUrl: test.url, token, applicationId },
    list,
    async only() {
      const sessions = await list();
      if (sessions.length !== 1) throw new Error(`there are ${sessions.length} sessions`);
      return sessions[0];
    },
    revoke: async (sessionId) => expectRevoked(await test.call('DELETE', `${path}/${String(sessionId)}`)),
    revokeAll: async () => expectRevoked(await test.call('DELETE', path)),
  };
}

/** Real time, because the adapter and the clients have no other. */
export const realClock = { now: Date.now, advance() {}, set() {} };

export const MODERN = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {}, 'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' } };

/** One message as bytes on the wire, for what no client would do. */
export function post(url: string, message: Record<string, unknown>, { token, sessionId, signal, headers }: { token?: string; sessionId?: string; signal?: AbortSignal; headers?: Record<string, string> } = {}): Promise<globalThis.Response> {
  const modern = JSON.stringify(message).includes('2026-07-28');
  return fetch(url, {
    method: 'POST', ...(signal && { signal }),
    headers: {
      'Content-Type': 'application/json', Accept: 'application/json, text/event-stream',
      ...(modern && { 'Mcp-Protocol-Version': '2026-07-28', 'Mcp-Method': String(message['method']), ...(message['method'] === 'tools/call' && { 'Mcp-Name': 'echo' }) }),
      ...(token && { Authorization: `Bearer ${token}` }), ...(sessionId && { 'Mcp-Session-Id': sessionId }), ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }),
  });
}

/** Connects as a 2025-era client that opens no stream; answers its session id. */
export async function initialize(url: string, options: { token?: string; clientInfo?: unknown; headers?: Record<string, string> } = {}): Promise<string> {
  const { clientInfo = { name: 'raw', version: '1' }, ...rest } = options;
  const response = await post(url, { method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo } }, rest);
  await response.text();
  const id = response.headers.get('mcp-session-id');
  if (id === null) throw new Error(`no session: ${response.status}`);
  return id;
}
