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
  get isRetryable(): boolean {
    return false;
  }
}

/** The server gave no complete answer: the name did not resolve, the connection was refused or broke. Why is in `cause`. */
export class ConnectionError extends RollcallError {
  override name = 'ConnectionError';

  override get isRetryable(): boolean {
    return true;
  }
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

const PASSING = new Set([408, 429, 502, 503, 504]);

/** What `ProblemError` and `ResponseError` share: there was an answer. */
abstract class AnswerError extends RollcallError {
  /** The HTTP status of the answer. */
  readonly status: number;
  /** Names the request in the server's log: quote it to the operator. */
  readonly requestId?: string;
  /** Milliseconds after which the server asked to be tried again. */
  readonly retryAfterMs?: number;

  constructor(message: string, response: Response, requestId: string | undefined, options?: ErrorOptions) {
    super(message, options);
    this.status = response.status;
    this.requestId = requestId ?? response.headers.get('x-request-id') ?? undefined;
    this.retryAfterMs = retryAfterMs(response.headers.get('retry-after'), Date.now());
  }

  override get isRetryable(): boolean {
    return PASSING.has(this.status);
  }
}

/** The server refused the call and said why. */
export class ProblemError extends AnswerError {
  override name = 'ProblemError';
  /** The body of the refusal. */
  readonly problem: Problem;
  /** The last part of `problem.type`: `not-found`, `insufficient-scope`, `revocation-too-large` and so on. */
  readonly code: ProblemCode;

  constructor(response: Response, problem: Problem) {
    const code = problem.type.slice(problem.type.indexOf('#') + 1);
    const mend = (problem.errors ?? []).map((entry) => ` ${entry.pointer} ${entry.detail}.`);
    super(`${response.status} ${code}: ${problem.detail ?? problem.title}${mend.join('')}`, response, problem.requestId);
    this.problem = problem;
    this.code = code;
  }

  /** The problem's type in full: a link to its entry in the server's documentation. */
  get type(): Problem['type'] {
    return this.problem.type;
  }

  /** What to mend in the request, each with a JSON pointer into it. Empty unless the status is 400. */
  get errors(): { pointer: string; detail: string }[] {
    return this.problem.errors ?? [];
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

  constructor(response: Response, body: string, cause?: unknown) {
    const what = body === '' ? 'an empty body' : (response.headers.get('content-type') ?? 'a body of no stated type');
    super(`The answer ${response.status} with ${what} is not one of this API.`, response, undefined, { cause });
    this.body = body.slice(0, 1_000);
  }
}

/** The error for an answer that is not a success. */
export function errorOf(response: Response, body: string): ProblemError | ResponseError {
  const problem = parse(body);
  return isProblem(problem) ? new ProblemError(response, problem) : new ResponseError(response, body);
}

/** What a `Retry-After` header (seconds or a date) means in milliseconds from `now`; undefined when it means nothing. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (!header) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined; // An error page is told by its shape, so why it is not JSON does not matter.
  }
}

function isProblem(value: unknown): value is Problem {
  if (typeof value !== 'object' || value === null) return false;
  if (!('type' in value) || typeof value.type !== 'string' || !('title' in value)) return false;
  return !('errors' in value) || Array.isArray(value.errors);
}
