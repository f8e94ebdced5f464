// Counting many sessions takes its time and nobody else's: on SQLite on a thread of its own, on PostgreSQL with a deadline of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as breathe, setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAside } from '../../server/store/aside.ts';
import { createStore } from '../../server/store/index.ts';
import { openPostgres } from '../../server/store/postgres.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { StoreUnavailable, type Store, type Tenant } from '../../server/store/store.ts';
import { newSession } from '../suites/store/bed.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { createClock } from '../support/service.ts';
import { HOUR, MINUTE, ORGANIZATION, times } from '../support/store-times.ts';

let directory: string;
beforeEach(() => { directory = mkdtempSync(join(tmpdir(), 'rollcall-aside-')); });
afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Kept { store: Store; exec(text: string): Promise<void>; close(): Promise<void> }

const onSqlite = async (now: () => number): Promise<Kept> => {
  const store = createStore(openSqlite(directory), { ...times, now }), db = new DatabaseSync(join(directory, 'rollcall.db'), { timeout: 1_000 });
  return { store, async exec(text) { db.exec(text); await breathe(); }, async close() { db.close(); await store.close(); } };
};

const onPostgres = async (now: () => number): Promise<Kept> => {
  const database = await createDatabase(), store = createStore(await openPostgres(database.url, () => {}), { ...times, now }), client = new pg.Client(database.url);
  await client.connect();
  return { store, async exec(text) { await client.query(text); }, async close() { await client.end(); await store.close(); await database.drop(); } };
};

const SQLITE = { name: 'SQLite', open: onSqlite, id: `substr(id, 1, 24) || printf('%012x', n)`, series: (most: number) => `(with recursive s(n) as (select 1 union all select n + 1 from s where n < ${most}) select n from s) s` };
const POSTGRES = { name: 'PostgreSQL', open: onPostgres, id: `(substr(cast(id as text), 1, 24) || lpad(to_hex(n), 12, '0'))::uuid`, series: (most: number) => `generate_series(1, ${most}) s(n)` };

describe.each(postgresIsThere() ? [SQLITE, POSTGRES] : [SQLITE])('countSessions of many on $name', ({ open, id, series }) => {
  const clock = createClock();
  let kept: Kept;
  beforeEach(async () => { kept = await open(clock.now); });
  afterEach(() => kept.close());

  /** What the store has made, so many times over. */
  async function multiply(times: number): Promise<void> {
    const columns = 'generation, state, reason, owner, user_id, client_name, hostname, token_expires_at, connected_at, disconnected_at, last_active_at, facts';
    await kept.exec(`insert into session_activity (application_id, id, beat_at, last_active_at) select application_id, ${id}, beat_at, last_active_at
      from session_activity, ${series(times - 1)} where application_id in (select id from applications)`);
    await kept.exec(`insert into sessions (application_id, id, ${columns}) select application_id, ${id}, ${columns} from sessions, ${series(times - 1)}`);
  }

  describe.runIf(id === POSTGRES.id)('where it is slow', () => {
    async function slow(seconds: number): Promise<Tenant> {
      const { id: applicationId } = await kept.store.createApplication(ORGANIZATION, 'Slow'), tenant = { organizationId: ORGANIZATION, applicationId, boundTo: undefined };
      await kept.store.connect(tenant, newSession());
      await multiply(2_100);
      await kept.exec(`alter table session_activity rename to activity; create view session_activity as with slow as materialized (select pg_sleep(${seconds})) select activity.* from activity, slow`);
      return tenant;
    }

    it('takes longer than a statement may', async () => {
      expect((await kept.store.countSessions(await slow(2.2)))!.byDerivedStatus).toEqual({ active: 2_100, idle: 0, expired: 0, disconnected: 0 });
    });

    it('keeps nobody from closing', async () => {
      const counting = expect(kept.store.countSessions(await slow(15))).rejects.toThrow(StoreUnavailable);
      await wait(300); // it has begun
      const closing = performance.now();
      await kept.close();
      kept = { ...kept, async close() {} }; // it is
      expect(performance.now() - closing).toBeLessThan(3_000);
      await counting;
    });
  });

  it('counts as it does of few, and sees a revoke-all at once', async () => {
    const { store } = kept;
    const { id: applicationId } = await store.createApplication(ORGANIZATION, 'Many');
    const tenant = { organizationId: ORGANIZATION, applicationId, boundTo: undefined };
    const connect = (name: string | undefined, tokenExpiresAt: number | null = null) => store.connect(tenant, newSession({ clientInfo: name === undefined ? {} : { name }, tokenExpiresAt }));
    await connect('a');
    const ended = await connect('a');
    if (ended?.outcome === 'created') await store.endSession(tenant, undefined, ended.session.id);
    await connect('late', clock.now() + MINUTE);
    await connect(undefined);
    clock.advance(HOUR); // all are idle by now, or expired and not yet moved
    await connect('b');
    const few = (await store.countSessions(tenant))!;
    expect(few.byDerivedStatus).toEqual({ active: 1, idle: 2, expired: 1, disconnected: 1 });
    await multiply(600);
    clock.advance(6_000);
    const many = await Promise.all([store.countSessions(tenant), store.countSessions(tenant)]);
    expect(many[0]).toBe(many[1]); // whoever asks meanwhile shares it
    expect(many[0]).toEqual({
      asOf: clock.now(),
      byDerivedStatus: { active: 600, idle: 1_200, expired: 600, disconnected: 600 },
      byClientName: { items: few.byClientName.items.map((item) => ({ ...item, count: 600 })), other: 0 },
    });
    expect((await store.survey()).byDerivedStatus).toEqual(many[0]!.byDerivedStatus);
    await store.maintain();
    clock.advance(6_000);
    expect((await store.countSessions(tenant))!.byDerivedStatus).toEqual(many[0]!.byDerivedStatus); // moved to their bucket
    await store.revokeAll(tenant, {}, { subject: 's', requestId: 'r' });
    expect(await store.countSessions(tenant)).toMatchObject({ byDerivedStatus: { active: 0, idle: 0, expired: 0, disconnected: 3_000 }, byClientName: { items: [], other: 0 } });
  });
});

describe('the thread for long reads', () => {
  it('leaves the event loop free', async () => {
    new DatabaseSync(join(directory, 'x.db')).close();
    const aside = createAside(join(directory, 'x.db'));
    let turns = 0;
    const timer = setInterval(() => { turns++; }, 1);
    const rows = await aside.all('with recursive s(n) as (select 1 union all select n + 1 from s where n < ?1) select count(*) as count from s', [300_000]);
    clearInterval(timer);
    expect(rows).toEqual([{ count: 300_000 }]);
    expect(turns).toBeGreaterThan(3);
    await aside.close();
  });

  it('says what cannot be read, and reads on after that', async () => {
    const aside = createAside(join(directory, 'x.db'));
    await expect(aside.all('select 1', [])).rejects.toThrow(StoreUnavailable); // there is no file yet
    new DatabaseSync(join(directory, 'x.db')).close();
    await expect(aside.all('select * from absent', [])).rejects.toThrow('no such table');
    expect(await aside.all('select 1 as one', [])).toEqual([{ one: 1 }]);
    await aside.close();
    await expect(aside.all('select 1', [])).rejects.toThrow('closed');
  });
});
