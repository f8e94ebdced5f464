// Before and after a whole run: a directory for what its files share, and the end of the PostgreSQL that one of them may have started.
import { chmodSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { have } from './needs.ts';
import { cluster, postgresIsThere, RUN_DIRECTORY } from './postgres.ts';

const IN_MEMORY = '/dev/shm', ROOM = 4 * 1024 ** 3;

/** Where files of the tests go: a disk that a machine shares with others stands still for seconds now and then, and what is tested would say so. */
function temporary(): string {
  try {
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    if (bavail * bsize > ROOM) return IN_MEMORY;
  } catch { /* there is none */ }
  return tmpdir();
}

export default function setup(): () => void {
  const directory = process.env[RUN_DIRECTORY] = process.env['TMPDIR'] = mkdtempSync(join(temporary(), 'rollcall-run-'));
  chmodSync(directory, 0o711); // PostgreSQL runs as another user
  have(postgresIsThere(), 'POSTGRESQL', 'its tests', "Install Debian's package postgresql, or set TEST_DATABASE_URL.");
  return () => {
    const directoryOfServer = join(directory, 'postgres');
    if (postgresIsThere() && !process.env['TEST_DATABASE_URL']) {
      const server = cluster(directoryOfServer);
      if (server.running) server.stop();
    }
    rmSync(directory, { recursive: true, force: true });
  };
}
