// Heartbeats: who is still there, who was active, and who is over and should be told.
import { setImmediate as breathe } from 'node:timers/promises';
import { laterActivity } from '../session.ts';
import { applicationOf, type Context } from './context.ts';
import { statements } from './database.ts';
import type { Beat } from './beats.ts';
import { LOST, OVER, type SessionRow } from './rows.ts';
import type { Sessions } from './sessions.ts';
import type { Heartbeat, HeartbeatResult, Store } from './store.ts';

/** Sessions written in one statement: a few milliseconds of SQLite's time. */
const SLICE = 500;

export function heartbeats(context: Context, sessions: Sessions) {
  const { db, now, beats, ring } = context;
  const { dialect } = db;
  const sql = statements('heartbeats');

  const columns = `s.id, s.state, s.reason, s.generation, s.token_expires_at as "tokenExpiresAt", s.last_active_at as "lastActiveAt"`;
  const classify = sql(`select ${columns} from sessions s where s.application_id = $1 and s.id in ${dialect.uuids(2)} and s.owner = coalesce($3, s.owner)`);
  const write = sql(`update session_activity set
      beat_at = ${dialect.greatest('session_activity.beat_at', 'v.beat_at')},
      last_active_at = ${dialect.greatest('session_activity.last_active_at', 'v.last_active_at')}
    from ${dialect.rows(2, { id: 'uuid', beat_at: 'bigint', last_active_at: 'bigint' })} v
    where session_activity.application_id = $1 and session_activity.id = v.id`);

  type Row = Pick<SessionRow, 'id' | 'state' | 'reason' | 'generation' | 'tokenExpiresAt' | 'lastActiveAt'>;

  const recordHeartbeats: Store['recordHeartbeats'] = async (tenant, owner, batch) => {
    const { applicationId } = tenant;
    const app = await applicationOf(db, tenant);
    if (!app) return undefined;
    const at = now();
    const ids = JSON.stringify([...new Set(batch.map(({ sessionId }) => sessionId))].sort());
    const rows = new Map((await db.all<Row>(classify, applicationId, ids, owner ?? null)).map((row) => [row.id, row]));

    const ended = new Map<string, HeartbeatResult['ended'][number]['reason']>();
    const reviving: Heartbeat[] = [], alive: Heartbeat[] = [];
    for (const beat of batch) {
      const row = rows.get(beat.sessionId);
      if (!row) ended.set(beat.sessionId, 'unknown');
      else if (row.state === OVER) ended.set(row.id, row.reason ?? 'ended');
      else if (row.generation < app.generation) ended.set(row.id, 'revoked');
      else if (row.state === LOST || beat.tokenExpiresAt !== undefined || beat.credential) reviving.push(beat);
      else alive.push(beat);
    }
    // What must survive a crash is committed before we answer; a session that ended meanwhile is told so.
    for (let from = 0; from < reviving.length; from += SLICE) {
      const slice = reviving.slice(from, from + SLICE);
      for (const [index, outcome] of (await reviveAll(tenant, owner, slice)).entries()) {
        if (outcome === 'alive') alive.push(slice[index]!);
        else ended.set(slice[index]!.sessionId, outcome);
      }
      if (reviving.length > SLICE) await breathe();
    }
    for (const { sessionId, lastActiveAt } of alive) beats.add(applicationId, sessionId, at, laterActivity(null, lastActiveAt, at));
    if (reviving.length > 0) ring(applicationId);
    return { accepted: alive.filter(({ sessionId }) => !ended.has(sessionId)).length, ended: [...ended].map(([sessionId, reason]) => ({ sessionId, reason })) };
  };

  const reviveAll = (tenant: Parameters<Store['recordHeartbeats']>[0], owner: string | undefined, slice: Heartbeat[]) => db.transaction(async (tx) => {
    const { applicationId } = tenant;
    await tx.lock(applicationId, 'shared');
    const app = await applicationOf(tx, tenant);
    const ids = JSON.stringify(slice.map(({ sessionId }) => sessionId).sort());
    const rows = new Map((await tx.all<SessionRow>(classify, applicationId, ids, owner ?? null)).map((row) => [row.id, row]));
    const at = now();
    const outcomes: ('alive' | 'revoked' | 'ended' | 'unknown')[] = [];
    for (const beat of slice) {
      const row = rows.get(beat.sessionId);
      if (!app || !row) outcomes.push('unknown');
      else if (row.state === OVER) outcomes.push(row.reason ?? 'ended');
      else if (row.generation < app.generation) outcomes.push('revoked');
      else outcomes.push(await sessions.revive(tx, applicationId, row, at, beat.tokenExpiresAt ?? null, beat.credential) ? 'alive' : 'revoked');
    }
    return outcomes;
  });

  async function flush(): Promise<void> {
    const taken = beats.take();
    for (const [applicationId, held] of taken) {
      const sorted = [...held].sort(([a], [b]) => a < b ? -1 : 1);
      for (let from = 0; from < sorted.length; from += SLICE) {
        const slice = sorted.slice(from, from + SLICE);
        try {
          await db.transaction((tx) => tx.run(write, applicationId, JSON.stringify(slice.map(([id, { at, lastActiveAt }]) => [id, at, lastActiveAt]))));
        } catch (error) {
          putBack(applicationId, sorted.slice(from));
          taken.delete(applicationId);
          for (const [other, rest] of taken) putBack(other, rest);
          throw error;
        }
        await breathe();
      }
      taken.delete(applicationId);
    }
  }
  const putBack = (applicationId: string, held: Iterable<[string, Beat]>) => {
    for (const [id, { at, lastActiveAt }] of held) beats.add(applicationId, id, at, lastActiveAt);
  };

  return { recordHeartbeats, flush };
}
