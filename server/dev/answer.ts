// Answers one request from the contract's examples: Prism validates and picks, and what Prism would let through or die of is refused here first.
import type { IncomingHttpHeaders } from 'node:http';
import { createLogger } from '@stoplight/prism-core';
import { createInstance, type IHttpRequest } from '@stoplight/prism-http';
import { invalid, notFound, noToken, Problem, type InvalidPart } from '../problem.ts';
import { bodyErrors, clientInfoErrors, queryErrors } from '../query.ts';
import { choose, CONTROLS, type Operation } from './examples.ts';

export interface Asked { method: string; path: string; query: URLSearchParams; headers: IncomingHttpHeaders; body: Buffer; requestId: string }
export interface Answered { status: number; headers: Record<string, string>; body: string }

const USUAL_BODY = 64 * 1024;
export const LARGEST_BODY = 512 * 1024;

const CONFIG = { isProxy: false, checkSecurity: true, validateRequest: true, validateResponse: true, errors: false, upstreamProxy: undefined } as const;

export function createAnswer(operations: Operation[]): (asked: Asked) => Promise<Answered> {
  // Prism's engine without Prism's server: that one writes its findings into a header, and a name in Cyrillic there ends the process.
  const prism = createInstance({ ...CONFIG, mock: { dynamic: false } }, { logger: createLogger('mock', { level: 'silent' }) });

  return async ({ method, path, query, headers, body, requestId }) => {
    const operation = route(operations, method, path);
    if (!/^Bearer +[\w.~+/-]+=*$/i.test(headers.authorization ?? '')) {
      throw noToken();
    }
    const content = readBody(operation, headers, body);
    refuseOddQuery(operation, query);
    const input: IHttpRequest = {
      method: operation.method as IHttpRequest['method'], // it is one of the contract's, in lower case
      url: { path, query: Object.fromEntries([...query].filter(([name]) => !CONTROLS.includes(name))) },
      headers: { ...plain(headers), ...(content !== undefined && { 'content-type': 'application/json' }) },
      ...(content !== undefined && { body: content }),
    };
    const outcome = await prism.request(input, operations, { ...CONFIG, mock: choose(operation, query, headers) })();
    if (outcome._tag === 'Left') throw new Problem('internal-error', { detail: outcome.left.message, cause: outcome.left });
    const { output, validations } = outcome.right;
    // The example that says what a malformed request is like would lie about this one.
    if (output.statusCode === 400 && validations.input.length) throw invalid(...validations.input.map((found) => toPart(operation, found)));
    if (validations.output.length) {
      throw new Problem('internal-error', { detail: 'The example is not what the contract describes.', errors: validations.output.map((found) => toPart(operation, found)) });
    }
    const type = output.headers?.['Content-type'] ?? '';
    return {
      status: output.statusCode,
      headers: { 'X-Request-Id': requestId, ...stringValues(output.headers ?? {}) },
      body: /\bjson\b/.test(type) ? JSON.stringify(output.body) : String(output.body ?? ''),
    };
  };
}

/** On the raw path, as the server does it: an encoded slash is part of an id, and a path that does not decode names nothing. */
function route(operations: Operation[], method: string, path: string): Operation {
  const onPath = operations.filter((operation) => new RegExp(`^${operation.path.replace(/\{[^}]+\}/g, '[^/]+')}$`).test(path));
  if (!onPath.length || !decodes(path)) throw notFound();
  const wanted = method === 'HEAD' ? 'get' : method.toLowerCase();
  const operation = onPath.find((candidate) => candidate.method === wanted);
  if (operation) return operation;
  const methods = onPath.flatMap((candidate) => candidate.method === 'get' ? ['GET', 'HEAD'] : [candidate.method.toUpperCase()]);
  throw new Problem('method-not-allowed', { headers: { Allow: [...methods, 'OPTIONS'].join(', ') } });
}

function decodes(path: string): boolean {
  try { return typeof decodeURIComponent(path) === 'string'; } catch { return false; }
}

/** As the server reads it: no body is an empty one. */
function readBody({ iid, request }: Operation, headers: IncomingHttpHeaders, body: Buffer): unknown {
  if (!request?.body) {
    if (body.length) throw invalid({ pointer: '/body', detail: 'must be empty: this operation takes no body' });
    return undefined;
  }
  if (!body.length) return {};
  const [, type, charset = 'utf-8'] = /^\s*([^;\s]*)\s*(?:;\s*charset\s*=\s*"?([^";\s]+))?/i.exec(headers['content-type'] ?? '') ?? [];
  if (type?.toLowerCase() !== 'application/json' || charset.toLowerCase() !== 'utf-8') {
    throw new Problem('unsupported-media-type', { detail: 'Send the body as Content-Type: application/json, in UTF-8.' });
  }
  const limit = iid === 'recordHeartbeats' ? LARGEST_BODY : USUAL_BODY;
  if (body.length > limit) throw new Problem('payload-too-large', { detail: `The body may have at most ${limit} bytes.` });
  const content = parsed(body.toString());
  // Prism takes a body of `null` for none at all.
  if (typeof content !== 'object' || content === null) throw invalid({ pointer: '/body', detail: 'is not valid JSON, or not an object' });
  const errors = bodyErrors(content);
  if (!errors.length && 'clientInfo' in content) errors.push(...clientInfoErrors(content.clientInfo));
  if (errors.length) throw invalid(...errors);
  return content;
}

function parsed(text: string): unknown {
  try { return JSON.parse(text); } catch { return undefined; }
}

/** Prism takes unknown parameters and repeated ones; the server does not, and a frontend should learn that here. */
function refuseOddQuery({ request }: Operation, query: URLSearchParams): void {
  const errors = queryErrors(query.toString(), new Set([...CONTROLS, ...(request?.query ?? []).map(({ name }) => name)]));
  if (errors.length) throw invalid(...errors);
}

/**
 * What Prism may see of the headers. No Accept: like the server, the mock has one form of each answer and does not negotiate. Nothing about
 * the body, which has been read: a Content-Type on a GET is no mistake.
 */
const plain = (headers: IncomingHttpHeaders): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => typeof value === 'string' && !/^(accept|content-.*|transfer-encoding)$/.test(name) ? [[name, value]] : []));

/** Prism lowers the case of parameters' names, and begins its sentences with what the pointer says already. */
function toPart({ request }: Operation, { path = ['body'], message }: { path?: string[]; message: string }): InvalidPart {
  const names = [...(request?.query ?? []), ...(request?.path ?? [])].map(({ name }) => name);
  const steps = path.map((step, index) => path[0] !== 'body' && index === 1 ? names.find((name) => name.toLowerCase() === step) ?? step : step);
  return { pointer: `/${steps.map(escape).join('/')}`, detail: message.replace(/^(Request|Response) (body property|body|(query|path) parameter)( [\w.]+)? (?=must )/, '') };
}

/** RFC 6901. */
const escape = (step: string): string => step.replaceAll('~', '~0').replaceAll('/', '~1');

const stringValues = (headers: Record<string, unknown>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => value === null || value === undefined ? [] : [[name, String(value)]]));
