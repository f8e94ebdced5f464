// What the store promises. Both databases answer the same conformance suite.
import type { DisconnectReason, Session, SessionFilter } from '../session.ts';

/**
 * Whose data a call is about. Every statement carries it as a condition, so what belongs to others is simply not there:
 * methods that take a tenant answer `undefined` when the application is unknown, foreign, deleted, or not the one a token is bound to.
 */
export interface Tenant {
  readonly organizationId: string;
  readonly applicationId: string;
  /** The one application the caller may see, if its token is bound to one. */
  readonly boundTo: string | undefined;
}

export interface Application { readonly id: string; readonly name: string; readonly organizationId: string; readonly createdAt: number }

export interface Credential { readonly id: string; readonly expiresAt: number | null }

export interface NewSession {
  readonly name: string;
  readonly userId: string | undefined;
  readonly externalId: string | undefined;
  readonly hostname: string | null;
  readonly userAgent: string | null;
  readonly clientInfo: { name?: string } | null;
  readonly credential: Credential | undefined;
  readonly tokenExpiresAt: number | null;
  /** The subject that may see the session with `sessions:connect`; '' for sessions of a backend. */
  readonly owner: string;
}

export interface Heartbeat {
  readonly sessionId: string;
  readonly lastActiveAt: number | undefined;
  readonly tokenExpiresAt: number | undefined;
  readonly credential: Credential | undefined;
}

export type Connected =
  | { readonly outcome: 'created' | 'found'; readonly session: Session; readonly generation: number }
  | { readonly outcome: 'credential-revoked' };

export interface HeartbeatResult { readonly accepted: number; readonly ended: { sessionId: string; reason: 'revoked' | 'ended' | 'unknown' }[] }

/** Who asked for a change, for the audit. */
export interface Actor { readonly subject: string; readonly requestId: string }

/** What a revoke was called with, as the audit shows it. */
export type AuditFilter = Readonly<Record<string, string | readonly string[]>>;

export interface Revocation {
  readonly id: string;
  readonly createdAt: number;
  readonly action: 'revokeSessions' | 'revokeSession' | 'allowCredential';
  readonly subject: string;
  readonly filter: AuditFilter;
  readonly disconnectedCount: number;
  readonly state: 'running' | 'done' | 'interrupted';
  readonly requestId: string;
}

export interface Bounds { readonly maxCount?: number | undefined; readonly dryRun?: boolean | undefined }
export type Revoked = { readonly outcome: 'done'; readonly count: number } | { readonly outcome: 'too-many'; readonly limit: number };

export interface SessionCounts {
  readonly asOf: number;
  readonly byDerivedStatus: { active: number; idle: number; expired: number; disconnected: number };
  readonly byClientName: { items: { clientName: string | null; count: number }[]; other: number };
}

/** What there is in all applications together. */
export interface Survey {
  readonly byDerivedStatus: SessionCounts['byDerivedStatus'];
  /** When the oldest of what background work has yet to write down fell due: a revoke-all, or a token's expiry. */
  readonly oldestDueAt: number | undefined;
}

/** Where in an application's events a reader is. */
export interface EventPosition { readonly tx: number; readonly seq: number }

export type StoredEvent = { readonly position: EventPosition; readonly at: number; readonly generation: number } & (
  /** The session as it is now; absent when it has been forgotten since. */
  | { readonly type: 'session.connected' | 'session.updated'; readonly sessionId: string; readonly session: Session | undefined }
  | { readonly type: 'session.disconnected'; readonly sessionId: string; readonly reason: DisconnectReason }
  /** Every session of `generation` and of older ones. */
  | { readonly type: 'sessions.revoked'; readonly revocationId: string; readonly count: number });

export interface PageRequest { readonly after: string | undefined; readonly limit: number }
/** A page may be short; only an absent `next` is the end. */
export interface Page<T> { readonly items: T[]; readonly next: string | undefined }

export interface Store {
  /** The store's time, ms since the epoch: the one clock by which statuses are decided. */
  now(): number;

  createApplication(organizationId: string, name: string): Promise<Application>;
  /** Newest first. */
  listApplications(organizationId: string, boundTo: string | undefined, page: PageRequest): Promise<Page<Application>>;
  getApplication(tenant: Tenant): Promise<Application | undefined>;
  /** Revokes everything, then nothing under the application is found any more. Answers how many sessions were cut. */
  deleteApplication(tenant: Tenant, actor: Actor): Promise<number | undefined>;

  /** Makes a session, or finds the one with the same external id, refreshing its token and credential, reconnecting it if it was lost. */
  connect(tenant: Tenant, session: NewSession): Promise<Connected | undefined>;
  /** With an owner, only the owner's sessions are found. */
  getSession(tenant: Tenant, sessionId: string, owner?: string): Promise<Session | undefined>;
  /** Newest first; what matched throughout a walk is seen exactly once. */
  pageSessions(tenant: Tenant, filter: SessionFilter, page: PageRequest): Promise<Page<Session> | undefined>;
  /** Plain beats are kept in memory for up to a second; changes of token and reconnections are committed before this resolves. */
  recordHeartbeats(tenant: Tenant, owner: string | undefined, beats: readonly Heartbeat[]): Promise<HeartbeatResult | undefined>;
  /** The client left; idempotent, answers the session as it is then. With an owner, only the owner's sessions are found. */
  endSession(tenant: Tenant, owner: string | undefined, sessionId: string): Promise<Session | undefined>;
  /** Counts at most five seconds old when they are asked for, or as old as counting takes. */
  countSessions(tenant: Tenant): Promise<SessionCounts | undefined>;
  /** Looks over everything, piece by piece; asked by the operator's metrics, so it takes no tenant. */
  survey(signal?: AbortSignal): Promise<Survey>;

  /** Ends one session for good and denies its credentials. Answers 1, or 0 when it was not connected. */
  revokeSession(tenant: Tenant, sessionId: string, actor: Actor): Promise<number | undefined>;
  /** Ends every connected session in one transaction whose cost does not depend on their number. */
  revokeAll(tenant: Tenant, bounds: Bounds, actor: Actor): Promise<Revoked | undefined>;
  /** Ends the sessions that match now, in batches; committed when this resolves. Refuses more than `maxCount` or 100,000, but for lost ones that come back meanwhile. */
  revokeMatching(tenant: Tenant, filter: SessionFilter, audit: AuditFilter, bounds: Bounds, actor: Actor): Promise<Revoked | undefined>;
  listRevocations(tenant: Tenant, page: PageRequest): Promise<Page<Revocation> | undefined>;
  listRevokedCredentials(tenant: Tenant, page: PageRequest): Promise<Page<{ credentialId: string; deniedUntil: number }> | undefined>;
  /** False when the credential is not denied. */
  allowCredential(tenant: Tenant, credentialId: string, actor: Actor): Promise<boolean | undefined>;

  isVisible(tenant: Tenant): Promise<boolean>;
  /** What happened after a position, in order, without gaps. Asked once for all readers of an application, so it takes no tenant: see `isVisible`. */
  readEvents(applicationId: string, after: EventPosition, limit: number): Promise<StoredEvent[]>;
  newestEvent(applicationId: string): Promise<EventPosition>;

  /** An open stream says that its session is connected: a beat, held in memory. */
  beat(applicationId: string, sessionId: string): void;
  /** Writes the beats held in memory. */
  flush(): Promise<void>;
  /** One round of the frequent duties, in small batches: flush, settle, expire, end what is lost. */
  maintain(signal?: AbortSignal): Promise<void>;
  /** One round of forgetting what retention says, in small batches. */
  forget(signal?: AbortSignal): Promise<void>;
  /** Writes down what a revoke-all has ended, in small batches; it is over for every reader before that. */
  settleRevocations(applicationId: string, signal?: AbortSignal): Promise<void>;
  /** Filtered revokes that began before this moment and are not done were interrupted. */
  interruptRevocations(before: number): Promise<void>;
  /** Calls back when something about an application was committed by this process; urgent is what cuts somebody. Answers how to stop. */
  onChange(listener: (applicationId: string, urgent: boolean) => void): () => void;
  /** Rejects when the store cannot be used, and with which trouble. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/**
 * `away`: out of reach, or it refused to answer in time; `full`: there is no room to write; `damaged`: what it holds cannot be read; `newer`: its
 * schema is from the future, which only `check` says.
 */
export type Trouble = 'away' | 'full' | 'damaged' | 'newer';

/** The store cannot do it now. The outcome of a write is unknown, unless the store is full: then it was not done. */
export class StoreUnavailable extends Error {
  readonly trouble: Trouble;
  constructor(message: string, { trouble = 'away', cause }: { trouble?: Trouble; cause?: unknown } = {}) {
    super(message, { cause });
    this.trouble = trouble;
  }
}

/** What is stored cannot be used as it is: a person must do something, and the message says what. */
export class StoreUnusable extends Error {}
