// Stands in front of a real server: passes every call on, open to any page's origin, and adds the faults that were asked for.
import { randomUUID } from 'node:crypto';
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { toProblem, type Problem } from '../problem.ts';
import { allowBrowsers } from './browsers.ts';
import { askedFor, readFaults, refusalFor, type Faults } from './faults.ts';

export interface Front { readonly url: string; close(): Promise<void> }
export interface FrontOptions { port?: number; /** For all calls, until `/__faults` says otherwise. */ faults?: Faults }

/** @param target where the real server is: `http://127.0.0.1:8080` */
export async function startFront(target: string, { port = 0, faults = {} }: FrontOptions = {}): Promise<Front> {
  let standing = faults;
  const agent = new Agent({ keepAlive: true });

  const server = createServer((req, res) => {
    allowBrowsers(req, res);
    if (req.method === 'OPTIONS') return void res.writeHead(204).end();
    res.on('error', () => {}); // the caller has gone
    serve(req, res).catch((error: unknown) => {
      if (res.headersSent) res.destroy();
      else refuse(req, res, toProblem(error));
    });
  });

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const [path = '', search = ''] = (req.url ?? '').split(/\?(.*)/s);
    if (path === '/__faults') return answerFaults(req, res, search);
    const { faults: own, rest } = askedFor(search, String(req.headers['prefer'] ?? ''));
    const { delay = 0, code, drop, rate = 1 } = { ...(path.startsWith('/api/') && standing), ...own };
    await wait(delay, undefined, { ref: false });
    const isHit = Math.random() < rate;
    if (drop !== undefined && isHit) setTimeout(() => res.destroy(), drop).unref();
    if (drop === 0 && isHit) return;
    if (code !== undefined && isHit) return refuse(req, res, refusalFor(code));
    pass(req, res, rest === '' ? path : `${path}?${rest}`);
  }

  /** `PUT /__faults?code=503&rate=0.2` for all calls, `DELETE /__faults` to have none, GET to see them. */
  function answerFaults(req: IncomingMessage, res: ServerResponse, search: string): void {
    if (req.method === 'PUT') standing = readFaults(Object.fromEntries(new URLSearchParams(search)));
    else if (req.method === 'DELETE') standing = {};
    res.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(standing));
  }

  function pass(req: IncomingMessage, res: ServerResponse, path: string): void {
    const { host: _, ...headers } = req.headers;
    const onward = request(target, { path, method: req.method, headers, agent }, (answer) => {
      const allowed = new Set(res.getHeaderNames());
      const entries = Object.entries(answer.headers).filter(([name]) => !allowed.has(name) && name !== 'connection');
      res.setHeader('Access-Control-Expose-Headers', entries.map(([name]) => name).join(', '));
      res.writeHead(answer.statusCode ?? 502, Object.fromEntries(entries));
      res.flushHeaders(); // a stream may have nothing to say yet
      answer.on('error', () => res.destroy()).pipe(res);
    });
    onward.on('error', () => res.destroy());
    res.on('close', () => onward.destroy());
    req.pipe(onward);
  }

  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on TCP
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
      agent.destroy();
    }),
  };
}

function refuse(req: IncomingMessage, res: ServerResponse, problem: Problem): void {
  req.resume();
  const requestId = randomUUID(), body = JSON.stringify(problem.body(requestId));
  res.setHeader('Access-Control-Expose-Headers', 'X-Request-Id, Retry-After, WWW-Authenticate');
  res.writeHead(problem.status, { ...problem.headers, 'Content-Type': 'application/problem+json', 'X-Request-Id': requestId, 'Cache-Control': 'no-store', 'Content-Length': Buffer.byteLength(body) });
  res.end(body); // Node leaves the body out of an answer to HEAD
}
