// What is told of a request when it is over: its line in the log, its numbers, its span.
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Caller } from './auth.ts';
import { writeInfo } from './log.ts';
import type { Metrics } from './metrics.ts';
import { pageOf } from './pages.ts';
import type { Problem } from './problem.ts';
import type { EventStream, StreamWatch } from './sse.ts';
import type { RequestSpan, Tracing } from './tracing.ts';
import { UUID } from './uuid.ts';

/** What is learned of a request on its way. */
export interface Observed {
  requestId: string;
  caller?: Caller;
  /** What it was refused with. */
  answered?: Problem;
  /** Length of the answer's body, where we have written it ourselves. */
  bytes?: number;
  /** What the validator matched. */
  openapi?: { openApiRoute: string; pathParams: Record<string, string>; schema: { operationId: string } };
  /** From here on the answer is an event stream. */
  asStream?: (kind: EventStream['kind']) => StreamWatch;
}

export interface Observer {
  /** Everything that is done for the request is done in `next`. */
  watch(request: Request, response: ServerResponse, next: () => void): void;
}

type Request = IncomingMessage & Observed & { originalUrl: string };

export function createObserver(tools: Tools): Observer {
  return {
    watch(request, response, next) {
      const watched = new Watched(tools, request, response);
      response.on('close', () => watched.close());
      request.asStream = (kind) => watched.asStream(kind);
      if (watched.span) watched.span.run(next);
      else next();
    },
  };
}

interface Tools { readonly log: Logger; readonly metrics?: Metrics | undefined; readonly tracing?: Tracing | undefined }

/** One request on its way. */
class Watched {
  readonly span: RequestSpan | undefined;
  private readonly tools: Tools;
  private readonly request: Request;
  private readonly response: ServerResponse;
  private readonly started = performance.now();
  /** As they came: both are changed on the way. */
  private readonly method: string;
  private readonly url: string;
  private isStream = false;

  constructor(tools: Tools, request: Request, response: ServerResponse) {
    this.tools = tools;
    this.request = request;
    this.response = response;
    this.method = request.method ?? '';
    this.url = request.originalUrl;
    this.span = tools.tracing?.request(this.method, request.headers);
  }

  close(): void {
    if (this.isStream) return; // told when it was opened, and with its reason when it has closed
    const { request, response } = this, { openapi, bytes } = request;
    const status = response.headersSent ? response.statusCode : undefined, ms = performance.now() - this.started;
    this.count(status, ms);
    if (openapi && status !== undefined && status < 500 && bytes !== undefined && response.writableFinished) this.plainLine(openapi, status, ms, bytes);
    else this.line('request', { status, ms: tenths(ms), bytes: (bytes ?? Number(response.getHeader('content-length') ?? NaN)) || undefined, aborted: response.writableFinished ? undefined : true });
  }

  asStream(kind: EventStream['kind']): StreamWatch {
    const { metrics } = this.tools, elapsed = () => performance.now() - this.started;
    return {
      opened: () => {
        this.isStream = true;
        metrics?.streams.inc({ kind });
        this.count(200, elapsed());
        this.line('stream opened', { status: 200, ms: tenths(elapsed()), kind });
      },
      closed: (reason) => {
        metrics?.streams.dec({ kind });
        metrics?.streamsClosed.inc({ kind, reason });
        this.line('stream closed', { ms: tenths(elapsed()), kind, reason });
      },
    };
  }

  /** Once: when the answer is over, or the stream has begun. */
  private count(status: number | undefined, ms: number): void {
    const { openapi, answered } = this.request, { metrics } = this.tools;
    this.span?.end(openapi ? `${this.method} ${openapi.openApiRoute}` : this.method, {
      'http.route': openapi?.openApiRoute, 'rollcall.operation_id': openapi?.schema.operationId, 'http.response.status_code': status,
    }, answered && answered.status >= 500 ? answered.code : undefined);
    metrics?.requestOver(openapi?.schema.operationId ?? pageOf(this.url) ?? 'unmatched', status ?? 'aborted', ms / 1_000);
    if (answered) metrics?.refusals.inc({ code: answered.code });
  }

  private line(message: string, more: object): void {
    const { requestId, caller, answered, openapi } = this.request;
    const page = openapi ? undefined : pageOf(this.url);
    const failed = answered !== undefined && answered.status >= 500;
    const level = failed && !page ? 'error' : page === 'livez' || page === 'readyz' ? 'debug' : 'info';
    this.tools.log[level]({
      requestId, trace_id: this.span?.traceId, method: this.method, path: openapi?.openApiRoute ?? rawPath(this.url), operationId: openapi?.schema.operationId, page, ...more,
      principal: caller && principalOf(caller), applicationId: applicationOf(openapi?.pathParams), problem: answered?.code,
      err: failed ? answered.cause ?? answered : undefined,
    }, message);
  }

  /** The same line, of an operation that has not failed: all that it says is ours, so nothing in it needs an escape. */
  private plainLine({ openApiRoute, schema, pathParams }: NonNullable<Observed['openapi']>, status: number, ms: number, bytes: number): void {
    const { requestId, caller, answered } = this.request;
    const applicationId = answered ? applicationOf(pathParams) : pathParams['applicationId']; // else the validator has found it good
    writeInfo(this.tools.log, `"requestId":"${requestId}"${this.span ? `,"trace_id":"${this.span.traceId}"` : ''},"method":"${this.method}","path":"${openApiRoute}","operationId":"${schema.operationId}","status":${status},"ms":${tenths(ms)},"bytes":${bytes}${
      caller ? `,"principal":"${principalOf(caller)}"` : ''}${applicationId === undefined ? '' : `,"applicationId":"${applicationId}"`}${answered ? `,"problem":"${answered.code}"` : ''}`, 'request');
  }
}

const tenths = (ms: number): number => Math.round(ms * 10) / 10;

const applicationOf = (parameters: Record<string, string> | undefined) => {
  const id = parameters?.['applicationId'];
  return id !== undefined && UUID.test(id) ? id : undefined;
};

const LONGEST_PATH = 200;
const LIKE_A_TOKEN = /[\w-]{16,}\.[\w-]{16,}\.[\w-]{16,}/g;

/** Of a path that matches nothing: somebody may have put anything there, a token too. */
const rawPath = (url: string): string => url.slice(0, 4_096).split(/[?#]/, 1)[0]!.replace(LIKE_A_TOKEN, '(token)').slice(0, LONGEST_PATH);

const principals = new WeakMap<Caller, string>();

/** Says which lines are of one caller, and lets who knows the caller find them; the same on every instance. */
export function principalOf(caller: Caller): string {
  let principal = principals.get(caller);
  if (principal === undefined) principals.set(caller, principal = createHash('sha256').update(caller.principal).digest('hex').slice(0, 16));
  return principal;
}
