// What the fake service remembers: sessions, denied credentials and events, by the rules of the contract.
import type { Heartbeat, HeartbeatResult, NewSession, RevokedCredential, Session } from '../types.ts';

export interface MemoryOptions {
  /** A connected session without activity for so long is idle; ms. Default 300,000. */
  idleAfterMs?: number | undefined;
  /** A session without a heartbeat for so long is lost; ms. Default 90,000. */
  leaseMs?: number | undefined;
}

/** An event as its stream writes it. */
export interface Told {
  id: string;
  event: string;
  data: object;
}

/** A session, with what the contract does not show. All moments are ms since the epoch. */
interface Row {
  readonly id: string;
  readonly body: NewSession;
  readonly createdAt: number;
  /** Credentials it has used, each with the moment the credential expires, as far as it was said. */
  readonly credentials: Map<string, number | undefined>;
  generation: number;
  connectedAt: number;
  beatAt: number;
  lastActiveAt: number | undefined;
  tokenExpiresAt: number | undefined;
  reason: 'revoked' | 'ended' | 'lost' | undefined;
  disconnectedAt: number | undefined;
}

export type Memory = ReturnType<typeof createMemory>;

const RETENTION_MS = 30 * 24 * 3_600_000;
const iso = (at: number) => new Date(at).toISOString();
const time = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));

export function createMemory(applicationId: string, { idleAfterMs = 300_000, leaseMs = 90_000 }: MemoryOptions) {
  const rows = new Map<string, Row>();
  const denials = new Map<string, number>();
  const told: Told[] = [];
  const listeners = new Set<(event: Told) => void>();
  let generation = 1;
  let ahead = 0;
  const now = () => Date.now() + ahead;

  function tell(event: string, data: object): void {
    const one = { id: `fake.${told.length + 1}`, event, data };
    told.push(one);
    for (const listener of listeners) listener(one);
  }

  function present(row: Row): Session {
    const { body, reason, tokenExpiresAt, lastActiveAt, disconnectedAt } = row;
    const { userId, externalId, hostname = null, userAgent = null, clientInfo = null } = body;
    const at = now();
    const isExpired = tokenExpiresAt !== undefined && tokenExpiresAt <= at;
    const isIdle = at - (lastActiveAt ?? row.connectedAt) >= idleAfterMs;
    return {
      id: row.id,
      name: body.name ?? (clientInfo?.title ?? clientInfo?.name ?? 'Unknown client') + (hostname ? ` on ${hostname}` : ''),
      status: reason ? 'disconnected' : 'active',
      derivedStatus: reason ? 'disconnected' : isExpired ? 'expired' : isIdle ? 'idle' : 'active',
      ...(reason && { disconnectReason: reason }),
      ...(tokenExpiresAt !== undefined && { tokenExpiresAt: iso(tokenExpiresAt) }),
      ...(lastActiveAt !== undefined && { lastActiveAt: iso(lastActiveAt) }),
      connectedAt: iso(row.connectedAt),
      ...(disconnectedAt !== undefined && { disconnectedAt: iso(disconnectedAt) }),
      createdAt: iso(row.createdAt),
      agentId: applicationId,
      organizationId: 'org_test',
      hostname,
      userAgent,
      clientInfo,
      ...(userId !== undefined && { userId }),
      ...(externalId !== undefined && { externalId }),
    };
  }

  function over(row: Row, reason: NonNullable<Row['reason']>): void {
    row.disconnectedAt ??= now();
    row.reason = reason;
  }

  function reconnect(row: Row): void {
    Object.assign(row, { reason: undefined, disconnectedAt: undefined, connectedAt: now(), beatAt: now() });
    tell('session.updated', { session: present(row) });
  }

  function remember(row: Row, { credentialId, credentialExpiresAt, tokenExpiresAt }: Omit<Heartbeat, 'sessionId'>): boolean {
    if (credentialId !== undefined) row.credentials.set(credentialId, time(credentialExpiresAt) ?? row.credentials.get(credentialId));
    const expiresAt = time(tokenExpiresAt) ?? row.tokenExpiresAt;
    const isNews = expiresAt !== row.tokenExpiresAt;
    row.tokenExpiresAt = expiresAt;
    return isNews;
  }

  /** Denies what it has used. Answers whether it was connected until now. */
  function throwOut(row: Row): boolean {
    const wasConnected = row.reason === undefined;
    for (const [id, expiresAt] of row.credentials) {
      denials.set(id, Math.max(denials.get(id) ?? 0, expiresAt ?? row.tokenExpiresAt ?? now() + RETENTION_MS));
    }
    row.credentials.clear();
    over(row, 'revoked');
    return wasConnected;
  }

  const isDenied = (credentialId: string) => (denials.get(credentialId) ?? 0) > now();
  const newest = () => [...rows.values()].reverse();
  const revocable = (row: Row) => row.reason === undefined || row.reason === 'lost';
  const tellGone = (row: Row) => tell('session.disconnected', { sessionId: row.id, reason: row.reason, disconnectedAt: iso(row.disconnectedAt ?? now()) });

  /** As what a filter means it: a lost one as it was, and as it would be if it came back now. */
  const asOpen = (row: Row): Row[] => (row.reason === 'lost' ? [row.connectedAt, now()].map((connectedAt) => ({ ...row, connectedAt, reason: undefined })) : [row]);

  /** Those who are lost are told of as well, and first. Answers how many were connected. */
  function revokeRows(some: Row[]): number {
    const lost = some.filter(({ reason }) => reason === 'lost'), connected = some.filter(({ reason }) => reason === undefined);
    for (const row of [...lost, ...connected]) {
      throwOut(row);
      tellGone(row);
    }
    return connected.length;
  }

  const memory = {
    now,
    newestEvent: () => told.at(-1)?.id ?? 'fake.0',
    /** Those after this one; undefined when it is none of ours. */
    eventsAfter: (id: string) => (id === 'fake.0' ? told : told.some((one) => one.id === id) ? told.slice(told.findIndex((one) => one.id === id) + 1) : undefined),
    listen(listener: (event: Told) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },

    advance(ms: number) {
      ahead += ms;
      memory.sweep();
    },

    /** Whoever was not heard of for a lease is lost. */
    sweep() {
      for (const row of rows.values()) {
        if (row.reason !== undefined || now() - row.beatAt < leaseMs) continue;
        over(row, 'lost');
        tellGone(row);
      }
    },

    create(body: NewSession): { outcome: 'created' | 'found'; session: Session; generation: number } | { outcome: 'denied' } {
      if (body.credentialId !== undefined && isDenied(body.credentialId)) return { outcome: 'denied' };
      const known = body.externalId === undefined ? undefined : newest().find((row) => row.body.externalId === body.externalId && revocable(row));
      if (known) {
        const isNews = remember(known, body);
        known.beatAt = now();
        if (known.reason === 'lost') reconnect(known);
        else if (isNews) tell('session.updated', { session: present(known) });
        return { outcome: 'found', session: present(known), generation: known.generation };
      }
      const at = now();
      const row: Row = {
        id: timedId(at), body, createdAt: at, credentials: new Map(), generation, connectedAt: at, beatAt: at,
        lastActiveAt: undefined, tokenExpiresAt: undefined, reason: undefined, disconnectedAt: undefined,
      };
      remember(row, body);
      rows.set(row.id, row);
      tell('session.connected', { session: present(row), generation });
      return { outcome: 'created', session: present(row), generation };
    },

    beat(heartbeats: Heartbeat[]): HeartbeatResult {
      const ended: HeartbeatResult['ended'] = [];
      for (const beat of heartbeats) {
        const row = rows.get(beat.sessionId);
        if (!row || row.reason === 'revoked' || row.reason === 'ended') {
          ended.push({ sessionId: beat.sessionId, reason: row?.reason === 'revoked' || row?.reason === 'ended' ? row.reason : 'unknown' });
          continue;
        }
        row.beatAt = now();
        if (beat.lastActiveAt !== undefined) row.lastActiveAt = Math.max(row.lastActiveAt ?? 0, Math.min(Date.parse(beat.lastActiveAt), now()));
        const isNews = remember(row, beat);
        if (row.reason === 'lost') reconnect(row);
        else if (isNews) tell('session.updated', { session: present(row) });
      }
      return { accepted: heartbeats.length - ended.length, ended };
    },

    end(sessionId: string): Session | undefined {
      const row = rows.get(sessionId);
      if (row && revocable(row)) {
        over(row, 'ended');
        tellGone(row);
      }
      return row && present(row);
    },

    get: (sessionId: string) => rows.has(sessionId) ? present(rows.get(sessionId)!) : undefined, // it has just been asked
    list: (matches: (session: Session) => boolean) => (memory.sweep(), newest().map(present).filter(matches)),

    /** How many were connected, 0 or 1; undefined when there is no such session. */
    revoke: (sessionId: string) => rows.has(sessionId) ? revokeRows([rows.get(sessionId)!]) : undefined, // it has just been asked
    revokeMatching: (matches: (session: Session) => boolean) => revokeRows([...rows.values()].filter((row) => asOpen(row).map(present).some(matches))),

    revokeAll(): number {
      const count = [...rows.values()].filter(revocable).filter(throwOut).length;
      tell('sessions.revoked', { revocationId: timedId(now()), generation, count });
      generation += 1;
      return count;
    },

    denied: (): RevokedCredential[] => [...denials].filter(([id]) => isDenied(id)).sort(([a], [b]) => (a < b ? -1 : 1)).map(([credentialId, until]) => ({ credentialId, deniedUntil: iso(until) })),

    allow(credentialId: string): boolean {
      const wasDenied = isDenied(credentialId);
      denials.delete(credentialId);
      return wasDenied;
    },
  };
  return memory;
}

/** A UUIDv7: its first 48 bits are the moment. */
function timedId(at: number): string {
  const moment = at.toString(16).padStart(12, '0');
  return `${moment.slice(0, 8)}-${moment.slice(8)}-7${crypto.randomUUID().slice(15)}`;
}
