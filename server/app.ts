// The only file that speaks Express: body, validator and security, dispatch by operationId, problem+json.
import cors from 'cors';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler, type Response } from 'express';
import { middleware as validator } from 'express-openapi-validator';
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { bearerToken, type Caller, type Verifier } from './auth.ts';
import { Json, type Call, type Handler, type Handlers, type OperationId } from './operations.ts';
import { bodyProblem, invalid, notFound, Problem, toProblem, unsupported, type InvalidPart } from './problem.ts';
import { bodyErrors, clientInfoErrors, isDateTime, queryErrors, queryNames } from './query.ts';
import { pages } from './pages.ts';
import type { EventStream, Streams } from './sse.ts';
import { StoreUnavailable } from './store/store.ts';

export interface AppOptions {
  readonly handlers: Handlers;
  readonly verifier: Verifier;
  readonly streams: Streams;
  readonly log: Logger;
  /** Reasons why requests cannot be served just now; none means ready. */
  readonly notReady: () => Promise<string[]>;
  readonly corsOrigins?: readonly string[];
  /** Where the built documentation is. */
  readonly site?: string;
  /** Check every answer against the contract: for tests and staging. */
  readonly validateResponses?: boolean;
}

const BODY_LIMIT = 64 * 1024;
const HEARTBEATS_BODY_LIMIT = 512 * 1024;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const contract = fileURLToPath(new URL('../generated/openapi.json', import.meta.url));
const queries = queryNames(JSON.parse(readFileSync(contract, 'utf8')));

interface Operation { operationId: OperationId; requestBody?: object; security?: Record<string, string[]>[] }
/** What we and the validator leave on a request. */
interface Context extends Request {
  requestId: string;
  caller?: Caller;
  authentication?: Promise<Caller>;
  refusal?: Problem;
  /** What we found wrong ourselves; answered together with what the validator finds. */
  invalid: InvalidPart[];
  /** Asked for the head of the answer only. */
  isHead?: boolean;
  openapi?: { schema: Operation; pathParams: Record<string, string> };
}
const contextOf = (req: Request) => req as Context; // the fields are set by the first middleware, and by the validator

export function createApp({ handlers, verifier, streams, log, notReady, corsOrigins = [], site, validateResponses = false }: AppOptions): Express {
  const app = express().disable('x-powered-by').disable('etag').set('case sensitive routing', true).set('query parser', 'simple');
  const [parameters, metadata, security, ...validation] = validator({
    apiSpec: contract,
    validateRequests: { allErrors: true, allowUnknownQueryParameters: true }, // `checkQuery` names all that are unknown, not only the first
    validateResponses,
    fileUploader: false,
    formats: { uuid: UUID, 'date-time': { type: 'string', validate: isDateTime }, 'json-pointer': /^(?:\/(?:[^~/]|~[01])*)*$/ },
    ajvFormats: { mode: 'full' },
    validateSecurity: { handlers: { bearerAuth: (req: Request) => authorise(contextOf(req), verifier) } },
  });

  app.use(identify(log));
  pages(app, { notReady, site });
  if (corsOrigins.length > 0) app.use(allowOrigins(new Set(corsOrigins)));
  // The body is read after authentication, so that nobody without a token makes us parse anything.
  app.use(exactPath, headIsGet, parameters!, metadata!, security!, checkQuery, readBody, checkBody, ...validation, refuseInvalid, dispatch(handlers, streams, validateResponses));
  app.use((_req, _res, next) => next(notFound()));
  app.use(answerProblem(log));
  return app;
}

/** Gives the request its id, and writes its line in the log when it is over. */
const identify = (log: Logger): RequestHandler => (req, res, next) => {
  const given = req.headers['x-request-id'];
  const requestId = typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
  contextOf(req).requestId = requestId;
  const method = req.method, started = performance.now();
  res.setHeader('X-Request-Id', requestId);
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.once('close', () => log.info({
    requestId, method, path: req.originalUrl.split('?', 1)[0]!.slice(0, 200), operationId: contextOf(req).openapi?.schema.operationId,
    status: res.headersSent ? res.statusCode : undefined, aborted: res.writableFinished ? undefined : true, ms: Math.round((performance.now() - started) * 10) / 10,
  }, 'request'));
  next();
};

/** Only the configured origins hear anything of it; a preflight goes on, and is answered with the methods of its path. */
function allowOrigins(origins: ReadonlySet<string>): RequestHandler {
  const allow = cors({ origin: [...origins], methods: ['GET', 'HEAD', 'POST', 'DELETE'], maxAge: 600, preflightContinue: true, exposedHeaders: ['X-Request-Id', 'Retry-After', 'WWW-Authenticate', 'Location'] });
  return (req, res, next) => {
    res.vary('Origin');
    if (origins.has(req.headers.origin ?? '')) allow(req, res, next);
    else next();
  };
}

/** The validator takes a trailing slash: a client that lost its session id would revoke all sessions instead of one. */
const exactPath: RequestHandler = (req, _res, next) => next(/^[^?]*\/(?:\?|$)/.test(req.originalUrl) ? notFound() : undefined);

/** HEAD is GET without the body, which Node drops; the validator would say 405. */
const headIsGet: RequestHandler = (req, _res, next) => {
  contextOf(req).isHead = req.method === 'HEAD';
  if (req.method === 'HEAD') req.method = 'GET';
  next();
};

/** The validator asks once for each alternative in `security`; all are answered together, so that the caller hears one refusal. */
async function authorise(req: Context, verifier: Verifier): Promise<true> {
  try {
    if (req.headersDistinct['authorization']!.length > 1) throw new Problem('unauthorized', { detail: 'Send one Authorization header.', headers: { 'WWW-Authenticate': 'Bearer error="invalid_request"' } });
    req.authentication ??= verifier.verify(bearerToken(req.headers.authorization));
    const caller = req.caller = await req.authentication;
    const alternatives = (req.openapi!.schema.security ?? []).map((scheme) => scheme['bearerAuth'] ?? []); // the validator has matched it
    if (alternatives.some((scopes) => scopes.every((scope) => caller.scopes.has(scope)))) {
      if (req.openapi!.schema.operationId !== 'createApplication' || caller.applicationId === undefined) return true;
      throw new Problem('application-bound', { detail: `This token is bound to application ${caller.applicationId}.` });
    }
    const needed = alternatives.map((scopes) => scopes.filter((scope) => !caller.scopes.has(scope)).join(' and ')).join(', or ');
    throw new Problem('insufficient-scope', { detail: `This operation needs ${needed}.`, headers: { 'WWW-Authenticate': 'Bearer error="insufficient_scope"' } });
  } catch (error) {
    req.refusal = asProblem(error); // the validator would lose what it says
    throw error;
  }
}

const checkQuery: RequestHandler = (req, _res, next) => {
  const context = contextOf(req);
  if (!context.openapi) return next(notFound()); // the target was `*`: no path at all, so the validator looks away
  const { operationId, requestBody } = context.openapi.schema, { names, integers } = queries.get(operationId)!;
  const [path, search = ''] = req.originalUrl.split(/\?(.*)/s);
  context.invalid = queryErrors(search, names, integers);
  // What was checked is what everyone else gets to see: a second parser might find no filter where this one did.
  const query = [...new URLSearchParams(`&${search}`)].filter(([name]) => names.has(name));
  Object.defineProperty(req, 'query', { value: Object.fromEntries(query), writable: true, configurable: true, enumerable: true });
  // Reserved characters are the schema's to judge; the validator would stop at the first raw one, and say nothing of the rest.
  req.originalUrl = `${path}?${new URLSearchParams(query).toString().replaceAll('+', '%20').replaceAll('*', '%2A')}`;
  if (!requestBody && hasBody(req)) context.invalid.push({ pointer: '/body', detail: 'must be empty: this operation takes no body' });
  next();
};

/** After the validator: nothing that we found wrong reaches a handler. */
const refuseInvalid: RequestHandler = (req, _res, next) => {
  const { invalid: errors } = contextOf(req);
  next(errors.length > 0 ? invalid(...errors) : undefined);
};

const hasBody = (req: Request) => req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;

const jsonOf = (limit: number) => express.json({ limit, type: 'application/json', verify: (_req, _res, body) => { if (!isUtf8(body)) throw new Error('not UTF-8'); } });
const json = jsonOf(BODY_LIMIT), largeJson = jsonOf(HEARTBEATS_BODY_LIMIT);
/** The validator compiles and keeps a schema for every Content-Type it sees, so it never sees the caller's spelling. */
const readBody: RequestHandler = (req, res, next) => {
  const { operationId, requestBody } = contextOf(req).openapi!.schema; // as above
  if (!requestBody || !hasBody(req)) {
    delete req.headers['content-type'];
    if (requestBody) req.headers['content-type'] = 'application/json';
    req.body = requestBody ? {} : undefined;
    return next();
  }
  const type = req.headers['content-type']?.split(';', 1)[0]!.trim().toLowerCase();
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(req.headers['content-type'] ?? '')?.[1]?.toLowerCase();
  if (type !== 'application/json' || (charset !== undefined && charset !== 'utf-8')) return next(unsupported());
  req.headers['content-type'] = 'application/json';
  (operationId === 'recordHeartbeats' ? largeJson : json)(req, res, (error?: unknown) => next(error && bodyProblem(error)));
};

const checkBody: RequestHandler = (req, _res, next) => {
  if (req.body === undefined) return next();
  const errors = bodyErrors(req.body);
  if (errors.length === 0) errors.push(...clientInfoErrors((req.body as { clientInfo?: unknown }).clientInfo));
  contextOf(req).invalid.push(...errors);
  next();
};

/** Runs the handler of the operation that the validator matched: there is no second routing table to disagree with. */
const dispatch = (handlers: Handlers, streams: Streams, validateResponses: boolean): RequestHandler => async (req, res, next) => {
  const { openapi, caller, requestId } = contextOf(req);
  if (!openapi || !caller) return next();
  const gone = new AbortController();
  res.once('close', () => gone.abort());
  const handler = handlers[openapi.schema.operationId] as Handler<OperationId>; // one of a union: the casts below say what the validator has checked
  const reply = await handler({ path: openapi.pathParams, query: req.query, header: req.headers, body: req.body, caller, requestId, signal: gone.signal } as unknown as Call<never> as Parameters<typeof handler>[0]) as
    { status: number; body: object; headers?: Record<string, string>; stream?: EventStream };
  if (reply.stream && contextOf(req).isHead) return void res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end();
  if (reply.stream) return streams.open(res, reply.stream, caller);
  const text = reply.body instanceof Json ? reply.body.text : JSON.stringify(reply.body);
  if (validateResponses) return void res.status(reply.status).set(reply.headers ?? {}).json(JSON.parse(text));
  send(res, reply.status, 'application/json; charset=utf-8', text, reply.headers);
};

function send(res: Response, status: number, type: string, text: string, headers: Record<string, string> = {}): void {
  res.writeHead(status, { ...headers, 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  res.end(text);
}

/** Ours first, and each place once. */
function together(found: readonly InvalidPart[], problem: Problem): Problem {
  if (problem.code !== 'invalid-request') return problem;
  const places = new Map([...found, ...problem.errors ?? []].reverse().map((part) => [part.pointer, part]));
  return invalid(...[...places.values()].reverse());
}

const asProblem = (error: unknown): Problem => error instanceof StoreUnavailable
  ? new Problem('store-unavailable', { headers: { 'Retry-After': '1' }, cause: error }) : toProblem(error);

const answerProblem = (log: Logger): ErrorRequestHandler => (error, req, res, _next) => {
  const { requestId, refusal, invalid: found = [] } = contextOf(req);
  const problem = refusal ?? together(found, asProblem(error));
  if (problem.status >= 500) log.error({ requestId, err: problem.cause ?? problem }, problem.code);
  if (res.headersSent) return void res.destroy();
  if (req.method === 'OPTIONS' && problem.code === 'method-not-allowed') return void res.writeHead(204, problem.headers).end();
  send(res, problem.status, 'application/problem+json', JSON.stringify(problem.body(requestId)), problem.headers);
};
