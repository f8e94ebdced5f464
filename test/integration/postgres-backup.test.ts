// docs/backup.md on PostgreSQL: its own tools, as they are written there, save everything and bring it back.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blockOf } from '../support/blocks.ts';
import { createDatabase, postgresIsThere, programs } from '../support/postgres.ts';
import { startTestService } from '../support/service.ts';

it.runIf(postgresIsThere() && programs() !== undefined)('dumps what is there, and restores it over what came later', { timeout: 60_000 }, async () => {
  const { url, drop } = await createDatabase(), folder = mkdtempSync(join(tmpdir(), 'rollcall-dump-'));
  const [dump = '', restore = ''] = blockOf('docs/backup.md', 'pg_dump').split('\n');
  const paste = (command: string) => promisify(execFile)('sh', ['-ec', command], { cwd: folder, env: { PATH: `${programs()}:${process.env['PATH']}`, DATABASE_URL: url } });

  const first = await startTestService({ env: { DATABASE_URL: url } });
  const application = await first.application(), token = await first.token();
  const { session } = (await first.call('POST', `/applications/${application}/sessions`, { body: { name: 'kept' } })).body;
  await paste(dump);
  const later = await first.application();
  await first.call('DELETE', `/applications/${application}/sessions`);
  await first.close();

  await paste(restore);
  const second = await startTestService({ env: { DATABASE_URL: url } });
  expect((await second.call('GET', `/applications/${application}/sessions/${session.id}`, { token })).body.session).toEqual(session); // signed with the key of the dump
  expect((await second.call('GET', `/applications/${later}`)).status).toBe(404);
  await second.close();
  await drop();
  rmSync(folder, { recursive: true });
});
