// Some seconds of a history on real processes with everything going wrong; `npm run history -- --seconds 120` is more of the same.
import { expect, it } from 'vitest';
import { postgresIsThere } from '../support/postgres.ts';
import { check } from './check.ts';
import { startProcesses } from './processes.ts';
import { run } from './run.ts';

it.runIf(postgresIsThere())('three instances keep their promises whatever goes wrong', async () => {
  const { subject, close } = await startProcesses();
  try {
    const history = await run(subject, 15);
    console.log(`${history.operations.length} operations, ${history.operations.filter(({ status }) => status === 0 || status === 503).length} without success; ${history.clients.length} held their streams; ${history.faults.map(({ what }) => what).join('; ')}`);
    expect(check(history)).toEqual([]);
    expect(history.operations.filter(({ status }) => status >= 200 && status < 300).length).toBeGreaterThan(200);
    expect(history.clients.filter(({ told }) => told.length > 0).length).toBeGreaterThan(5);
    expect(history.faults.length).toBeGreaterThan(3);
  } finally {
    await close();
  }
}, 120_000);
