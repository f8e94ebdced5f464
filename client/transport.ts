// The one place that speaks openapi-fetch: URLs, queries and bodies from the contract, answers and errors to our own.
import createOpenApiClient, { type Client, defaultPathSerializer } from 'openapi-fetch';
import type { paths } from '../generated/api.ts';
import { ResponseError, RollcallError } from './problem.ts';
import { type Answer, type Policy, send, type Timing } from './request.ts';
import type { CallOptions, ClientOptions } from './types.ts';

/** What a call hands to openapi-fetch in place of the global fetch. */
type Fetch = (request: Request) => Promise<Response>;

/** How the resources reach the server. */
export interface Transport {
  http: Client<paths>;
  /** The limit that the client was made with, when it was. */
  timeoutMs?: number;
  /** Makes one call of the contract and answers its body. */
  call<T>(
    policy: Policy,
    make: (fetch: Fetch) => Promise<{ data?: T; response: Response }>,
  ): Promise<NonNullable<T>>;
}

const TIMEOUT_MS = 10_000;
const RETRIES = 2;

export function createTransport(options: ClientOptions, timing: Timing): Transport {
  const http = createOpenApiClient<paths>({
    baseUrl: options.baseUrl,
    headers: options.headers,
    querySerializer: serializeQuery,
    pathSerializer: serializePath,
  });
  return {
    http,
    timeoutMs: options.timeoutMs,
    async call(policy, make) {
      let answer: Answer | undefined;
      const fetch: Fetch = async (request) => {
        // Taken apart once: a text can be sent again, a stream cannot. No operation has an empty body that means something.
        const body = (await request.text()) || undefined;
        const { url, method, headers } = request;
        answer = await send(options, { url, method, headers, body }, withDefaults(policy, options), timing);
        return new Response(answer.body || null, answer.response);
      };
      try {
        const { data } = await make(fetch);
        if (typeof data !== 'object' || data === null) throw new TypeError('The body is not a JSON object.');
        return data;
      } catch (error) {
        if (error instanceof RollcallError || policy.signal?.aborted) throw error;
        if (answer) throw new ResponseError(answer.response, answer.body, error);
        throw new RollcallError('The request could not be made.', { cause: error });
      }
    },
  };
}

function withDefaults(policy: Policy, options: ClientOptions): Policy {
  return {
    ...policy,
    timeoutMs: policy.timeoutMs ?? options.timeoutMs ?? TIMEOUT_MS,
    retries: policy.retries ?? options.retries ?? RETRIES,
  };
}

/** Takes the options that are for us out of an argument that carries query parameters too. */
export function split<T extends CallOptions>(options: T): { call: CallOptions; query: Omit<T, keyof CallOptions> } {
  const { signal, timeoutMs, retries, ...query } = options;
  return { call: { signal, timeoutMs, retries }, query };
}

/**
 * Lists are comma-separated. What is undefined is left out; an empty list is not, because the server refuses it, whereas
 * leaving it out would silently widen the call.
 */
function serializeQuery(query: Record<string, unknown>): string {
  return Object.entries(query)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${encodeURIComponent(name)}=${[value].flat().map(encode).join(',')}`)
    .join('&');
}

function encode(value: unknown): string {
  return encodeURIComponent(String(value ?? ''));
}

/**
 * Refuses ids that would turn one path into another: with an empty session id, the URL of "revoke this session" is the
 * one of "revoke them all", and a URL parser resolves `.` and `..` however they are encoded.
 */
function serializePath(pathname: string, parameters: Record<string, unknown>): string {
  for (const [name, value] of Object.entries(parameters)) {
    if (typeof value !== 'string' || /^\.{0,2}$/.test(value)) {
      throw new RollcallError(`${name} must be an id, not ${JSON.stringify(value)}.`);
    }
  }
  return defaultPathSerializer(pathname, parameters);
}
