// A request as the adapter sees it: what it says, who sends it, and what that tells about its connection.
import type { Connection, Opening } from './connections.ts';
import { clientInfoOf, oneLine } from './description.ts';
import { headerOf, type McpRequest, type McpResponse, type Next } from './http.ts';
import * as identity from './identity.ts';
import { type Message, readMessage } from './message.ts';
import type { McpSessionsOptions } from './options.ts';

/** Everything about a request that decides what becomes of it. */
export interface Visit {
  readonly request: McpRequest;
  readonly response: McpResponse;
  readonly next: Next;
  readonly message: Message;
  readonly principal: string | undefined;
  readonly credential: identity.Credential | undefined;
  /** Nothing says who it is, so there is nothing that could be refused from now on but the session itself. */
  readonly isAnonymous: boolean;
}

/** How visits are read, with the host's callbacks where it has given some. */
export interface Reception {
  read(request: McpRequest, response: McpResponse, next: Next): Visit;
  credentialOf(request: McpRequest): identity.Credential | undefined;
  /** What there is to know of a connection that this visit opens. */
  opening(visit: Visit, key: string, mcpSessionId: string | undefined): Opening;
}

/** A token's end moves by more than this when it is refreshed; ms. */
const NO_NEWS_MS = 10_000;

/** Marks the session ids that the adapter makes up, so that another instance knows them for such. */
const MINTED = 'rollcall-';

export const mintSessionId = (): string => MINTED + crypto.randomUUID();
export const isMinted = (mcpSessionId: string | undefined): boolean => mcpSessionId?.startsWith(MINTED) ?? false;

export function createReception(options: Omit<McpSessionsOptions, 'service'>): Reception {
  const principalOf = options.principal ?? identity.defaultPrincipal;
  const userIdOf = options.userId ?? identity.defaultUserId;
  const hostnameOf = options.hostname ?? ((request: McpRequest) => headerOf(request, 'x-client-hostname'));
  const credentialOf = options.credential
    ? (request: McpRequest) => identity.toCredential(options.credential?.(request))
    : identity.defaultCredential;
  return {
    credentialOf,

    read(request, response, next) {
      const credential = credentialOf(request);
      const principal = principalOf(request);
      const isAnonymous = credential === undefined && request.auth === undefined;
      return { request, response, next, message: readMessage(request), principal, credential, isAnonymous };
    },

    opening({ request, message, principal, isAnonymous }, key, mcpSessionId) {
      return {
        key,
        principal,
        isAnonymous,
        mcpSessionId,
        externalId: mcpSessionId === undefined ? key : identity.externalIdOf(key, principal),
        isMinted: isMinted(mcpSessionId),
        userId: oneLine(userIdOf(request), 255),
        hostname: oneLine(hostnameOf(request), 255) ?? null,
        userAgent: oneLine(headerOf(request, 'user-agent'), 500) ?? null,
        clientInfo: clientInfoOf(message.clientInfo),
      };
    },
  };
}

/** Notes that the connection was heard of, and with which token. */
export function touch({ request, message, credential }: Visit, connection: Connection, at: number): void {
  connection.seenAt = at;
  connection.hasLeft = false;
  if (message.isActivity) connection.activeAt = at;
  const { credentials } = connection;
  const expiresAt = identity.tokenExpiry(request.auth?.expiresAt);
  const isNew = credential !== undefined && !credentials.has(credential.id);
  // An older token, used once more, is no news; nor is an expiry that the verifier counts from now each time it is asked.
  if (!isNew && !((expiresAt?.getTime() ?? 0) > (connection.tokenExpiresAt?.getTime() ?? 0) + NO_NEWS_MS)) return;
  connection.tokenVersion += 1;
  connection.tokenExpiresAt = expiresAt;
  connection.credential = credential;
  if (!credential) return;
  // With a token every five minutes, a session of weeks would otherwise remember thousands that work no longer.
  for (const [id, until] of credentials) if (until <= at) credentials.delete(id);
  credentials.set(credential.id, (credential.expiresAt ?? expiresAt)?.getTime() ?? Infinity);
}
