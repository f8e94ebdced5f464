// What `@rollcall/client` exports: createClient, its types and its errors.
import { type Client, createClientWith } from './client.ts';
import { realTiming } from './request.ts';
import type { ClientOptions } from './types.ts';

/**
 * A client of the Rollcall server at `baseUrl`.
 *
 * ```ts
 * const client = createClient({ baseUrl: 'https://rollcall.example.com', token: () => currentToken() });
 * for await (const session of client.sessions.list(applicationId)) console.log(session.name);
 * ```
 *
 * Calls reject with a {@link RollcallError}: {@link ProblemError} when the server refused and said why,
 * {@link ResponseError} when something else answered, {@link ConnectionError} or {@link TimeoutError} when nothing did.
 */
export function createClient(options: ClientOptions): Client {
  return createClientWith(options, realTiming);
}

export type { Applications } from './applications.ts';
export type { Client } from './client.ts';
export type { Problem, ProblemCode } from './problem.ts';
export { ConnectionError, ProblemError, ResponseError, RollcallError, TimeoutError } from './problem.ts';
export type { Credentials, Revocations } from './revocations.ts';
export type { Sessions } from './sessions.ts';
export type * from './types.ts';
