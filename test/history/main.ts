// `npm run history -- --seconds 120`: real processes, everything going wrong for so long, and what that broke. Exits with 1 if it did.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { RUN_DIRECTORY } from '../support/postgres.ts';
import { check } from './check.ts';
import { startProcesses } from './processes.ts';
import { run } from './run.ts';

const { values: { seconds } } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } });
const directory = process.env[RUN_DIRECTORY] = mkdtempSync(join(tmpdir(), 'rollcall-history-'));
chmodSync(directory, 0o711); // PostgreSQL runs as another user
const { subject, close } = await startProcesses();
try {
  const history = await run(subject, Number(seconds));
  const wrong = check(history);
  for (const { what, start, end } of history.faults) console.log(`${(start / 1000).toFixed(1).padStart(7)} s  for ${((end - start) / 1000).toFixed(1)} s  ${what}`);
  const kinds = Object.groupBy(history.operations, ({ kind }) => kind);
  for (const [kind, operations] of Object.entries(kinds)) console.log(`${kind.padEnd(7)} ${operations.length}, ${operations.filter(({ status }) => status === 503).length} refused, ${operations.filter(({ status }) => status === 0).length} without an answer`);
  console.log(wrong.length === 0 ? 'No promise was broken.' : wrong.join('\n'));
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  await close();
  rmSync(directory, { recursive: true, force: true });
}
