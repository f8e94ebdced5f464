// Who is not heard of any more is lost; but not while nobody could be heard.
import { setImmediate as breathe } from 'node:timers/promises';
import { AFTER_ALL, BEFORE_ALL } from '../uuid.ts';
import { idsOf } from './batches.ts';
import { eventWriter, lockedIn, type Context } from './context.ts';
import { statements } from './database.ts';
import { eachApplication } from './each-application.ts';
import { CONNECTED, deleteActivity, EXPIRED, keptActivity, LOST } from './rows.ts';

/** Heartbeats looked at in one statement when looking for lost sessions. */
const STRIDE = 5_000;
/** Longer without a sign of the service than this, or a clock that was set back by more, and nobody's silence in the meantime counts. */
const GAP_MS = 3_000;
/** The service says so often that it is there. */
export const MARK_MS = 1_000;
/** A beat may be in some process's memory for a second before it is written. */
const FLUSH_LAG_MS = 2_000;
/** The sweeper says so each second; after so long without, another takes over. */
const SWEEPER_MS = 3_000;
/** No application, and no session. */
const NOBODY = BEFORE_ALL;

export function sweep(context: Context, flush: () => Promise<void>) {
  const { db, now, beats, lease, ring } = context;
  const sql = statements('sweep'), { rowsAtOnce } = db.dialect;
  const events = eventWriter(context);

  const mark = sql(`insert into service (id, seen_at, resumed_at) values (1, $1, $1) on conflict (id) do update set
    resumed_at = case when abs(service.seen_at - $1) > ${GAP_MS} then $1 else service.resumed_at end, seen_at = $1 returning resumed_at as "resumedAt"`);
  const lead = sql(`update service set sweeper = $1, sweeper_until = $2 where id = 1 and (sweeper is null or sweeper = $1 or sweeper_until < $3 or sweeper_until - ${GAP_MS} > $2) returning id`);
  const follow = sql('update service set sweeper = null where sweeper = $1');
  const sentinel = sql('select id from session_activity where application_id = $1 and id = $1');
  const setSentinel = sql('insert into session_activity (application_id, id, beat_at) values ($1, $1, $2) on conflict (application_id, id) do nothing');
  const connectedAfter = sql(`select id from sessions where application_id = $1 and bucket = $2 and id > $3 order by id limit ${rowsAtOnce}`);
  const restoreActivity = sql(`insert into session_activity (application_id, id, beat_at, last_active_at)
    select s.application_id, s.id, $3, s.last_active_at from sessions s where s.application_id = $1 and s.state < ${LOST} and s.id ${db.dialect.among(2)}
    on conflict (application_id, id) do nothing`);
  const generationOf = sql('select generation from applications where id = $1');

  const strideEnd = sql(`select id from session_activity where application_id = $1 and id > $2 order by id limit 1 offset ${STRIDE}`);
  const silent = sql('select id from session_activity where application_id = $1 and id > $2 and id <= $3 and beat_at < $4');
  const ahead = sql('select id from session_activity where application_id = $1 and id > $2 and id <= $3 and beat_at > $4');
  const pullBack = sql(`update session_activity set beat_at = $3 where application_id = $1 and beat_at > $3 and id ${lockedIn(db, 'session_activity', 2)}`);
  const lose = sql(`update sessions set state = ${LOST}, disconnected_at = $4, ${keptActivity}
    where application_id = $1 and generation = $2 and state < ${LOST} and id ${lockedIn(db, 'sessions', 3)}
      and exists (select 1 from session_activity b where b.application_id = sessions.application_id and b.id = sessions.id and b.beat_at < $5)
    returning id`);
  const still = sql(deleteActivity(db));

  /** All heartbeats of an application, so many at a time. */
  async function strides(applicationId: string, signal: AbortSignal | undefined, look: (from: string, to: string) => Promise<void>): Promise<void> {
    for (let from = BEFORE_ALL; !signal?.aborted;) {
      const end = (await db.first<{ id: string }>(strideEnd, applicationId, from))?.id;
      await look(from, end ?? AFTER_ALL);
      if (end === undefined) return;
      from = end;
      await breathe();
    }
  }

  const endLost = (applicationId: string, cutoff: number, signal?: AbortSignal) => strides(applicationId, signal, async (from, to) => {
    const rows = await db.all<{ id: string }>(silent, applicationId, from, to, cutoff);
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      const batch = rows.slice(at, at + rowsAtOnce);
      await db.transaction(async (tx) => {
        await tx.lock(applicationId, 'shared');
        const { generation } = await tx.first<{ generation: number }>(generationOf, applicationId) ?? { generation: 0 }; // it was deleted, and is forgotten
        const time = now();
        const lost = await tx.all<{ id: string }>(lose, applicationId, generation, idsOf(batch.filter(({ id }) => !beats.has(applicationId, id))), time, cutoff);
        if (lost.length === 0) return;
        await tx.run(still, applicationId, idsOf(lost));
        await events.disconnected(tx, applicationId, time, generation, 'lost', lost.map(({ id }) => id));
      });
      ring(applicationId, true);
      await breathe();
      await beServing();
    }
  });

  /** A clock that was set back leaves beats in the future, and by them the dead would live until it has caught up: they count as of now. */
  const pullBeatsBack = (applicationId: string, signal?: AbortSignal) => strides(applicationId, signal, async (from, to) => {
    const rows = await db.all<{ id: string }>(ahead, applicationId, from, to, now() + GAP_MS);
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      await db.transaction((tx) => tx.run(pullBack, applicationId, idsOf(rows.slice(at, at + rowsAtOnce)), now()));
      await breathe();
    }
  });

  let markedAt = -Infinity;
  let resumedAt = 0, straightenedFor = 0;
  /** The mark of service, at most once a second: it is what makes an outage count for nobody, so a long round of work must not look like one. */
  async function beServing(): Promise<void> {
    const at = now();
    if (Math.abs(at - markedAt) < MARK_MS) return;
    ({ resumedAt } = (await db.transaction((tx) => tx.first<{ resumedAt: number }>(mark, at)))!); // an upsert returns its row
    markedAt = at;
  }

  /** One of the processes that share the database sweeps; when it is gone or hangs, another takes over. Two at once do no harm, only work. */
  async function isSweeper(): Promise<boolean> {
    const at = now();
    return await db.transaction((tx) => tx.first(lead, db.instance, at + SWEEPER_MS, at)) !== undefined;
  }

  /** A crash of the database empties the table of heartbeats. Whoever was connected is given a whole lease again. */
  async function restoreHeartbeats(signal?: AbortSignal): Promise<void> {
    if (await db.first(sentinel, NOBODY)) return;
    await eachApplication(db, signal, async ({ id: applicationId, generation }) => {
      for (const bucket of [generation * 2 + CONNECTED, generation * 2 + EXPIRED]) {
        for (let after = BEFORE_ALL; !signal?.aborted;) {
          const rows = await db.all<{ id: string }>(connectedAfter, applicationId, bucket, after);
          if (rows.length > 0) await db.transaction((tx) => tx.run(restoreActivity, applicationId, idsOf(rows), now()));
          if (rows.length < rowsAtOnce) break;
          after = rows.at(-1)!.id;
          await breathe();
        }
      }
    });
    if (!signal?.aborted) await db.transaction((tx) => tx.run(setSentinel, NOBODY, now()));
  }

  /** What cannot wait. Answers whether this process sweeps. */
  async function watch(signal?: AbortSignal): Promise<boolean> {
    await beServing();
    await flush();
    if (!await isSweeper()) return false;
    await restoreHeartbeats(signal);
    await findLost(signal);
    return true;
  }

  async function findLost(signal?: AbortSignal): Promise<void> {
    // As of the mark, not of now: a process or a machine that was stopped in between wakes up to clients that could not be heard.
    const at = markedAt;
    if (resumedAt !== straightenedFor) {
      const meant = resumedAt;
      await eachApplication(db, signal, ({ id }) => pullBeatsBack(id, signal));
      if (!signal?.aborted) straightenedFor = meant;
    }
    if (at - resumedAt <= lease) return;
    await eachApplication(db, signal, async ({ id }) => {
      await endLost(id, at - lease - FLUSH_LAG_MS, signal);
      await breathe();
    });
  }

  return { watch, stopSweeping: async () => { await db.transaction((tx) => tx.run(follow, db.instance)); } };
}
