// The one place that speaks openapi-fetch: URLs, queries and bodies from the contract, answers and errors to our own.
import createOpenApiClient, { type Client, defaultPathSerializer } from 'openapi-fetch';
import type { paths } from '../generated/api.ts';
import { ResponseError, RollcallError } from './problem.ts';
import { type Answer, type Policy, send, type Timing } from './request.ts';
import type { CallOptions, ClientOptions } from './types.ts';

/** What a call hands to openapi-fetch in place of the global fetch. */
type Fetch = (request: Request) => Promise<Response>;

/** Where applications are, and what everything under one begins with. */
export const APPLICATIONS = '/api/v1/applications';
export const APPLICATION = `${APPLICATIONS}/{applicationId}` as const;

/** How the resources reach the server. */
export interface Transport {
  http: Client<paths>;
  /** Makes one call of the contract and answers its body. Of the policy it reads no more than it knows. */
  call<T>(
    policy: Policy | undefined,
    make: (fetch: Fetch) => Promise<{ data?: T; response: Response }>,
  ): Promise<NonNullable<T>>;
}

export function createTransport(options: ClientOptions, timing: Timing): Transport {
  const http = createOpenApiClient<paths>({
    baseUrl: options.baseUrl,
    headers: options.headers,
    querySerializer: serializeQuery,
    pathSerializer: serializePath,
  });
  return {
    http,
    async call(policy = {}, make) {
      let answer: Answer | undefined;
      const fetch: Fetch = async (request) => {
        // Taken apart once: a text can be sent again, a stream cannot. No operation has an empty body that means something.
        const body = (await request.text()) || undefined;
        const { url, method, headers } = request;
        answer = await send(options, { url, method, headers, body }, policy, timing);
        return new Response(answer.body, answer.response);
      };
      try {
        const { data } = await make(fetch);
        if (typeof data !== 'object' || data === null) throw new TypeError('not a JSON object');
        return data;
      } catch (error) {
        if (error instanceof RollcallError) throw error;
        policy.signal?.throwIfAborted();
        if (answer) throw new ResponseError(answer.response, answer.body, { cause: error });
        // The cause may quote a header: only it says more.
        throw new RollcallError(`The request could not be made: its cause says why. The baseUrl is ${JSON.stringify(options.baseUrl)}.`, { cause: error });
      }
    },
  };
}

/** The query parameters in an argument that carries the options of the call too. */
export function queryOf<T extends CallOptions>(options: T | undefined): Omit<T, keyof CallOptions> | undefined {
  if (options === undefined) return undefined;
  const { signal, timeoutMs, retries, ...query } = options;
  return query;
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
