// The domain: what a session is, and what its state means at a given moment. Pure; imports nothing.

export type DerivedStatus = 'active' | 'idle' | 'expired' | 'disconnected';
export type DisconnectReason = 'revoked' | 'ended' | 'lost';

/** A session as the store gives it out. Times are ms since the epoch. */
export interface Session {
  readonly id: string;
  /** Which of the application's generations it belongs to; a revoke-all ends one and begins the next. */
  readonly generation: number;
  /** Null while the connection is open. */
  readonly disconnectReason: DisconnectReason | null;
  readonly disconnectedAt: number | null;
  readonly connectedAt: number;
  readonly tokenExpiresAt: number | null;
  readonly lastActiveAt: number | null;
  /** What never changes (name, user, client), as the members of a JSON object, ready to be sent. */
  readonly facts: string;
}

/** The first that holds: the connection is closed, the token has expired, there was no recent activity. */
export function derivedStatus(session: Session, now: number, idleAfter: number): DerivedStatus {
  return session.disconnectReason === null ? statusIfConnected(session, now, idleAfter) : 'disconnected';
}

/** The derived status with the connection taken as open. */
export function statusIfConnected(session: Session, now: number, idleAfter: number): 'active' | 'idle' | 'expired' {
  if (session.tokenExpiresAt !== null && session.tokenExpiresAt <= now) return 'expired';
  return now - lastSeenActive(session) >= idleAfter ? 'idle' : 'active';
}

/** What `lastActiveBefore` compares. */
export const lastSeenActive = (session: Session): number => session.lastActiveAt ?? session.connectedAt;

/** Which sessions are meant: all of these hold. */
export interface SessionFilter {
  readonly statuses: ReadonlySet<DerivedStatus>;
  readonly userId?: string | undefined;
  readonly clientName?: string | undefined;
  readonly hostname?: string | undefined;
  /** ms since the epoch */
  readonly lastActiveBefore?: number | undefined;
}

/** The part of a filter that depends on the time; the store answers for the rest. */
export function matches(session: Session, status: DerivedStatus, filter: SessionFilter): boolean {
  return filter.statuses.has(status) && (filter.lastActiveBefore === undefined || lastSeenActive(session) < filter.lastActiveBefore);
}

/**
 * Whether a revoke means a lost session: as it was when it was connected, or as it would be if it came back now, when coming back counts as the last that was seen
 * of it where nothing else was. Where the two differ it is thrown out, because nobody is to sleep through that.
 */
export function meansLost(session: Session, now: number, idleAfter: number, filter: SessionFilter): boolean {
  return [session, { ...session, connectedAt: now }].some((one) => matches(one, statusIfConnected(one, now, idleAfter), filter));
}

export const everyStatus: ReadonlySet<DerivedStatus> = new Set(['active', 'idle', 'expired', 'disconnected']);
export const connectedStatuses: ReadonlySet<DerivedStatus> = new Set(['active', 'idle', 'expired']);

/** `derivedStatus` wins over `status`, which wins over `includeInactive`. */
export function wantedStatuses({ derivedStatus, status, includeInactive }:
  { derivedStatus?: readonly DerivedStatus[] | undefined; status?: 'active' | 'inactive' | 'all' | undefined; includeInactive?: boolean | undefined }): ReadonlySet<DerivedStatus> {
  if (derivedStatus) return new Set(derivedStatus);
  switch (status ?? (includeInactive ? 'all' : 'active')) {
    case 'active': return new Set(['active', 'idle']);
    case 'inactive': return new Set(['expired', 'disconnected']);
    case 'all': return everyStatus;
  }
}

/** A name for people: what was given, else the client's title or name, and where it runs. */
export function displayName({ name, hostname, clientInfo }:
  { name?: string | undefined; hostname?: string | null | undefined; clientInfo?: { title?: string | undefined; name?: string | undefined } | null | undefined }): string {
  return name ?? (clientInfo?.title ?? clientInfo?.name ?? 'Unknown client') + (hostname ? ` on ${hostname}` : '');
}

/** Activity is never in the future and never moves back. */
export const laterActivity = (known: number | null, reported: number | undefined, now: number): number | null =>
  reported === undefined ? known : Math.max(known ?? 0, Math.min(reported, now));
