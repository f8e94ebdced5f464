// The conformance suite on PostgreSQL.
import pg from 'pg';
import { afterAll, beforeAll, describe } from 'vitest';
import { createStore } from '../../server/store/index.ts';
import { openPostgres } from '../../server/store/postgres.ts';
import type { Store } from '../../server/store/store.ts';
import { storeSuite, times } from '../suites/store.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';

/** As many as the pool has connections; a caller who sends thousands at once is refused, and rightly. */
const AT_ONCE = 8;

function unhurried(store: Store): Store {
  let busy = 0;
  const waiting: (() => void)[] = [];
  return {
    ...store,
    async connect(...call) {
      if (busy >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
      busy++;
      try {
        return await store.connect(...call);
      } finally {
        busy--;
        waiting.shift()?.();
      }
    },
  };
}

// Some tests make thousands of sessions, one transaction each.
describe.runIf(postgresIsThere())('PostgreSQL', { timeout: 60_000 }, () => {
  let database: Awaited<ReturnType<typeof createDatabase>>;
  let admin: pg.Client;
  beforeAll(async () => {
    database = await createDatabase();
    admin = new pg.Client(database.url);
    await admin.connect();
  });
  afterAll(async () => {
    await admin.end();
    await database.drop();
  });

  storeSuite('store on PostgreSQL', async (clock) => {
    const open = async () => unhurried(createStore(await openPostgres(database.url, () => {}), { ...times, now: clock.now }));
    let store = await open();
    return {
      store,
      async reopen() {
        await store.close();
        return store = await open();
      },
      async close() {
        await store.close();
        await admin.query('truncate applications, sessions, session_activity, session_credentials, revoked_credentials, revocations, events, service');
      },
    };
  });
});
