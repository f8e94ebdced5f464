// A minute of the fuzzer against a server process in production configuration, on each database, with requests that are new every time.
import { describe, expect, it } from 'vitest';
import { startProcess } from '../fuzz/process.ts';
import { fuzz } from '../fuzz/run.ts';
import { inCI } from '../support/instances.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';

describe.each([['SQLite', 40_000], ['PostgreSQL', 20_000]] as const)('a server process on %s', (database, ms) => {
  it.skipIf(database === 'PostgreSQL' && !postgresIsThere())('answers everything as the contract documents, and lives', { timeout: 180_000 }, async () => {
    const own = database === 'PostgreSQL' ? await createDatabase() : undefined;
    const server = await startProcess({ databaseUrl: own?.url });
    try {
      const ends = performance.now() + ms;
      const { sent } = await fuzz(server, { seed: Date.now() % 1_000_000, slowestMs: inCI(2_000), mayBeBusy: database === 'PostgreSQL', until: () => performance.now() > ends });
      expect(sent).toBeGreaterThan(500);
      expect(server.complaints.filter((line) => database === 'SQLite' || !/did not answer in time|store-unavailable/.test(line))).toEqual([]);
    } finally {
      await server.stop();
      await own?.drop();
    }
  });
});
