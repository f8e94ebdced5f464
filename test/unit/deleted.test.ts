// What a deleted application costs: nothing from one second to the next, and in the end not even a row.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { statements, type Database, type Queries, type Statement, type Value } from '../../server/store/database.ts';
import { createStore } from '../../server/store/index.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { newSession } from '../suites/store/bed.ts';
import { createClock } from '../support/service.ts';
import { actor, DAY, ORGANIZATION, times } from '../support/store-times.ts';

const sql = statements('test');

/** Notes what statements are asked with. */
function noting(db: Database, values: Value[]): Database {
  const noted = ({ all, first }: Queries): Queries => ({
    all: (statement: Statement, ...given: Value[]) => (values.push(...given), all(statement, ...given)),
    first: (statement: Statement, ...given: Value[]) => (values.push(...given), first(statement, ...given)),
  });
  return { ...db, ...noted(db), transaction: (work, urgency) => db.transaction((tx) => work({ ...tx, ...noted(tx), run: (statement, ...given) => (values.push(...given), tx.run(statement, ...given)) }), urgency) };
}

it('a deleted application is swept until its deletion is written down, and forgotten with the last that is known of it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-deleted-')), clock = createClock(), asked: Value[] = [];
  const db = noting(openSqlite(directory), asked), store = createStore(db, { ...times, now: clock.now });
  const { id: applicationId } = await store.createApplication(ORGANIZATION, 'Gone'), tenant = { organizationId: ORGANIZATION, applicationId, boundTo: undefined };
  const asks = async (work: () => Promise<unknown>) => {
    asked.length = 0;
    await work();
    return asked.includes(applicationId);
  };
  await store.connect(tenant, newSession());
  await store.deleteApplication(tenant, actor);
  expect([await asks(() => store.survey()), await asks(() => store.maintain())]).toEqual([true, true]);
  expect([await asks(() => store.survey()), await asks(() => store.maintain())]).toEqual([false, false]);

  const rows = () => db.first<{ n: number }>(sql('select count(*) as n from applications'));
  clock.advance(times.auditRetention - DAY);
  await store.forget();
  expect(await rows()).toEqual({ n: 1 }); // its audit is kept
  clock.advance(2 * DAY);
  await store.forget();
  expect(await rows()).toEqual({ n: 0 });
  expect([await store.getApplication(tenant), await store.connect(tenant, newSession()), await store.listRevocations(tenant, { after: undefined, limit: 1 }), await store.deleteApplication(tenant, actor)]).toEqual(Array(4).fill(undefined));
  await store.close();
  rmSync(directory, { recursive: true });
});
