// What a host says to the adapter, and what the adapter is to its host.
import type { McpAuth, McpRequest, McpResponse, Next } from './http.ts';
import type { Credential } from './identity.ts';
import type { ServiceOptions } from './registry.ts';

/** A connection as hosts see it: for logs, for tools, for the authorization server. */
export interface McpSession {
  /** The service's session; undefined while the service has not been reached. */
  sessionId: string | undefined;
  externalId: string;
  /** As the client sends it; undefined in the 2026 era. Works like a password: keep it out of logs. */
  mcpSessionId: string | undefined;
  principal: string | undefined;
  userId: string | undefined;
  /** Every credential the session has used in this process, the latest last. */
  credentialIds: string[];
  clientInfo: Record<string, string> | null;
  hostname: string | null;
}

export interface McpSessionsOptions {
  /** Where the service is. The token needs `sessions:read` and `sessions:write`. */
  service: ServiceOptions;

  /**
   * Who is behind the request: a session of one principal is a 404 for another. Default: the OAuth client and `auth.extra.sub`.
   * Must be the same for as long as the session lives.
   */
  principal?(request: McpRequest): string | undefined;

  /** Your id of the user, to filter and revoke by. Default: `auth.extra.sub`. */
  userId?(request: McpRequest): string | undefined;

  /**
   * What a revoke denies. Default: `sid:` and `auth.extra.sid`, else the hash of the token. A string is taken for something that
   * outlives its tokens, a grant or a login, and denied for 30 days; say how long with `{ id, expiresAt }`.
   */
  credential?(request: McpRequest): Credential | string | undefined;

  /** The client's host. Default: the header `X-Client-Hostname`, which no client sends of its own accord. */
  hostname?(request: McpRequest): string | undefined;

  /**
   * Frees the server's own transport of this MCP session: called when it is revoked, and when it has been idle for too long.
   * Sessionful servers need it, or their transports stay in memory for ever and running tools are not told to stop.
   */
  closeTransport?(mcpSessionId: string): unknown;

  /**
   * Called once for each connection of this process that a revoke has cut. Revoke the grant at your authorization server here,
   * or a refresh token brings the client back.
   */
  onRevoked?(session: McpSession): unknown;

  /** Hears of everything that failed in the background. Default: a warning on the console, at most one a minute. */
  onError?(error: unknown): void;

  /** The `resource_metadata` of the 401 answers. Default: what `requireBearerAuth` of SDK v2 leaves on `auth`. */
  resourceMetadataUrl?: string | undefined;

  /**
   * While the service is out of reach, `allow` (the default) goes on with what is known: what was denied stays denied, new sessions
   * are registered later. `deny` answers 503 to every request after ten seconds without news of revokes, and to
   * every session the service has not confirmed.
   */
  onServiceError?: 'allow' | 'deny' | undefined;

  /** `auto` (the default) gives 2025-era clients of stateless servers a session id; `never` leaves them untracked. */
  issueSessionIds?: 'auto' | 'never' | undefined;

  /** How often activity is reported, in ms. Every fourth report is a heartbeat for all: keep it below a twelfth of LEASE. Default 5,000. */
  reportEveryMs?: number | undefined;

  /** A client without an open stream that sent nothing for so long is let go, in ms. Default 1,800,000 (half an hour). */
  idleTimeoutMs?: number | undefined;

  /** Ends open streams when the token expires that opened them. Default true. */
  endStreamsAtTokenExpiry?: boolean | undefined;

  /** Connections this process keeps; beyond it the quietest without an open response is let go. Default 10,000. */
  maxSessions?: number | undefined;
}

/** What the adapter holds in memory right now. */
export interface McpSessionsStats {
  /** Connections. */
  sessions: number;
  /** Those the service does not know yet. */
  unregistered: number;
  /** Responses that are being worked on, streams included. */
  exchanges: number;
  /** Credentials that are refused. */
  denied: number;
}

/** The middleware. Place it behind `express.json()` and bearer authentication, and before the MCP handler. */
export interface McpSessions {
  (request: McpRequest, response: McpResponse, next: Next): void;

  /** The session a request belongs to; undefined before it has one. */
  session(request: McpRequest): McpSession | undefined;

  /**
   * Wraps a token verifier, so that a denied credential is refused wherever the verifier is used. `refuse` makes the error your SDK
   * turns into a 401: `(message) => new InvalidTokenError(message)`.
   */
  verifier<Auth extends McpAuth, Verifier extends { verifyAccessToken(token: string): Promise<Auth> }>(
    verifier: Verifier & { verifyAccessToken(token: string): Promise<Auth> },
    refuse: (message: string) => Error,
  ): { verifyAccessToken(token: string): Promise<Auth> };

  /** Resolves when the denied credentials are known, or after two seconds; requests wait for it by themselves. */
  readonly ready: Promise<void>;

  stats(): McpSessionsStats;

  /**
   * Reports what is not reported yet, and stops. Sessions are left as they are: those whose clients find another instance, or this
   * one after its restart, go on; the others are `lost` one lease later. Requests that still come are answered 503.
   */
  close(): Promise<void>;
}
