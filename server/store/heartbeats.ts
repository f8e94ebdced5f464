// Heartbeats: who is still there, who was active, and who is over and should be told.
import { LRUCache } from 'lru-cache';
import { setImmediate as breathe } from 'node:timers/promises';
import { laterActivity } from '../session.ts';
import { applicationOf, type Context } from './context.ts';
import { statements } from './database.ts';
import type { Beat } from './beats.ts';
import { CONNECTED, LOST, OVER } from './rows.ts';
import type { Revivable, Sessions } from './sessions.ts';
import type { Credential, Heartbeat, HeartbeatResult, Store, Tenant } from './store.ts';

/** Sessions given a new token or credential, or reconnected, in one transaction: several statements each. */
const REVIVED = 50;

export function heartbeats(context: Context, sessions: Sessions) {
  const { db, now, beats, lease, ring } = context;
  const { dialect } = db;
  const sql = statements('heartbeats');

  // One statement, so that the row and the generation it is compared with are of the same moment.
  const columns = `s.id, s.state, s.reason, s.generation, a.generation as current, s.token_expires_at as "tokenExpiresAt", s.last_active_at as "lastActiveAt",
    s.connected_at as "connectedAt"`;
  const classify = sql(`select ${columns} from applications a join sessions s on s.application_id = a.id
    where a.id = $1 and a.deleted_at is null and s.id ${dialect.among(2)} and s.owner = coalesce($3, s.owner)`);
  // Materialized, so that SQLite looks up each beat's session, and not each session's beat.
  const write = sql(`with v as materialized (select * from ${dialect.rows(2, { id: 'uuid', beat_at: 'bigint', last_active_at: 'bigint' })} w limit ${dialect.beatsAtOnce})
    update session_activity set
      beat_at = ${dialect.greatest('session_activity.beat_at', 'v.beat_at')},
      last_active_at = ${dialect.greatest('session_activity.last_active_at', 'v.last_active_at')}
    from v where session_activity.application_id = $1 and session_activity.id = v.id${dialect.lockRows && ` and session_activity.id in (
      select x.id from session_activity x where x.application_id = $1 and x.id in (select id from v) order by x.id${dialect.lockRows})`}
    returning session_activity.id`);

  interface Row extends Revivable { reason: 'ended' | 'revoked' | null; current: number; connectedAt: number }
  const over = (row: Row): 'revoked' | 'ended' | undefined =>
    row.state === OVER ? row.reason ?? 'ended' : row.generation < row.current ? 'revoked' : undefined;

  /** When the credentials that are written with their sessions already expire, and the tokens they came with: who says the same with every beat causes no write. */
  const known = new LRUCache<string, { expiresAt: number | null; tokenExpiresAt: number }>({ maxSize: 100_000, sizeCalculation: () => 1 }); // with `max` it would take the room for all of them at once
  const credentialKey = (sessionId: string, { id }: Credential) => `${sessionId} ${id}`;
  const saysNews = (row: Row, { sessionId, tokenExpiresAt, credential }: Heartbeat): boolean => {
    if (tokenExpiresAt !== undefined && tokenExpiresAt !== row.tokenExpiresAt) return true;
    const written = credential && known.get(credentialKey(sessionId, credential));
    return credential !== undefined && (written?.expiresAt !== credential.expiresAt || (tokenExpiresAt ?? 0) > written.tokenExpiresAt);
  };
  const isWritten = ({ sessionId, tokenExpiresAt = 0 }: Heartbeat, credential: Credential) => {
    const key = credentialKey(sessionId, credential);
    known.set(key, { expiresAt: credential.expiresAt, tokenExpiresAt: Math.max(tokenExpiresAt, known.get(key)?.tokenExpiresAt ?? 0) });
  };

  const recordHeartbeats: Store['recordHeartbeats'] = async (tenant, owner, batch) => {
    const { applicationId } = tenant;
    if (!await applicationOf(db, tenant)) return undefined;
    const at = now();
    const ids = JSON.stringify([...new Set(batch.map(({ sessionId }) => sessionId))].sort());
    const rows = new Map((await db.all<Row>(classify, applicationId, ids, owner ?? null)).map((row) => [row.id, row]));

    const ended = new Map<string, HeartbeatResult['ended'][number]['reason']>();
    const reviving: Heartbeat[] = [], alive: Heartbeat[] = [];
    const changing = new Set<string>(); // what comes after a change in the same batch may change it back
    for (const beat of batch) {
      const row = rows.get(beat.sessionId);
      const reason = row ? over(row) : 'unknown';
      if (reason) ended.set(beat.sessionId, reason);
      else if (row && (row.state === LOST || changing.has(row.id) || saysNews(row, beat))) {
        changing.add(row.id);
        reviving.push(beat);
      } else alive.push(beat);
    }
    // What must survive a crash is committed before we answer; a session that ended meanwhile is told so. In the order of ids, as everybody locks them; beats of one session stay in theirs.
    reviving.sort((a, b) => a.sessionId < b.sessionId ? -1 : a.sessionId > b.sessionId ? 1 : 0);
    for (let from = 0; from < reviving.length; from += REVIVED) {
      const slice = reviving.slice(from, from + REVIVED);
      for (const [index, outcome] of (await reviveAll(tenant, owner, slice)).entries()) {
        const beat = slice[index]!;
        if (outcome !== 'alive') { ended.set(beat.sessionId, outcome); continue; }
        alive.push(beat);
        if (beat.credential) isWritten(beat, beat.credential);
      }
      if (reviving.length > REVIVED) await breathe();
    }
    for (const { sessionId, lastActiveAt } of alive) {
      const row = rows.get(sessionId);
      const early = lastActiveAt !== undefined && (row === undefined || row.state === LOST || lastActiveAt < row.connectedAt); // who was lost is connected anew
      beats.add(applicationId, sessionId, { at, lastActiveAt: laterActivity(null, lastActiveAt, at), early });
    }
    if (reviving.length > 0) ring(applicationId, false);
    const accepted = new Set(alive.map(({ sessionId }) => sessionId).filter((id) => !ended.has(id)));
    return { accepted: accepted.size, ended: [...ended].map(([sessionId, reason]) => ({ sessionId, reason })) };
  };

  const reviveAll = (tenant: Pick<Tenant, 'applicationId'>, owner: string | undefined, slice: readonly Pick<Heartbeat, 'sessionId' | 'tokenExpiresAt' | 'credential'>[]) => db.transaction(async (tx) => {
    const { applicationId } = tenant;
    await tx.lock(applicationId, 'shared');
    const ids = JSON.stringify(slice.map(({ sessionId }) => sessionId).sort());
    const rows = new Map((await tx.all<Row>(classify, applicationId, ids, owner ?? null)).map((row) => [row.id, row]));
    const at = now();
    const outcomes: ('alive' | 'revoked' | 'ended' | 'unknown')[] = [];
    for (const { sessionId, tokenExpiresAt = null, credential } of slice) {
      const row = rows.get(sessionId);
      const reason = row ? over(row) : 'unknown';
      if (!row || reason) { outcomes.push(reason ?? 'unknown'); continue; }
      const revived = await sessions.revive(tx, applicationId, row, at, tokenExpiresAt, credential);
      outcomes.push(revived ? 'alive' : 'revoked');
      rows.set(sessionId, { ...row, state: CONNECTED, tokenExpiresAt: tokenExpiresAt ?? row.tokenExpiresAt }); // it may be in the slice again
    }
    return outcomes;
  });

  let writing: Promise<void> = Promise.resolve();
  /** One after the other: when this resolves, every beat from before the call is written. */
  const flush = (): Promise<void> => writing = writing.catch(() => {}).then(writeHeld);

  async function writeHeld(): Promise<void> {
    const taken = beats.take();
    try {
      for (const [applicationId, held] of taken) {
        const sorted = [...held].sort(([a], [b]) => a < b ? -1 : 1);
        for (let from = 0; from < sorted.length; from += dialect.beatsAtOnce) {
          await writeBeats(applicationId, sorted.slice(from, from + dialect.beatsAtOnce));
          beats.wrote(taken, applicationId, sorted.slice(from, from + dialect.beatsAtOnce).map(([id]) => id));
          await breathe();
        }
      }
    } catch (error) {
      for (const [applicationId, held] of taken) {
        for (const [id, beat] of held) beats.add(applicationId, id, beat);
      }
      throw error;
    } finally {
      beats.done(taken);
    }
  }

  async function writeBeats(applicationId: string, slice: [string, Beat][]): Promise<void> {
    const put = async (some: [string, Beat][]) => {
      const values = JSON.stringify(some.map(([id, { at, lastActiveAt }]) => [id, at, lastActiveAt]));
      const written = new Set((await db.transaction((tx) => tx.all<{ id: string }>(write, applicationId, values))).map(({ id }) => id));
      return some.filter(([id]) => !written.has(id));
    };
    const missing = await put(slice);
    if (missing.length === 0) return;
    // Either it is over; or it was called lost while this beat of it was in memory: then the beat, which was accepted, brings it back. Unless
    // it is older than a lease, because this process was stopped: then it says nothing about now.
    const recent = missing.filter(([, { at }]) => now() - at < lease);
    for (let from = 0; from < recent.length; from += REVIVED) {
      await reviveAll({ applicationId }, undefined, recent.slice(from, from + REVIVED).map(([sessionId]) => ({ sessionId, tokenExpiresAt: undefined, credential: undefined })));
    }
    await put(recent);
    ring(applicationId, false);
  }

  return { recordHeartbeats, flush };
}
