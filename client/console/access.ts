// Who is looking: the pasted token, what it says of itself, and the client that carries it. In memory only.
import { type Client, createClient } from '../index.ts';

export interface Access {
  readonly bearer: string;
  readonly baseUrl: string;
  readonly client: Client;
  readonly subject: string | undefined;
  readonly organization: string | undefined;
  /** Undefined when the token does not say, or says it under a name we do not know: the server decides then. */
  readonly scopes: ReadonlySet<string> | undefined;
  /** ms since the epoch */
  readonly expiresAt: number | undefined;
  /** The one application the token is bound to. */
  readonly applicationId: string | undefined;
  may(scope: string): boolean;
}

/** Reads the claims without believing them: they decide what is offered, the server decides what is done. */
export function readAccess(pasted: string, baseUrl: string): Access {
  const bearer = pasted.replace(/^\s*(?:authorization:\s*)?bearer\s+/i, '').replace(/\s+/g, '');
  const claims = claimsOf(bearer);
  const text = (name: string) => (typeof claims[name] === 'string' ? claims[name] : undefined);
  const scopes = scopesOf(claims['scope'] ?? claims['scp'] ?? claims['scopes'] ?? claims['permissions']);
  return {
    bearer, baseUrl, client: createClient({ baseUrl, token: bearer }), scopes,
    subject: text('sub'), organization: text('org_id'), applicationId: text('application_id'),
    expiresAt: typeof claims['exp'] === 'number' ? claims['exp'] * 1_000 : undefined,
    may: (scope) => scopes?.has(scope) ?? true,
  };
}

function claimsOf(token: string): Record<string, unknown> {
  try {
    const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/'); // whatever is missing or wrong throws
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === 'object' && claims !== null ? claims as Record<string, unknown> : {}; // an object, by the check
  } catch {
    return {};
  }
}

function scopesOf(claim: unknown): ReadonlySet<string> | undefined {
  if (typeof claim === 'string') return new Set(claim.split(' ').filter(Boolean));
  return Array.isArray(claim) ? new Set(claim.map(String)) : undefined;
}

/** Chosen here, so that it is known before there is an answer. Not `randomUUID`, which plain http from elsewhere does not have. */
export const newRequestId = (): string => `console-${[...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

/** A client whose calls the server logs under an id we know, so that it can be quoted even when no answer comes. */
export const traced = ({ bearer, baseUrl }: Access, requestId: string): Client =>
  createClient({ baseUrl, token: bearer, headers: { 'X-Request-Id': requestId } });
