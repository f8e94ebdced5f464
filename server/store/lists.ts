// Walking the sessions of an application, newest first, with any filter, at a cost bounded per page.
import { setImmediate as breathe } from 'node:timers/promises';
import { derivedStatus, matches, type Session, type SessionFilter } from '../session.ts';
import { AFTER_ALL, BEFORE_ALL } from '../uuid.ts';
import { applicationOf, type Context, type VisibleApplication } from './context.ts';
import { statements, type Statement, type Value } from './database.ts';
import { CONNECTED, EXPIRED, lastSeen, readSession, sessionColumns, toSession, unsettled, withActivity, type SessionRow } from './rows.ts';
import type { Page, PageRequest, Store } from './store.ts';

/** Rows looked at for one page: two milliseconds of SQLite's time. Past that the page comes out short, with a cursor. */
const SCAN = 500;
/** Rows in one statement at most, and rows after which others come first. */
const STRIDE = 500;
/** With more revoke-alls than this that are not settled, all sessions are walked: SQLite takes 500 branches, and each of those needs two. */
const CROWDED = 50;
const ANY_TIME = Number.MAX_SAFE_INTEGER;

type BranchRow = SessionRow & { branch?: number };
/** A row of `shape`, where that has several branches. */
function readBranch(columns: readonly Value[]): BranchRow {
  const row = readSession(columns) as BranchRow; // it becomes one
  row.branch = columns[9] as number;
  return row;
}

type Column = 'user_id' | 'client_name' | 'hostname';

export function lists(context: Context) {
  const { db, now, beats, idleAfter } = context;
  const sql = statements('lists');
  const shapes = new Map<string, Shape>();

  const unsettledGenerations = sql(`select generation, created_at as "revokedAt" ${unsettled} order by generation`);

  /** `floor` finds the oldest session that one page looks at, where most of them are not wanted; `rows` is given it. */
  interface Shape { rows: Statement; floor: Statement | undefined }

  /**
   * One statement for each combination of filters and number of buckets; $1 application, $2 before, $3 limit, then the filters' values, then the
   * buckets, then (for `late`) generation and now, then (where it is `sought` by activity) the floor, the ids of those whose
   * activity is only held in memory, and until when, for each branch. A single statement, because it sees all buckets at the same moment: a row
   * that moves from one to another is in exactly one of them. Without buckets it walks the primary key, whatever the filters.
   */
  function shape(equal: readonly Column[], buckets: number, late: boolean, sought: boolean): Shape {
    const key = `${equal.join()} ${buckets} ${late} ${sought}`;
    const made = shapes.get(key);
    if (made) return made;
    const bucketAt = 4 + equal.length, lateAt = bucketAt + buckets, floorAt = lateAt + (late ? 2 : 0);
    const older = 'and s.id < $2';
    const filtered = `${equal.map((column, index) => `and ${buckets === 0 ? `coalesce(s.${column}, '')` : `s.${column}`} = $${4 + index}`).join(' ')} ${older}`;
    const ending = (branch: number) => `${filtered} ${sought ? `and s.id >= $${floorAt} and (${lastSeen} < $${floorAt + 2 + branch} or s.id ${db.dialect.among(floorAt + 1)})` : ''}
      order by s.id desc limit $3`;
    const inBucket = (branch: number) => buckets === 0 ? '' : `and s.bucket = $${bucketAt + branch}`;
    const branches = Array.from({ length: Math.max(buckets, 1) }, (_, branch) =>
      `select ${sessionColumns}${buckets > 1 || late ? `, ${branch} as branch` : ''} from sessions s ${withActivity} where s.application_id = $1 ${inBucket(branch)} ${ending(branch)}`);
    if (late) {
      // Expired, but not yet moved to their bucket: few, and found by an index of their own. Order and limit of the inner query keep SQLite from
      // walking all sessions instead.
      branches.push(`select ${sessionColumns}, ${buckets} as branch from (select id from sessions
        where application_id = $1 and state = ${CONNECTED} and generation = $${lateAt} and token_expires_at <= $${lateAt + 1} order by token_expires_at limit ${Number.MAX_SAFE_INTEGER}) l
        cross join sessions s ${withActivity} where s.application_id = $1 and s.id = l.id ${ending(buckets)}`);
    }
    const floors = Array.from({ length: Math.max(buckets, 1) }, (_, branch) => `select * from (select s.id from sessions s
      where s.application_id = $1 ${inBucket(branch)} ${buckets === 0 ? older : filtered} order by s.id desc limit 1 offset $3) x`);
    const statement = {
      rows: branches.length === 1 ? sql(branches[0]!, readSession) : sql(branches.map((branch) => `select * from (${branch}) x`).join(' union all '), readBranch),
      floor: sought ? sql(floors.join(' union all ')) : undefined,
    };
    shapes.set(key, statement);
    return statement;
  }

  /** Whose sessions are over, though their rows do not say so yet, and since when. Rows of the current generation alone need none of it. */
  async function unsettledOf({ id }: VisibleApplication, { statuses }: SessionFilter): Promise<ReadonlyMap<number, number>> {
    const rows = statuses.has('disconnected') ? await db.all<{ generation: number; revokedAt: number }>(unsettledGenerations, id) : [];
    return new Map(rows.map(({ generation, revokedAt }) => [generation, revokedAt]));
  }

  /** Calls back with every session that matches, newest first, until told to stop. Answers where it stopped, or undefined at the end. */
  async function walk(app: VisibleApplication, filter: SessionFilter, { after = AFTER_ALL, limit }: PageRequest,
    each: (session: Session) => boolean): Promise<string | undefined> {
    const at = now();
    const over = await unsettledOf(app, filter);
    const equal: Column[] = [], values: Value[] = [];
    for (const [column, value] of [['user_id', filter.userId], ['hostname', filter.hostname], ['client_name', filter.clientName]] as const) {
      if (value !== undefined) { equal.push(column); values.push(value); }
    }
    const { buckets, late } = bucketsOf(filter, app.generation, [...over.keys()], equal.length > 0);
    const bounds = boundsOf(filter, app.generation, buckets, late, at - idleAfter), sought = bounds.some((bound) => bound < ANY_TIME) || (buckets.length === 0 && equal.length > 0);
    const statement = shape(equal, buckets.length, late, sought);

    let before = after;
    for (let scanned = 0, size = limit; scanned < SCAN; size = Math.max(size, Math.min(size * 2, STRIDE))) {
      const floor = statement.floor && (await db.all<{ id: string }>(statement.floor, app.id, before, SCAN, ...(buckets.length > 0 ? [...values, ...buckets] : []))).map(({ id }) => id).sort().at(-1);
      const rows = await db.all<BranchRow>(statement.rows, app.id, before, size, ...values, ...buckets, ...(late ? [app.generation, at] : []), ...(sought ? [floor ?? BEFORE_ALL, JSON.stringify(beats.early(app.id)), ...bounds] : []));
      scanned += sought ? SCAN : rows.length;
      const horizon = horizonOf(rows, size) ?? floor;
      if (rows[0]?.branch !== undefined) rows.sort((a, b) => a.id < b.id ? 1 : -1);
      for (const row of rows) {
        if (horizon !== undefined && row.id < horizon) break;
        const session = beats.overlay(app.id, toSession(row, app.generation, over.get(row.generation) ?? null));
        if (!matches(session, derivedStatus(session, at, idleAfter), filter)) continue;
        if (!each(session)) return row.id;
      }
      if (horizon === undefined) return undefined;
      before = horizon;
      await breathe();
    }
    return before;
  }

  const pageSessions: Store['pageSessions'] = async (tenant, filter, page) => {
    for (let app = await applicationOf(db, tenant); app;) {
      const items: Session[] = [];
      let full = false;
      const stopped = await walk(app, filter, { after: page.after, limit: page.limit + 1 }, (session) => {
        full = items.length === page.limit;
        if (!full) items.push(session);
        return !full;
      });
      // After a revoke-all in between, the page would show as connected what is over: it is made again.
      const still = await applicationOf(db, tenant);
      if (still?.generation === app.generation) return { items, next: full ? items.at(-1)!.id : stopped } satisfies Page<Session>;
      app = still;
    }
    return undefined;
  };

  return { pageSessions, walk };
}

export type Lists = ReturnType<typeof lists>;

/** A branch that filled its limit may go on below its last row; what lies below that in other branches waits for the next round. */
function horizonOf(rows: readonly BranchRow[], size: number): string | undefined {
  if (rows[0]?.branch === undefined) return rows.length === size ? rows[size - 1]!.id : undefined; // of one branch, in order
  const counts = new Map<number, { count: number; last: string }>();
  for (const { branch, id } of rows) {
    const seen = counts.get(branch!); // all have one
    if (!seen) counts.set(branch!, { count: 1, last: id });
    else { seen.count++; if (id < seen.last) seen.last = id; }
  }
  return [...counts.values()].filter(({ count }) => count === size).map(({ last }) => last).sort().at(-1);
}

/** Which buckets can hold what is wanted; none at all means: walk the primary key. */
function bucketsOf({ statuses }: SessionFilter, generation: number, unsettled: readonly number[], filtered: boolean): { buckets: number[]; late: boolean } {
  const live = statuses.has('active') || statuses.has('idle'), expired = statuses.has('expired'), closed = statuses.has('disconnected');
  if ((live && expired && closed && !filtered) || (closed && unsettled.length > CROWDED)) return { buckets: [], late: false };
  return {
    buckets: [
      ...(live ? [generation * 2 + CONNECTED] : []),
      ...(expired ? [generation * 2 + EXPIRED] : []),
      ...(closed ? [0, ...unsettled.flatMap((old) => [old * 2 + CONNECTED, old * 2 + EXPIRED])] : []),
    ],
    late: expired && !live,
  };
}

/** Only sessions last seen before this can be wanted, in each branch. What is held in memory makes them later, but for early beats. */
function boundsOf({ statuses, lastActiveBefore = ANY_TIME }: SessionFilter, generation: number, buckets: readonly number[], late: boolean, idleSince: number): number[] {
  const idleOnly = statuses.has('idle') && !statuses.has('active') && !statuses.has('expired'); // who has expired need not be idle
  return Array.from({ length: Math.max(buckets.length, 1) + (late ? 1 : 0) }, (_, branch) =>
    idleOnly && buckets[branch] === generation * 2 + CONNECTED ? Math.min(lastActiveBefore, idleSince + 1) : lastActiveBefore);
}
