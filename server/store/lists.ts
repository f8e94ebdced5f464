// Walking the sessions of an application, newest first, with any filter, at a cost bounded per page.
import { setImmediate as breathe } from 'node:timers/promises';
import { derivedStatus, matches, type Session, type SessionFilter } from '../session.ts';
import { applicationOf, type Context, type VisibleApplication } from './context.ts';
import { statements, type Statement, type Value } from './database.ts';
import { CONNECTED, EXPIRED, sessionColumns, toSession, type SessionRow } from './rows.ts';
import type { Page, PageRequest, Store } from './store.ts';

/** Rows looked at for one page. Past that the page comes out short, with a cursor. */
const SCAN = 5_000;
/** Rows in one statement at most, and rows after which others come first. */
const STRIDE = 500;
const AFTER_ALL = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

type Column = 'user_id' | 'client_name' | 'hostname';

export function lists(context: Context) {
  const { db, now, beats, idleAfter } = context;
  const sql = statements('lists');
  const shapes = new Map<string, Statement>();

  const unsettledGenerations = sql(`select generation, created_at as "revokedAt" from revocations
    where application_id = $1 and generation is not null and settled_at is null order by generation`);

  /**
   * One statement for each combination of filters and number of buckets; $1 application, $2 before, $3 limit, then the filters' values, then the
   * buckets, then (for `late`) generation and now. A single statement, because it sees all buckets at the same moment: a row that
   * moves from one to another is in exactly one of them.
   */
  function shape(equal: readonly Column[], buckets: number, late: boolean): Statement {
    const key = `${equal.join()} ${buckets} ${late}`;
    const made = shapes.get(key);
    if (made) return made;
    let parameter = 3;
    const activity = 'left join session_activity b on b.application_id = s.application_id and b.id = s.id';
    const filtered = `${equal.map((column) => `and s.${column} = $${++parameter}`).join(' ')} and s.id < $2 order by s.id desc limit $3`;
    const select = (branch: number, condition = '') =>
      `select ${sessionColumns}, ${branch} as branch from sessions s ${activity} where s.application_id = $1 ${condition} ${filtered}`;
    const branches = buckets === 0 ? [select(0)] : Array.from({ length: buckets }, (_, branch) => select(branch, `and s.bucket = $${++parameter}`));
    if (late) {
      // Expired, but not yet moved to their bucket: few, and found by an index of their own. Order and limit of the inner query keep SQLite from
      // walking all sessions instead.
      branches.push(`select ${sessionColumns}, ${buckets} as branch from (select id from sessions
        where application_id = $1 and state = ${CONNECTED} and generation = $${++parameter} and token_expires_at <= $${++parameter} order by token_expires_at limit ${Number.MAX_SAFE_INTEGER}) l
        cross join sessions s ${activity} where s.application_id = $1 and s.id = l.id ${filtered}`);
    }
    const statement = sql(branches.length === 1 ? branches[0]! : branches.map((branch) => `select * from (${branch}) x`).join(' union all '));
    shapes.set(key, statement);
    return statement;
  }

  /** Calls back with every session that matches, newest first, until told to stop. Answers where it stopped, or undefined at the end. */
  async function walk(app: VisibleApplication, filter: SessionFilter, { after = AFTER_ALL, limit }: PageRequest,
    each: (session: Session) => boolean): Promise<string | undefined> {
    const at = now();
    const unsettled = new Map((await db.all<{ generation: number; revokedAt: number }>(unsettledGenerations, app.id)).map((row) => [row.generation, row.revokedAt]));
    const equal: Column[] = [], values: Value[] = [];
    for (const [column, value] of [['user_id', filter.userId], ['hostname', filter.hostname], ['client_name', filter.clientName]] as const) {
      if (value !== undefined) { equal.push(column); values.push(value); }
    }
    const { buckets, late } = bucketsOf(filter, app.generation, [...unsettled.keys()], equal.length > 0);
    const statement = shape(equal, buckets.length, late);

    let before = after;
    for (let scanned = 0, size = limit; scanned < SCAN; size = Math.max(size, Math.min(size * 2, STRIDE))) {
      const rows = await db.all<SessionRow & { branch: number }>(statement, app.id, before, size, ...values, ...buckets, ...(late ? [app.generation, at] : []));
      scanned += rows.length;
      // A branch that filled its limit may go on below its last row; what lies below that in other branches waits for the next round.
      const counts = new Map<number, { count: number; last: string }>();
      for (const { branch, id } of rows) {
        const seen = counts.get(branch);
        if (!seen) counts.set(branch, { count: 1, last: id });
        else { seen.count++; if (id < seen.last) seen.last = id; }
      }
      const open = [...counts.values()].filter(({ count }) => count === size).map(({ last }) => last);
      const horizon = open.sort().at(-1);
      if (counts.size > 1) rows.sort((a, b) => a.id < b.id ? 1 : -1);
      for (const row of rows) {
        if (horizon !== undefined && row.id < horizon) break;
        const session = beats.overlay(app.id, toSession(row, app.generation, unsettled.get(row.generation) ?? null));
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

/** Which buckets can hold what is wanted; none at all means: walk the primary key. */
function bucketsOf({ statuses }: SessionFilter, generation: number, unsettled: readonly number[], filtered: boolean): { buckets: number[]; late: boolean } {
  const live = statuses.has('active') || statuses.has('idle'), expired = statuses.has('expired'), closed = statuses.has('disconnected');
  if (live && expired && closed && !filtered) return { buckets: [], late: false };
  return {
    buckets: [
      ...(live ? [generation * 2 + CONNECTED] : []),
      ...(expired ? [generation * 2 + EXPIRED] : []),
      ...(closed ? [0, ...unsettled.flatMap((old) => [old * 2 + CONNECTED, old * 2 + EXPIRED])] : []),
    ],
    late: expired && !live,
  };
}
