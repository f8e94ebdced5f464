// The conformance suite on the embedded database.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStore } from '../../server/store/index.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { storeSuite, times } from '../suites/store.ts';

storeSuite('store on SQLite', async (clock) => {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-store-'));
  const open = () => createStore(openSqlite(directory), { ...times, now: clock.now });
  let store = open();
  return {
    store,
    async reopen() {
      await store.close();
      return store = open();
    },
    async close() {
      await store.close();
      rmSync(directory, { recursive: true });
    },
  };
});
