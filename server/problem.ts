// Every problem the server can answer, total over the contract's list, and how foreign errors become one of them.
import type { Problem as ProblemBody, ProblemType } from '../generated/api.ts';

/** The part of a problem's `type` that names it: `not-found` in `/docs/errors#not-found`. */
export type ProblemCode = ProblemType extends `/docs/errors#${infer Code}` ? Code : never;

const problems: Record<ProblemCode, { status: number; title: string }> = {
  'invalid-request': { status: 400, title: 'The request is malformed.' },
  'invalid-cursor': { status: 400, title: 'The cursor does not belong to this list.' },
  unauthorized: { status: 401, title: 'A valid bearer token is required.' },
  'insufficient-scope': { status: 403, title: 'The token lacks a scope this operation needs.' },
  'application-bound': { status: 403, title: 'The token is bound to one application and cannot do this.' },
  'credential-revoked': { status: 403, title: 'The credential was revoked.' },
  'not-found': { status: 404, title: 'There is nothing here.' },
  'method-not-allowed': { status: 405, title: 'The path does not take this method.' },
  'revocation-too-large': { status: 409, title: 'The revocation matches more sessions than allowed.' },
  'payload-too-large': { status: 413, title: 'The body is too large.' },
  'unsupported-media-type': { status: 415, title: 'The body must be JSON.' },
  'rate-limited': { status: 429, title: 'There were too many requests.' },
  'internal-error': { status: 500, title: 'The server failed.' },
  'store-unavailable': { status: 503, title: 'The store is out of reach.' },
  'issuer-unavailable': { status: 503, title: "The token issuer's keys are out of reach." },
  'not-built': { status: 503, title: 'This page has not been built.' },
};

const MOST_ERRORS = 20;

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
    this.errors = errors?.slice(0, MOST_ERRORS);
    this.headers = headers;
  }

  body(requestId: string): ProblemBody {
    const { title, status } = problems[this.code];
    return {
      type: `/docs/errors#${this.code}`, title, status,
      ...(this.detail !== undefined && { detail: this.detail }),
      requestId,
      ...(this.errors && { errors: this.errors }),
    };
  }
}

export const notFound = (): Problem => new Problem('not-found');

/** A 400 that points at what must be mended. */
export function invalid(...errors: InvalidPart[]): Problem {
  const detail = errors.length === 1 ? 'One part of the request must be mended.' : `${errors.length} parts of the request must be mended.`;
  return new Problem('invalid-request', { detail, errors });
}

/** What Express, its body parser and the validator throw; everything else is a defect of ours. */
interface ForeignError { status?: number; type?: string; limit?: number; headers?: Record<string, string>; errors?: { path: string; message: string; errorCode: string }[]; path?: string; message?: string }

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { status, type, limit, headers, errors, path, message } = error as ForeignError;
  switch (status) {
    case 400:
      if (type === 'entity.parse.failed') return invalid({ pointer: '/body', detail: 'is not valid JSON, or not an object' });
      if (errors) return invalid(...errors.map(({ path, message, errorCode }) => ({ pointer: pointer(path), detail: details[errorCode] ?? message })));
      if (path?.startsWith('/query/')) return invalid({ pointer: pointer(path), detail: message ?? 'is malformed' });
      if (type) return invalid({ pointer: '/body', detail: 'could not be read' });
      return new Problem('not-found', { cause: error }); // a path that does not decode names nothing
    case 401: return new Problem('unauthorized', { headers: { 'WWW-Authenticate': 'Bearer' }, cause: error });
    case 404: return notFound();
    case 405: return new Problem('method-not-allowed', { headers: { Allow: allow(headers?.['Allow'] ?? '') } });
    case 413: return new Problem('payload-too-large', { detail: `The body may have at most ${limit} bytes.` });
    case 415: return new Problem('unsupported-media-type', { detail: 'Send the body as Content-Type: application/json, in UTF-8.' });
    default: return new Problem('internal-error', { cause: error });
  }
}

/** Plainer words for what the validator says of these. */
const details: Record<string, string> = {
  'additionalProperties.openapi.validation': 'is not a field of this object',
  'pattern.openapi.validation': 'has characters that are not allowed here',
};

const allow = (methods: string) => [methods, ...(/\bGET\b/.test(methods) ? ['HEAD'] : []), 'OPTIONS'].join(', ');

/** The validator says `/params/x` where we say `/path/x`, and does not escape the name of an unknown field. */
const pointer = (path: string): string => path.replace(/^\/params\//, '/path/')
  .replace(/^(\/body(?:\/heartbeats\/\d+)?\/)([^]*[~/][^]*)$/, (whole, parent: string, name: string) => known(name) ? whole : parent + name.replaceAll('~', '~0').replaceAll('/', '~1'));
const known = (rest: string): boolean => /^(?:clientInfo|heartbeats)(?:\/\w+)*$/.test(rest);
