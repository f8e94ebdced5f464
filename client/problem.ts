// What can go wrong in a call, as errors that a caller can tell apart.
import type { components } from '../generated/api.ts';

type ContractProblem = components['schemas']['Problem'];
type KnownCode = ContractProblem['type'] extends infer Type
  ? Type extends `${string}#${infer Code}`
    ? Code
    : never
  : never;

/** Which problem it is, such as `not-found`; a later server may know more of them. */
export type ProblemCode = KnownCode | (string & {});

/** The body of a refusal, as RFC 9457 has it. */
export interface Problem extends Omit<ContractProblem, 'type' | 'requestId'> {
  type: ContractProblem['type'] | (string & {});
  /** Names the request in the server's log. Absent when something in between answered. */
  requestId?: string;
}

/** Base of every error this package throws; the one other thing a call rejects with is the `reason` of your own signal. */
export class RollcallError extends Error {
  override name = 'RollcallError';

  /**
   * Whether the same call may succeed later: no answer came, or a 408, 429, 502, 503 or 504 did. It does not say that
   * repeating is harmless: without an answer, `sessions.create` may have created a session all the same.
   */
  readonly isRetryable: boolean = false;

  /** Milliseconds after which the server asked to be tried again, when it did. */
  readonly retryAfterMs?: number;
}

/** The server gave no complete answer: the name did not resolve, the connection was refused or broke. Why is in `cause`. */
export class ConnectionError extends RollcallError {
  override name = 'ConnectionError';
  override readonly isRetryable = true;
}

/** One attempt took longer than `timeoutMs`. What became of the request is not known. */
export class TimeoutError extends ConnectionError {
  override name = 'TimeoutError';
  /** The limit that was passed, in milliseconds. */
  readonly timeoutMs: number;

  constructor(timeoutMs: number) {
    super(`There was no complete answer within ${timeoutMs} ms.`);
    this.timeoutMs = timeoutMs;
  }
}

/** What `ProblemError` and `ResponseError` share: there was an answer. */
abstract class AnswerError extends RollcallError {
  /** The HTTP status of the answer. */
  readonly status: number;
  /** Names the request in the server's log: quote it to the operator. */
  readonly requestId?: string;
  override readonly isRetryable: boolean;
  override readonly retryAfterMs?: number;

  constructor(message: string, { status, headers }: Response, requestId?: string, options?: ErrorOptions) {
    super(`${status} ${message}`, options);
    this.status = status;
    this.requestId = requestId ?? headers.get('x-request-id') ?? undefined;
    this.isRetryable = [408, 429, 502, 503, 504].includes(status);
    this.retryAfterMs = retryAfterMs(headers.get('retry-after'), Date.now());
  }
}

/** The server refused the call and said why. */
export class ProblemError extends AnswerError {
  override name = 'ProblemError';
  /** The body of the refusal. */
  readonly problem: Problem;
  /** The problem's type in full: a link to its entry in the server's documentation. */
  readonly type: Problem['type'];
  /** The last part of `type`: `not-found`, `insufficient-scope`, `revocation-too-large` and so on. */
  readonly code: ProblemCode;
  /** What to mend in the request, each with a JSON pointer into it. Empty unless the status is 400. */
  readonly errors: { pointer: string; detail: string }[];

  constructor(response: Response, problem: Problem) {
    const { type, title, detail = title, errors = [], requestId } = problem;
    const code = type.slice(type.indexOf('#') + 1);
    super(`${code}: ${detail}${errors.map((entry) => ` ${entry.pointer} ${entry.detail}.`).join('')}`, response, requestId);
    this.problem = problem;
    this.type = type;
    this.code = code;
    this.errors = errors;
  }
}

/**
 * There was an answer, but not one of this API: a proxy's error page, a redirect, a success that is not JSON.
 * Check `baseUrl`, and what stands between you and the server.
 */
export class ResponseError extends AnswerError {
  override name = 'ResponseError';
  /** The first 1,000 characters of the answer. */
  readonly body: string;

  constructor(response: Response, body: string, options?: ErrorOptions) {
    const what = body && (response.headers.get('content-type') ?? 'of no stated type');
    super(`is not an answer of this API (${what || 'empty'}).`, response, undefined, options);
    this.body = body.slice(0, 1_000);
  }
}

/** The error for an answer that is not a success. */
export function errorOf(response: Response, body: string): ProblemError | ResponseError {
  try {
    // Unchecked, so each field is looked at before it counts; an error page is not even JSON.
    const problem = JSON.parse(body) as Problem | null;
    if (typeof problem?.type === 'string' && typeof problem.title === 'string') return new ProblemError(response, problem);
  } catch {
    // Not a problem, then.
  }
  return new ResponseError(response, body);
}

/** What a `Retry-After` header (seconds or a date) means in milliseconds from `now`; undefined when it means nothing. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
