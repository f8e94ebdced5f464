// Every problem the server can answer, total over the contract's list, and how foreign errors become one of them.
import type { Problem as ProblemBody, ProblemType } from '../generated/api.ts';

/** The part of a problem's `type` that names it: `not-found` in `/docs/errors#not-found`. */
export type ProblemCode = ProblemType extends `/docs/errors#${infer Code}` ? Code : never;

const problems: Record<ProblemCode, { status: number; title: string }> = {
  'invalid-request': { status: 400, title: 'The request is malformed.' },
  'invalid-cursor': { status: 400, title: 'The cursor does not belong to this list.' },
  'malformed-request': { status: 400, title: 'The request is not well-formed HTTP.' },
  unauthorized: { status: 401, title: 'A valid bearer token is required.' },
  'insufficient-scope': { status: 403, title: 'The token lacks a scope this operation needs.' },
  'application-bound': { status: 403, title: 'The token is bound to one application and cannot do this.' },
  'credential-revoked': { status: 403, title: 'The credential was revoked.' },
  'not-found': { status: 404, title: 'There is nothing here.' },
  'method-not-allowed': { status: 405, title: 'The path does not take this method.' },
  'request-timeout': { status: 408, title: 'The request took too long to arrive.' },
  'revocation-too-large': { status: 409, title: 'The revocation matches more sessions than allowed.' },
  'payload-too-large': { status: 413, title: 'The body is too large.' },
  'unsupported-media-type': { status: 415, title: 'The body must be JSON.' },
  'expectation-failed': { status: 417, title: 'The expectation cannot be met.' },
  'rate-limited': { status: 429, title: 'There were too many requests.' },
  'headers-too-large': { status: 431, title: 'The headers are too large.' },
  'internal-error': { status: 500, title: 'The server failed.' },
  'store-unavailable': { status: 503, title: 'The store is out of reach.' },
  'storage-full': { status: 503, title: 'The store has no room to write.' },
  'issuer-unavailable': { status: 503, title: "The token issuer's keys are out of reach." },
  overloaded: { status: 503, title: 'The server has no room for another stream.' },
  'not-built': { status: 503, title: 'This page has not been built.' },
};

export const problemCodes = Object.keys(problems) as ProblemCode[]; // the keys of a record over them

/** More are not told. */
export const MOST_ERRORS = 20;

export type InvalidPart = { pointer: string; detail: string };
interface More { detail?: string; errors?: InvalidPart[]; headers?: Record<string, string>; cause?: unknown }

/** A refusal. Thrown anywhere, answered in one place. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly status: number;
  readonly detail: string | undefined;
  readonly errors: InvalidPart[] | undefined;
  readonly headers: Record<string, string>;

  constructor(code: ProblemCode, { detail, errors, headers = {}, cause }: More = {}) {
    super(detail ?? problems[code].title, { cause });
    this.code = code;
    this.status = problems[code].status;
    this.detail = detail;
    this.errors = errors;
    this.headers = headers;
  }

  body(requestId: string): ProblemBody {
    const { title, status } = problems[this.code];
    return {
      type: `/docs/errors#${this.code}`, title, status,
      ...(this.detail !== undefined && { detail: this.detail }),
      requestId,
      ...(this.errors && { errors: this.errors.slice(0, MOST_ERRORS) }),
    };
  }
}

export const notFound = (): Problem => new Problem('not-found');

/** A 400 that points at what must be mended. */
export function invalid(...errors: InvalidPart[]): Problem {
  const detail = errors.length === 1 ? 'One part of the request must be mended.'
    : `${errors.length > MOST_ERRORS ? `More than ${MOST_ERRORS}` : errors.length} parts of the request must be mended.`;
  return new Problem('invalid-request', { detail, errors });
}

/** What Express and the validator throw; everything else is a defect of ours. */
interface ForeignError { status?: number; headers?: Record<string, string>; errors?: { path: string; message: string; errorCode?: string }[]; path?: string; message?: string }

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { status, headers, errors, path, message } = error as ForeignError;
  switch (status) {
    case 400:
      // A path that does not decode names nothing; only of that the validator gives no code.
      if (!errors?.[0]?.errorCode) return path?.startsWith('/query/') ? invalid({ pointer: pointer(path), detail: message ?? 'is malformed' }) : new Problem('not-found', { cause: error });
      // One more than is shown says that there are more. A body can hold a hundred thousand mistakes.
      return invalid(...errors.slice(0, MOST_ERRORS + 1).map(({ path, message, errorCode }) => ({ pointer: pointer(path || '/body', errorCode), detail: plain(message, errorCode) })));
    case 401: return noToken(error);
    case 404: return new Problem('not-found', { detail: 'There is no such path.' }); // often a base URL that has /api/v1 already
    case 405: return new Problem('method-not-allowed', { headers: { Allow: allow(headers?.['Allow'] ?? '') } });
    case 415: return unsupported();
    default: return new Problem('internal-error', { cause: error });
  }
}

export const unfinished = (): Problem => invalid({ pointer: '/body', detail: 'could not be read to its end' });

/** What the body parser throws: its own errors, and those of the stream and of zlib. */
export function bodyProblem(error: unknown): Problem {
  const { status, type, limit, code } = error as { status?: number; type?: string; limit?: number; code?: string };
  if (type === 'entity.parse.failed') return invalid({ pointer: '/body', detail: 'is not valid JSON, or not an object' });
  if (type === 'entity.verify.failed') return invalid({ pointer: '/body', detail: 'is not well-formed UTF-8' });
  if (status === 413) return new Problem('payload-too-large', { detail: `The body may have at most ${limit} bytes.` });
  if (status === 415) return unsupported(type === 'encoding.unsupported' ? 'Send the body as it is, or with Content-Encoding: gzip, deflate, br or zstd.' : undefined);
  if (status === 400) return /^(?:Z|ZSTD|ERR)_/.test(code ?? '') ? invalid({ pointer: '/body', detail: 'is not what its Content-Encoding says' }) : unfinished();
  return toProblem(error);
}

/** What a 401 and a 403 ask for (RFC 6750, section 3): the scheme comes with at least one parameter. */
export const challenge = (parameters: Readonly<Record<string, string>> = {}): { 'WWW-Authenticate': string } =>
  ({ 'WWW-Authenticate': `Bearer ${Object.entries({ realm: 'rollcall', ...parameters }).map(([name, value]) => `${name}="${value}"`).join(', ')}` });

export const noToken = (cause?: unknown): Problem => new Problem('unauthorized', { detail: 'Send one as Authorization: Bearer <token>.', headers: challenge(), cause });

export const unsupported = (detail = 'Send the body as Content-Type: application/json, in UTF-8.'): Problem => new Problem('unsupported-media-type', { detail });

const UNKNOWN_FIELD = 'additionalProperties.openapi.validation';

/** Plainer words than the validator's, where it has better ones to say. */
function plain(message: string, code = ''): string {
  switch (code.split('.', 1)[0]) {
    case 'additionalProperties': return 'is not a field of this object';
    case 'pattern': return 'has characters that are not allowed here';
    case 'required': return 'is required';
    case 'uniqueItems': return 'must not name anything twice';
    case 'type': return message.replace(/,/g, ' or ');
    case 'format': return message.includes('"uuid"') ? 'must be a UUID in lower case'
      : message.includes('"date-time"') ? 'must be a date-time that exists, such as 2026-11-22T00:00:00Z' : message;
    default: return message.replace(/^must NOT have fewer than 1 (characters|items)$/, 'must not be empty').replace(/^must NOT have/, 'must not have');
  }
}

const allow = (methods: string) => [methods, ...(/\bGET\b/.test(methods) ? ['HEAD'] : []), 'OPTIONS'].join(', ');

const LONGEST_STEP = 200;

/** A name as one step of a JSON pointer (RFC 6901), whatever it is made of; cut before it is escaped, so that no escape is cut. */
export const step = (name: string): string => name.slice(0, LONGEST_STEP).toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1');

/** The validator says `/params/x` where we say `/path/x`, does not escape the name of an unknown field, and loses an empty one. */
const pointer = (path: string, code?: string): string => code !== UNKNOWN_FIELD ? path.replace(/^\/params\//, '/path/')
  : path.replace(/^(\/body(?:\/heartbeats\/\d+)?\/)([^]*)$/, (_whole, parent: string, name: string) => parent + step(name));
