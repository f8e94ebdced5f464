// `npm run demo`: a service, an MCP server behind the adapter and three official clients; then one is revoked, then all of them.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { requireBearerAuth } from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { createMcpHandler, McpServer, OAuthError, OAuthErrorCode } from '@modelcontextprotocol/server';
import express from 'express';
import { pino } from 'pino';
import { subscribe } from '../../client/events.ts';
import { createClient } from '../../client/index.ts';
import { mcpSessions } from '../../client/mcp.ts';
import { readConfig } from '../../server/config.ts';
import { mintToken } from '../../server/keys.ts';
import { startService } from '../../server/service.ts';

/** A call that a revoke cuts has to end within this, in ms. */
const BOUND_MS = 3_000;
/** When every token of the demo expires, in seconds since the epoch. */
const EXPIRES_AT = Math.floor(Date.now() / 1_000) + 600;
const print = (line = '') => process.stdout.write(`${line}\n`);

/** The service, with a database that goes away with the demo, and a token for everything. */
async function serveRollcall() {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-demo-'));
  const config = readConfig({ PORT: '0', DATA_DIR: directory });
  const service = await startService(config, { log: pino({ level: 'silent' }) });
  const scopes = ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:read', 'applications:write'];
  if (!service.signingKey) throw new Error('without an issuer the service signs its own tokens');
  const token = await mintToken(service.signingKey, { organizationId: 'org_demo', subject: 'demo', scopes, audience: config.AUTH_AUDIENCE, ttlMs: 600_000 });
  const close = async () => {
    await service.close();
    rmSync(directory, { recursive: true, force: true });
  };
  return { baseUrl: service.url, token, close };
}

/** The application: two tools, one of which never finishes by itself. */
async function serveMcp(service: { baseUrl: string; token: string; applicationId: string }) {
  const verifier = {
    async verifyAccessToken(token: string) {
      const [, sub] = /^token-of-(\w+)$/.exec(token) ?? [];
      if (!sub) throw new OAuthError(OAuthErrorCode.InvalidToken, 'Unknown token');
      return { token, clientId: 'demo', scopes: [], expiresAt: EXPIRES_AT, extra: { sub } };
    },
  };
  let begun = () => {};
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: 'demo', version: '1.0.0' });
    server.registerTool('greet', { description: 'Says hello' }, () => ({ content: [{ type: 'text', text: 'Hello' }] }));
    server.registerTool('work', { description: 'Works for ever' }, async ({ mcpReq }) => {
      begun();
      await once(mcpReq.signal, 'abort');
      return { content: [{ type: 'text', text: 'Stopped' }] };
    });
    return server;
  });
  const sessions = mcpSessions({ service, reportEveryMs: 200 });
  const handle = toNodeHandler(handler);
  const app = express();
  app.all('/mcp', requireBearerAuth({ verifier }), express.json(), sessions, (request, response) => handle(request, response, request.body));
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`), // a TCP server has one
    /** Resolves when so many more calls of `work` are being worked on. */
    working: (calls: number) => new Promise<void>((resolve) => { begun = () => { if (--calls === 0) resolve(); }; }),
    async close() {
      await sessions.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

interface Guest { name: string; call(tool: 'greet' | 'work'): Promise<unknown>; reconnect(): Promise<unknown>; close(): Promise<void> }

/** An official client of one of three kinds, connected. */
async function connect(kind: 'v1' | 'v2' | 'v2, 2026-07-28', user: string, url: URL): Promise<Guest> {
  const info = { name: `sdk-${kind}`, version: '1.0.0' };
  const options = { requestInit: { headers: { Authorization: `Bearer token-of-${user}`, 'X-Client-Hostname': `${user}s-laptop` } } };
  const make = () => {
    if (kind === 'v1') {
      const client = new ClientV1(info);
      return { client, open: () => client.connect(new TransportV1(url, options)), call: (name: string) => client.callTool({ name }) };
    }
    const client = new ClientV2(info, kind === 'v2' ? {} : { versionNegotiation: { mode: 'auto' } });
    return { client, open: () => client.connect(new TransportV2(url, options)), call: (name: string) => client.callTool({ name }) };
  };
  const { client, open, call } = make();
  client.onerror = () => {}; // what it says comes with the rejected call, too
  await open();
  return { name: `${user} (SDK ${kind})`, call, reconnect: () => make().open(), close: () => client.close() };
}

/** What became of a promise, and after how many ms. */
async function outcome(promise: Promise<unknown>) {
  const from = performance.now();
  const [isRefused, text] = await promise.then(() => [false, 'it succeeded'] as const, (error: unknown) => [true, inShort(error)] as const);
  return { isRefused, text, ms: Math.round(performance.now() - from) };
}

/** Both SDKs put the whole answer into the message; v1 calls the HTTP status `code`. */
function inShort(error: unknown): string {
  const { message, status, code }: { message?: unknown; status?: unknown; code?: unknown } = Object(error);
  return `${String(message).replace(/:? *\{.*/s, '')} (${String(status ?? code)})`;
}

/** Cuts, and says what those who are meant have felt. Answers whether all of them are really out. */
async function revoke(title: string, guests: Guest[], cut: () => Promise<{ disconnectedCount: number }>, working: (calls: number) => Promise<void>): Promise<boolean> {
  const allWork = working(guests.length);
  const calls = guests.map((guest) => guest.call('work'));
  for (const call of calls) call.catch(() => {}); // looked at below
  await allWork;
  print(`\n${title}, with a call in flight`);
  const felt = calls.map(outcome);
  const { disconnectedCount } = await cut();
  let isOut = disconnectedCount === guests.length;
  for (const [index, guest] of guests.entries()) {
    const inFlight = await felt[index];
    const next = await outcome(guest.call('greet')), again = await outcome(guest.reconnect());
    print(`  ${guest.name}`);
    print(`    call in flight  ${inFlight?.ms} ms  ${inFlight?.text}`);
    print(`    next call       ${next.ms} ms  ${next.text}`);
    print(`    reconnect       ${again.ms} ms  ${again.text}`);
    isOut &&= inFlight !== undefined && inFlight.isRefused && inFlight.ms < BOUND_MS && next.isRefused && again.isRefused;
  }
  return isOut;
}

const { baseUrl, token, close } = await serveRollcall();
const rollcall = createClient({ baseUrl, token });
const { id: applicationId } = await rollcall.applications.create({ name: 'Demo' });

/** Prints the sessions whenever something about them has changed. */
const watching = new AbortController();
let isSettled = () => {};
let connected = 0;
async function watch(isOpen: () => void): Promise<void> {
  const onState = ({ state }: { state: string }) => { if (state === 'open') isOpen(); };
  for await (const event of subscribe({ baseUrl, token, applicationId, signal: watching.signal, onState })) {
    print(`\n${event.type}`);
    connected = 0;
    for await (const { name, status, derivedStatus, disconnectReason, userId } of rollcall.sessions.list(applicationId, { status: 'all' })) {
      if (status === 'active') connected += 1;
      print(`  ${name.padEnd(32)} ${String(userId).padEnd(6)} ${derivedStatus}${disconnectReason ? `, ${disconnectReason}` : ''}`);
    }
    isSettled();
  }
}
/** Resolves when the table shows so many connected sessions. */
const shows = (count: number) => new Promise<void>((resolve) => {
  isSettled = () => { if (connected === count) resolve(); };
  isSettled();
});
const watcher = new Promise<void>((isOpen) => {
  watch(isOpen).catch((error: unknown) => { if (!watching.signal.aborted) throw error; });
});
await watcher;

const server = await serveMcp({ baseUrl, token, applicationId });
const guests = [await connect('v1', 'ada', server.url), await connect('v2', 'bob', server.url), await connect('v2, 2026-07-28', 'cleo', server.url)];
for (const guest of guests) await guest.call('greet');
await shows(3);

const [ada, ...others] = guests;
if (!ada) throw new Error('there are three');
let adasSession = '';
for await (const { id } of rollcall.sessions.list(applicationId, { userId: 'ada' })) adasSession = id;
const oneIsOut = await revoke('Revoking ada', [ada], () => rollcall.sessions.revoke(applicationId, adasSession), server.working);
await shows(2);
const othersStay = (await Promise.all(others.map((guest) => outcome(guest.call('greet'))))).every(({ isRefused }) => !isRefused);
print(`\nThe others ${othersStay ? 'noticed nothing' : 'WERE CUT TOO'}`);

const allAreOut = await revoke('Revoking all', others, () => rollcall.sessions.revokeAll(applicationId), server.working);
await shows(0);

const isCut = oneIsOut && othersStay && allAreOut;
print(`\n${isCut ? 'Everybody was cut.' : 'NOT everybody was cut.'}`);
process.exitCode = isCut ? 0 : 1;
for (const guest of guests) await guest.close();
watching.abort();
await server.close();
await close();
