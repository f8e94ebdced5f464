// The embedded database's files, as far as SQLite does not look after them itself: are they still the ones that this server opened?
import { closeSync, existsSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StoreUnusable } from './store.ts';

const stamp = (path: string): string => {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.dev} ${stat.ino}` : 'gone';
};

export interface Files {
  /** Written once the database is open; a server that is killed leaves it behind. */
  markRunning(): void;
  markStopped(): void;
  /** The first of the files that is gone, or is another one by now. */
  missing(): string | undefined;
}

/** @throws StoreUnusable when a killed server's last commits were taken away. */
export function filesIn(directory: string): Files {
  const database = join(directory, 'rollcall.db'), wal = `${database}-wal`, mark = join(directory, 'rollcall.running');
  if (existsSync(mark) && !existsSync(wal)) {
    throw new StoreUnusable(`${wal} is missing, which holds the last commits of a server that was killed; put it back, restore a backup with \`rollcall restore --from FILE\`, or remove ${mark} to go on without them`);
  }
  let opened: { path: string; was: string }[] = [];
  return {
    markRunning() {
      writeFileSync(mark, '', { mode: 0o600 });
      opened = [database, wal].map((path) => ({ path, was: stamp(path) }));
    },
    markStopped: () => rmSync(mark, { force: true }),
    missing: () => opened.find(({ path, was }) => stamp(path) !== was)?.path,
  };
}

/**
 * An empty file for its owner alone, whatever the umask and whoever made the directory; SQLite gives its log and its index the mode of the database.
 * One that is there is not even opened: closing it would let go of the locks this process has on it.
 */
export function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // the file system throws nothing else
  }
}
