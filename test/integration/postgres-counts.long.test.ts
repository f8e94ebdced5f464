// A count of many sessions may take its time on PostgreSQL, and keeps no instance from leaving.
import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { ask, inCI, killInstances, startInstance, tokens, until } from '../support/instances.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';

afterEach(killInstances);

it.runIf(postgresIsThere())('an instance that counts for its metrics leaves in good order, and so does one that counts for a caller', async () => {
  const database = await createDatabase(), client = new pg.Client(database.url);
  await client.connect();
  const counting = async () => (await client.query(`select count(*)::int as n from pg_stat_activity where datname = current_database() and state = 'active' and query like 'with named as materialized%'`)).rows[0].n as number;
  try {
    const first = await startInstance(database.url), token = await (await tokens(database.url))();
    const app = `/applications/${(await ask(first.url, token, 'POST', '/applications', { name: 'Many' })).body.application.id}`;
    await ask(first.url, token, 'POST', `${app}/sessions`, {});
    await client.query(`insert into sessions (application_id, id, generation, state, owner, connected_at, facts) select application_id, gen_random_uuid(), generation, state, owner, connected_at, facts from sessions, generate_series(1, 2100)`);
    await client.query('alter table session_activity rename to activity; create view session_activity as with slow as materialized (select pg_sleep(25)) select activity.* from activity, slow');
    const asked = ask(first.url, token, 'GET', `${app}/session-counts`).then(({ status }) => status, () => 'cut');
    const second = await startInstance(database.url, { env: { METRICS_PORT: '0' } });
    await until(async () => await counting() === 2, inCI(5_000), 'both count');
    for (const instance of [first, second]) {
      const started = performance.now();
      expect(await instance.stop()).toBe(0);
      console.log(`left after ${(performance.now() - started).toFixed(0)} ms`);
      expect(performance.now() - started).toBeLessThan(10_000);
    }
    expect([503, 'cut']).toContain(await asked);
  } finally {
    await killInstances();
    await client.end();
    await database.drop();
  }
}, 90_000);
