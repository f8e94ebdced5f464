// What the client's types promise; the type check of the repository runs it, there is nothing to execute.
import { expectTypeOf } from 'vitest';
import {
  type Client,
  createClient,
  type DerivedStatus,
  type DisconnectReason,
  type Page,
  type ProblemCode,
  ProblemError,
  type RevokeResult,
  type Session,
} from '../../client/index.ts';

declare const client: Client;
const APP = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

// Options: two are required, and a token may come from anywhere.
createClient({ baseUrl: '', token: 'secret' });
createClient({ baseUrl: '', token: async () => 'secret', fetch: globalThis.fetch, timeoutMs: 1, retries: 0, headers: {} });
// @ts-expect-error a client without a token can call nothing
createClient({ baseUrl: '' });
// @ts-expect-error no option of the library inside is one of ours
createClient({ baseUrl: '', token: '', querySerializer: {} });

// Answers are the things themselves, without envelopes.
expectTypeOf(client.sessions.list(APP)).toEqualTypeOf<AsyncIterable<Session>>();
expectTypeOf(client.sessions.page(APP)).resolves.toEqualTypeOf<Page<Session>>();
expectTypeOf(client.sessions.get(APP, APP)).resolves.toEqualTypeOf<Session>();
expectTypeOf(client.sessions.end(APP, APP)).resolves.toEqualTypeOf<Session>();
expectTypeOf(client.sessions.revokeAll(APP)).resolves.toEqualTypeOf<RevokeResult>();

// What may be absent or null is so in the types, too.
declare const session: Session;
expectTypeOf(session.hostname).toEqualTypeOf<string | null>();
expectTypeOf(session.tokenExpiresAt).toEqualTypeOf<string | undefined>();
expectTypeOf(session.clientInfo?.name).toEqualTypeOf<string | undefined>();

// Open enums: known values are offered, unknown ones are possible, so a switch over them needs its default.
expectTypeOf<'a value of next year'>().toExtend<DerivedStatus>();
expectTypeOf<'a value of next year'>().toExtend<DisconnectReason>();
expectTypeOf<'a value of next year'>().toExtend<ProblemCode>();
expectTypeOf<'active'>().toExtend<Session['derivedStatus']>();
expectTypeOf<Session['status']>().toEqualTypeOf<'active' | 'disconnected'>();

// Filters: closed going in, so that the compiler finds the typing error.
client.sessions.list(APP, { derivedStatus: ['idle'], userId: 'u', limit: 5, signal: AbortSignal.abort(), timeoutMs: 1, retries: 1 });
// @ts-expect-error a misspelt status
client.sessions.list(APP, { derivedStatus: ['idel'] });
// @ts-expect-error a misspelt filter
client.sessions.revokeAll(APP, { clientname: 'cursor' });
// @ts-expect-error what is over cannot be revoked
client.sessions.revokeAll(APP, { derivedStatus: ['disconnected'] });
// @ts-expect-error a revoke has no pages
client.sessions.revokeAll(APP, { limit: 1 });
// @ts-expect-error a list walks from the start
client.sessions.list(APP, { cursor: 'x' });
// @ts-expect-error an application needs a name
client.applications.create({});

// Errors narrow by class.
declare const error: unknown;
if (error instanceof ProblemError) {
  expectTypeOf(error.status).toEqualTypeOf<number>();
  expectTypeOf(error.code).toEqualTypeOf<ProblemCode>();
  expectTypeOf(error.requestId).toEqualTypeOf<string | undefined>();
  expectTypeOf(error.errors).toEqualTypeOf<{ pointer: string; detail: string }[]>();
}
