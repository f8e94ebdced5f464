// The HTTP server beneath the application: its time limits, and an answer of ours to what Node would refuse by itself or without a word.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { timesSent } from './headers.ts';
import { Problem, type ProblemCode } from './problem.ts';
import { requestIdOf } from './request-id.ts';

/** An import would load all that the module has: a WebSocket and `fetch` too, for a tenth of a start. */
const { createServer, STATUS_CODES } = process.getBuiltinModule('node:http');

/** ms; for what has begun to arrive, and for a connection on which nothing does. */
export interface Timeouts {
  readonly headers: number;
  /** For the whole of a request. It ends when the request is complete: an answer may take as long as it likes. */
  readonly request: number;
  /** How often the two are looked at. */
  readonly check: number;
  /** A connection on which nothing has moved for so long is closed, an answer that nobody reads with it. The longest revoke takes less, and streams are kept alive. */
  readonly stalled: number;
}

/** Whoever is silent or slow has left the server's memory after ten seconds; the largest batch of heartbeats needs 470 kbit/s to get in. */
const TIMEOUTS: Timeouts = { headers: 5_000, request: 9_000, check: 1_000, stalled: 120_000 };
const KEEP_ALIVE_MS = 10_000;
/** So long a refused client may go on sending: closed on unread bytes, a connection is reset, and the answer may be lost. */
const LINGER_MS = 2_000;
/** Requests of one connection that wait for their answers, or for those to be read: a client that asks on and reads nothing would fill our memory. */
const MOST_PIPELINED = 32;
/** For the database, the log and whatever else is open: without a descriptor left a store fails, not a connection. */
const KEPT_FILES = 100;
const COMPLAIN_EVERY_MS = 60_000;

export interface HttpOptions {
  log: Logger;
  timeouts?: Partial<Timeouts> | undefined;
  /** Further ones are closed at once. */
  maxConnections?: number;
  onRefused?: (code: ProblemCode) => void;
}

interface Connection {
  /** Requests whose answers have not left yet. */
  waiting: number;
  newest: ServerResponse | undefined;
  /** It has been told why it is of no use any more. */
  isRefused: boolean;
}

/** What Node and its parser complain with. */
type WireError = Error & { code?: string; reason?: string };

export function createHttpServer(listener: RequestListener, { log, timeouts, maxConnections = Infinity, onRefused = () => {} }: HttpOptions): Server {
  const { headers, request, check, stalled } = { ...TIMEOUTS, ...timeouts };
  const connections = new WeakMap<Socket, Connection>();
  const connectionOf = (socket: Socket): Connection => {
    let connection = connections.get(socket);
    if (!connection) connections.set(socket, connection = { waiting: 0, newest: undefined, isRefused: false });
    return connection;
  };

  const server = createServer({
    headersTimeout: headers, requestTimeout: request, connectionsCheckingInterval: check, keepAliveTimeout: KEEP_ALIVE_MS,
    requireHostHeader: false, // asked for below
  }, (req, res) => {
    const connection = connectionOf(req.socket);
    if (connection.isRefused) return; // what comes after an answer that said it was the last
    if (connection.waiting >= MOST_PIPELINED) {
      req.socket.pause(); // each of those that follow would cost as much as one that is answered; and what waits is not kept for long
      setTimeout(() => req.socket.destroy(), KEEP_ALIVE_MS).unref();
      return refuseConnection(req.socket, new Problem('malformed-request', { detail: `At most ${MOST_PIPELINED} requests of a connection may wait for their answers.` }));
    }
    connection.waiting++;
    connection.newest = res;
    res.on('close', () => { connection.waiting--; });
    const hosts = timesSent(req.rawHeaders, 'host');
    if (hosts > 1 || (hosts === 0 && req.httpVersion !== '1.0')) return refuseRequest(res, new Problem('malformed-request', { detail: 'Send exactly one Host header.' }));
    listener(req, res);
  });

  function say(requestId: string, { code, status }: Problem, error?: WireError): void {
    onRefused(code);
    log.info({ requestId, problem: code, status, reason: error && (error.reason ?? error.code) }, 'refused'); // the parser's own words, none of the caller's
  }

  /** A request that Node has read, and that never reaches the application. */
  function refuseRequest(res: ServerResponse, problem: Problem): void {
    const requestId = requestIdOf(res.req.headers);
    const { head, body } = answer(problem, requestId);
    say(requestId, problem);
    res.writeHead(problem.status, head).end(body);
  }

  /** A connection that is of no use any more: says why, in its turn, and closes it. */
  function refuseConnection(socket: Socket, problem: Problem, error?: WireError): void {
    const connection = connectionOf(socket);
    if (connection.isRefused) return;
    connection.isRefused = true;
    const response = connection.newest;
    const isOpen = response !== undefined && !response.destroyed && !response.writableFinished;
    // One request has one answer: what is wrong in the rest of its body, which nobody reads, is no request. An answer that has just been given may still have to leave.
    if (response?.writableEnded && !response.req.complete) return void socket.destroySoon();
    // Into the middle of an answer nothing else can be written, nor before those that others wait for.
    if (isOpen && (response.headersSent ? !response.writableEnded : !response.req.complete && connection.waiting !== 1)) return void socket.destroy();
    const end = () => {
      if (!socket.writable) return void socket.destroy();
      const requestId = isOpen && !response.req.complete ? requestIdOf(response.req.headers) : randomUUID();
      const { head, body } = answer(problem, requestId);
      say(requestId, problem, error);
      socket.write(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`);
      const late = setTimeout(() => socket.destroy(), LINGER_MS).unref();
      socket.once('close', () => clearTimeout(late));
      // What is still arriving must never be taken for complete, not even when the client hangs up. Where there is nothing left to run, the client may go on.
      if (problem.code === 'request-timeout' || (isOpen && !response.req.complete)) socket.destroySoon();
      else socket.end();
    };
    if (isOpen && response.req.complete) response.once('close', end); // it was asked before
    else end();
  }

  server.setTimeout(stalled);
  server.on('checkExpectation', (_req, res) => refuseRequest(res, new Problem('expectation-failed', { detail: 'The only expectation that is met is 100-continue.' })));
  server.on('clientError', (error: WireError, socket) => {
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return void socket.destroy();
    refuseConnection(socket as Socket, problemOf(error.code), error); // the server has no other streams
  });
  server.on('connect', (_req, socket) => {
    socket.on('error', () => {}).resume(); // nobody else listens any more
    if (connectionOf(socket as Socket).waiting > 0) return void socket.destroy(); // nor would anybody notice that the answers before this are not read
    refuseConnection(socket as Socket, new Problem('method-not-allowed', { detail: 'This is no proxy.', headers: { Allow: 'GET, HEAD, POST, DELETE, OPTIONS' } })); // as above
  });
  server.maxConnections = Math.min(maxConnections, openFiles() - KEPT_FILES);
  let complained = -Infinity;
  server.on('drop', () => {
    if (performance.now() - complained < COMPLAIN_EVERY_MS) return;
    complained = performance.now();
    log.warn({ connections: server.maxConnections }, 'there are as many connections as this process takes; further ones are closed');
  });
  return server;
}

/** How many files and sockets the system lets this process have open; Node has asked for as many as it may. */
function openFiles(): number {
  try {
    return Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity);
  } catch {
    return Infinity; // no Linux
  }
}

function problemOf(code = ''): Problem {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return new Problem('request-timeout');
    case 'HPE_HEADER_OVERFLOW': return new Problem('headers-too-large', { detail: 'The request line and the headers may have 16 KB together.' });
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW': return new Problem('payload-too-large', { detail: 'The extensions of its chunks are too long.' });
    default: return new Problem('malformed-request', { detail: 'It is not HTTP as RFC 9112 has it.' });
  }
}

function answer(problem: Problem, requestId: string): { head: Record<string, string | number>; body: string } {
  const body = JSON.stringify(problem.body(requestId));
  return {
    body,
    head: {
      ...problem.headers, 'Content-Type': 'application/problem+json', 'Content-Length': Buffer.byteLength(body), 'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff', 'X-Request-Id': requestId, Date: new Date().toUTCString(), Connection: 'close',
    },
  };
}
