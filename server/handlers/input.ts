// What handlers read from a call beyond what the contract's schema can say.
import { invalid, notFound } from '../problem.ts';
import type { Caller } from '../auth.ts';
import { LAST_MOMENT } from '../iso.ts';
import type { Actor, Credential, Tenant } from '../store/store.ts';

/** Milliseconds since the epoch, of a text that the schema has seen to be a moment. */
export const time = (text: string | undefined): number | undefined => text === undefined ? undefined : Date.parse(text.toUpperCase());

export const tenantOf = ({ organizationId, applicationId: boundTo }: Caller, { applicationId }: { applicationId: string }): Tenant =>
  ({ organizationId, applicationId, boundTo });

export const actorOf = ({ subject }: Caller, requestId: string): Actor => ({ subject, requestId });

/** Whose sessions the caller may touch: with `sessions:connect` alone its own, else (undefined) all of the application. */
export const ownerOf = ({ scopes, subject }: Caller): string | undefined => scopes.has('sessions:write') ? undefined : subject;

/** A token is accepted for a leeway after it has expired, by the instance's clock, which may be two minutes behind the store's; a denial lasts longer than that. */
const ACCEPTED_MS = 5 * 60_000;

/**
 * What a client's own token says of its session: nothing for a backend, whose token is not the session's. A session claim lives on in the tokens that
 * a refresh brings, so it is denied for as long as anything is remembered; a token's hash only for as long as the token may be accepted.
 */
export function proofOf(caller: Caller, retention: number): { tokenExpiresAt: number | undefined; credential: Credential | undefined } {
  if (ownerOf(caller) === undefined) return { tokenExpiresAt: undefined, credential: undefined };
  const { credentialId: id, expiresAt } = caller;
  return { tokenExpiresAt: expiresAt, credential: { id, expiresAt: Math.min(LAST_MOMENT, expiresAt + Math.max(ACCEPTED_MS, id.startsWith('sid:') ? retention : 0)) } };
}

/** @throws Problem not-found, for what the store says is not there. */
export function found<T>(value: T | undefined): T {
  if (value === undefined) throw notFound();
  return value;
}

/** A token for a client's own sessions speaks for its credential itself. @throws Problem invalid-request */
export function refuseClaims(items: readonly { body: object; pointer: string }[], fields: readonly string[]): void {
  const errors = items.flatMap(({ body, pointer }) => fields.filter((field) => field in body)
    .map((field) => ({ pointer: `${pointer}/${field}`, detail: 'comes from the token when the scope is sessions:connect' })));
  if (errors.length > 0) throw invalid(...errors);
}

