// What goes into the client's calls and what comes out of them, read off the contract.
import type { components, operations } from '../generated/api.ts';

type Schemas = components['schemas'];
type Query<Id extends 'listSessions' | 'revokeSessions'> = NonNullable<operations[Id]['parameters']['query']>;

/** One of `Known`, or a value a later server has added: handle it as the unknown case. */
type Open<Known extends string> = Known | (string & {});

/** `active`, `idle`, `expired` or `disconnected`; treat a value you do not know as you would treat the plain `status`. */
export type DerivedStatus = Open<Schemas['DerivedStatus']>;

/** `revoked`, `ended` (both final) or `lost` (the next heartbeat reconnects it); may gain values. */
export type DisconnectReason = Open<Schemas['DisconnectReason']>;

/** One client's connection to one application. Every moment is an RFC 3339 string in UTC; absent means not known. */
export interface Session extends Omit<Schemas['Session'], 'derivedStatus' | 'disconnectReason'> {
  /** What the session's state meant when the server answered. */
  derivedStatus: DerivedStatus;
  /** Why a disconnected session is over. */
  disconnectReason?: DisconnectReason;
}

/** A session as `sessions.create` answers it. */
export interface ConnectedSession extends Omit<Schemas['ConnectedSession'], 'session'> {
  session: Session;
}

/** A row of the audit: who revoked (or allowed again) what, and how many sessions that ended. */
export interface Revocation extends Omit<Schemas['Revocation'], 'filter'> {
  /** What the call was made with. Empty for a revoke of everything. */
  filter: Omit<Schemas['Revocation']['filter'], 'derivedStatus'> & { derivedStatus?: DerivedStatus[] };
}

export type Application = Schemas['Application'];
export type ClientInfo = Schemas['ClientInfo'];
export type Heartbeat = Schemas['Heartbeat'];
export type HeartbeatResult = Schemas['HeartbeatResult'];
export type NewApplication = Schemas['NewApplication'];
export type NewSession = Schemas['NewSession'];
export type RevokedCredential = Schemas['RevokedCredentialList']['items'][number];
export type RevokeResult = Schemas['RevokeResult'];
export type SessionCounts = Schemas['SessionCounts'];

/** One page of a list. It may be shorter than `limit`; only an absent `nextCursor` is the end. */
export interface Page<Item> {
  items: Item[];
  /** Pass it as `cursor`, with the same filters, to get the next page. */
  nextCursor?: string;
}

/** What every call takes as its last argument. */
export interface CallOptions {
  /** Cuts the call short, while it waits to try again too. The call then rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that one attempt may take, its body included; 0 is no limit. Default: the client's. */
  timeoutMs?: number | undefined;
  /** How often a call that is safe to repeat is tried again. Default: the client's. */
  retries?: number | undefined;
}

/** Options of a call that walks over all pages. */
export interface ListOptions extends CallOptions {
  /** Items per request, 1 to 1,000; default 100. Not the total: `break` out of the loop when you have enough. */
  limit?: number | undefined;
}

/** Options of a call that reads one page. */
export interface PageOptions extends ListOptions {
  /** The `nextCursor` of the page before. */
  cursor?: string | undefined;
}

/** Which sessions to list: exact, case-sensitive, and all must hold. Without any: those that are active or idle. */
export type SessionFilters = Omit<Query<'listSessions'>, 'limit' | 'cursor'>;

/** Which sessions to revoke. Without any: every connected session, idle and expired ones included. */
export type RevokeFilters = Omit<Query<'revokeSessions'>, 'dryRun' | 'maxCount'>;

/** How a bulk revoke is bounded. */
export type RevokeOptions = Pick<Query<'revokeSessions'>, 'dryRun' | 'maxCount'> & CallOptions;

/** How to reach the server, and how patiently. */
export interface ClientOptions {
  /** Where the server is, without `/api/v1`: `https://rollcall.example.com`. */
  baseUrl: string;
  /** The bearer token, or a function that is asked for one before every attempt, so that a refreshed token is used at once. */
  token: string | (() => string | Promise<string>);
  /** Milliseconds that one attempt may take, its body included; 0 is no limit. Default 10,000, and 60,000 for bulk revokes. */
  timeoutMs?: number | undefined;
  /** How often a call that is safe to repeat is tried again. Default 2. */
  retries?: number | undefined;
  /** Sent with every request, such as `X-Request-Id`, or `Prefer` to a mock. */
  headers?: Record<string, string> | undefined;
  /** Used instead of the global `fetch`. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
}
