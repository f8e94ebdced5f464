// Where Express is spoken: body, validator and security, dispatch by operationId, problem+json.
import cors from 'cors';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler, type Response } from 'express';
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import type { Caller } from './auth.ts';
import type { Limits } from './limits.ts';
import type { Call, Handler, Handlers, OperationId } from './operations.ts';
import { bodyProblem, challenge, invalid, notFound, Problem, toProblem, unfinished, unsupported, type InvalidPart } from './problem.ts';
import { bodyErrors, clientInfoErrors, queryErrors, queryNames } from './query.ts';
import type { Reason } from './health.ts';
import { timesSent } from './headers.ts';
import { inOrder } from './in-order.ts';
import { remembering } from './matched.ts';
import type { Observed, Observer } from './observe.ts';
import { pages } from './pages.ts';
import { requestIdOf } from './request-id.ts';
import type { EventStream, Streams } from './sse.ts';
import { StoreUnavailable } from './store/store.ts';
import { hasBody, rememberingGood, type Query } from './validated.ts';
import { contract, validatorOf } from './validator.ts';
import { warm } from './warm.ts';

export interface AppOptions {
  readonly handlers: Handlers;
  readonly limits: Limits;
  /** Whose X-Forwarded-For is believed, as Express has it. */
  readonly trustProxy?: number | string[] | false;
  /** Told once, when there seems to be a proxy and nobody is believed. */
  readonly onUntrustedProxy?: () => void;
  readonly streams: Streams;
  readonly observer: Observer;
  /** Reasons why requests cannot be served just now; none means ready. */
  readonly notReady: () => Promise<readonly Reason[]>;
  readonly corsOrigins?: readonly string[];
  /** Where the built documentation is. */
  readonly site?: string;
  /** Check every answer against the contract: for tests and staging. */
  readonly validateResponses?: boolean;
}

const BODY_LIMIT = 64 * 1024;
const HEARTBEATS_BODY_LIMIT = 512 * 1024;
const queries = queryNames(JSON.parse(readFileSync(contract, 'utf8')));

interface Operation { operationId: OperationId; requestBody?: object; security?: Record<string, string[]>[] }
/** What we and the validator leave on a request. */
interface Context extends Request, Observed {
  /** Headers of every answer to this request: names and values in turn, because Node sends such a list as it is. */
  head: string[];
  /** What we found wrong ourselves; answered together with what the validator finds. */
  invalid?: InvalidPart[];
  /** Found good before. */
  validQuery?: Query;
  /** Asked for the head of the answer only. */
  isHead?: boolean;
  openapi?: { openApiRoute: string; schema: Operation; pathParams: Record<string, string> };
}
const contextOf = (req: Request) => req as Context; // the fields are set by the first middleware, and by the validator

export function createApp({ handlers, limits, trustProxy = false, onUntrustedProxy = () => {}, streams, observer, notReady, corsOrigins = [], site, validateResponses = false }: AppOptions): Express {
  const app = express().disable('x-powered-by').disable('etag').set('case sensitive routing', true).set('query parser', 'simple').set('trust proxy', trustProxy);
  warm();
  const [, metadata, , ...validation] = validatorOf(validateResponses); // the first would serve routes of Express's own; the third, security, is `authenticate`

  // The body is read after authentication, so that nobody without a token makes us parse anything.
  const judge = inOrder(checkQuery, readBody, checkBody, ...validation, refuseInvalid);
  const api = inOrder(...(corsOrigins.length > 0 ? [allowOrigins(new Set(corsOrigins))] : []), exactPath, headIsGet, remembering(metadata!), authenticate(limits, addressOf(trustProxy === false ? onUntrustedProxy : undefined)),
    validateResponses ? judge : rememberingGood(judge, (operationId) => queries.get(operationId)!.isOfUrlAlone), dispatch(handlers, streams, validateResponses), (_req, _res, next) => next(notFound()));
  app.use(inOrder(identify(observer), (req, res, next) => req.originalUrl.startsWith('/api/v1/') ? api(req, res, next) : (setHead(res, contextOf(req).head), next())));
  pages(app, { notReady, site });
  app.use(api);
  app.use(answerProblem);
  return app;
}

/** Gives the request its id, and has it observed. */
const identify = (observer: Observer): RequestHandler => (req, res, next) => {
  const requestId = contextOf(req).requestId = requestIdOf(req.headers);
  contextOf(req).head = ['X-Request-Id', requestId, 'Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff'];
  observer.watch(contextOf(req), res, next);
};

/** Only the configured origins hear anything of it; a preflight goes on, and is answered with the methods of its path. */
function allowOrigins(origins: ReadonlySet<string>): RequestHandler {
  const allow = cors({ origin: [...origins], methods: ['GET', 'HEAD', 'POST', 'DELETE'], maxAge: 600, preflightContinue: true, exposedHeaders: ['X-Request-Id', 'RateLimit', 'RateLimit-Policy', 'Retry-After', 'WWW-Authenticate', 'Location'] });
  return (req, res, next) => {
    res.vary('Origin');
    if (origins.has(req.headers.origin ?? '')) allow(req, res, next);
    else next();
  };
}

/** The validator takes a trailing slash: a client that lost its session id would revoke all sessions instead of one. */
const exactPath: RequestHandler = ({ originalUrl: url }, _res, next) => next(url.endsWith('/', url.includes('?') ? url.indexOf('?') : url.length) ? notFound() : undefined);

/** HEAD is GET without the body, which Node drops; the validator would say 405. */
const headIsGet: RequestHandler = (req, _res, next) => {
  contextOf(req).isHead = req.method === 'HEAD';
  if (req.method === 'HEAD') req.method = 'GET';
  next();
};

/** Where a request comes from, as far as that is believed. */
function addressOf(onUntrustedProxy: (() => void) | undefined): (req: Request) => string {
  let isTold = false;
  return (req) => {
    if (onUntrustedProxy && !isTold && req.headers['x-forwarded-for'] !== undefined) {
      isTold = true;
      onUntrustedProxy();
    }
    return req.ip ?? '';
  };
}

/** Who it is, whether there were too many of them, and whether they may: any one of the alternatives in the operation's `security` will do. */
const authenticate = (limits: Limits, address: (req: Request) => string): RequestHandler => (req, _res, next) => {
  const context = contextOf(req);
  if (!context.openapi) return next(notFound()); // the target was `*`: no path at all, so the validator looks away
  if (timesSent(req.rawHeaders, 'authorization') > 1) throw new Problem('unauthorized', { detail: 'Send one Authorization header.', headers: challenge({ error: 'invalid_request', error_description: 'Send one Authorization header.' }) });
  const caller = limits.authenticate(req.headers.authorization, () => address(req));
  if (caller instanceof Promise) return caller.then((known) => { admit(limits, context, known); next(); });
  admit(limits, context, caller);
  next();
};

function admit(limits: Limits, context: Context, caller: Caller): void {
  const { schema: { operationId, security = [] }, pathParams } = context.openapi!; // `authenticate` has looked
  context.caller = caller;
  const mayCall = security.some((scheme) => scopesOf(scheme).every((scope) => caller.scopes.has(scope)));
  context.head.push(...limits.admit(caller, mayCall, operationId, pathParams['applicationId']));
  if (!mayCall) {
    const needed = security.map((scheme) => scopesOf(scheme).filter((scope) => !caller.scopes.has(scope)).join(' and ')).join(', or ');
    throw new Problem('insufficient-scope', { detail: `This operation needs ${needed}.`, headers: challenge({ error: 'insufficient_scope', scope: scopesOf(security[0] ?? {}).join(' ') }) });
  }
  if (operationId === 'createApplication' && caller.applicationId !== undefined) throw new Problem('application-bound', { detail: `This token is bound to application ${caller.applicationId}.` });
}
const scopesOf = (scheme: Record<string, string[]>): string[] => scheme['bearerAuth'] ?? [];

const checkQuery: RequestHandler = (req, _res, next) => {
  const context = contextOf(req);
  const { operationId, requestBody } = context.openapi!.schema, // as above
    { names, integers } = queries.get(operationId)!;
  let errors: InvalidPart[] = [];
  if (req.originalUrl.includes('?')) {
    const [path, search = ''] = req.originalUrl.split(/\?(.*)/s);
    errors = queryErrors(search, names, integers);
    // What was checked is what everyone else gets to see: a second parser might find no filter where this one did.
    const query = [...new URLSearchParams(`&${search}`)].filter(([name]) => names.has(name));
    Object.defineProperty(req, 'query', { value: Object.fromEntries(query), writable: true, configurable: true, enumerable: true });
    // Reserved characters are the schema's to judge; the validator would stop at the first raw one, and say nothing of the rest.
    req.originalUrl = `${path}?${new URLSearchParams(query).toString().replaceAll('+', '%20').replaceAll('*', '%2A')}`;
  }
  if (!requestBody && hasBody(req)) errors.push({ pointer: '/body', detail: 'must be empty: this operation takes no body' });
  context.invalid = errors;
  next();
};

/** After the validator: nothing that we found wrong reaches a handler. */
const refuseInvalid: RequestHandler = (req, _res, next) => {
  const { invalid: errors = [] } = contextOf(req);
  next(errors.length > 0 ? invalid(...errors) : undefined);
};

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
  // The parser would take what broke off while the token was checked for a body that somebody has read already, and for an empty one.
  if (req.destroyed && !req.complete) return next(unfinished());
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
  contextOf(req).invalid?.push(...errors); // `checkQuery` has made it
  next();
};

/** Runs the handler of the operation that the validator matched: there is no second routing table to disagree with. */
const dispatch = (handlers: Handlers, streams: Streams, validateResponses: boolean): RequestHandler => async (req, res, next) => {
  const context = contextOf(req), { openapi, caller, requestId } = context;
  if (!openapi || !caller) return next();
  const handler = handlers[openapi.schema.operationId] as Handler<OperationId>; // one of a union: the casts below say what the validator has checked
  const reply = await handler({ path: openapi.pathParams, query: context.validQuery ?? req.query, header: req.headers, body: req.body, caller, requestId } as unknown as Call<never> as Parameters<typeof handler>[0]) as
    { status: number; body: object | string; headers?: Record<string, string>; stream?: EventStream };
  if (reply.stream || validateResponses) setHead(res, context.head);
  if (reply.stream && context.isHead) return void res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end();
  if (reply.stream) return streams.open(res, reply.stream, caller, context.asStream!(reply.stream.kind)); // every request is observed
  const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body); // text is JSON already
  delete req.headers['if-none-match']; // `*` matches everything, and Express would answer 304
  if (validateResponses) return void res.status(reply.status).set(reply.headers ?? {}).json(JSON.parse(text));
  send(context, res, reply.status, 'application/json; charset=utf-8', text, reply.headers);
};

/** In one piece: headers that are set one by one are looked at one by one, and kept. */
function send(context: Context, res: Response, status: number, type: string, text: string, headers: Record<string, string> = {}): void {
  const bytes = context.bytes = Buffer.byteLength(text), head = [...context.head, 'Content-Type', type, 'Content-Length', String(bytes)];
  for (const name of Object.keys(headers)) head.push(name, headers[name]!);
  res.writeHead(status, head);
  res.end(text, bytes === text.length ? 'latin1' : 'utf8'); // of ASCII the same bytes, and written without being looked at
}

/** For whoever writes the answer in another way. */
function setHead(res: Response, head: readonly string[]): void {
  for (let at = 0; at < head.length; at += 2) res.setHeader(head[at]!, head[at + 1]!);
}

/** Ours first, and each place once. */
function together(found: readonly InvalidPart[], problem: Problem): Problem {
  if (problem.code !== 'invalid-request') return problem;
  const places = new Map([...found, ...problem.errors ?? []].reverse().map((part) => [part.pointer, part]));
  return invalid(...[...places.values()].reverse());
}

const asProblem = (error: unknown): Problem => !(error instanceof StoreUnavailable) ? toProblem(error)
  : error.trouble === 'full' ? new Problem('storage-full', { headers: { 'Retry-After': '5' }, cause: error })
    : new Problem('store-unavailable', { headers: { 'Retry-After': '1' }, cause: error });

const answerProblem: ErrorRequestHandler = (error, req, res, _next) => {
  const { requestId, invalid: found = [] } = contextOf(req);
  const problem = contextOf(req).answered = together(found, asProblem(error));
  if (res.headersSent) return void (res.writableEnded || res.destroy());
  if (req.method === 'OPTIONS' && problem.code === 'method-not-allowed') return setHead(res, contextOf(req).head), void res.writeHead(204, problem.headers).end();
  send(contextOf(req), res, problem.status, 'application/problem+json', JSON.stringify(problem.body(requestId)), problem.headers);
};
