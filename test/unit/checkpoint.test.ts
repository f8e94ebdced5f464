// The thread that moves SQLite's write-ahead log into the database: it does so by itself, and is missed when it is gone.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createCheckpointer } from '../../server/store/checkpoint.ts';

const MB = 1_048_576;
let directory: string, writer: DatabaseSync;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rollcall-checkpoint-'));
  writer = new DatabaseSync(join(directory, 'x.db'), { timeout: 1_000 });
  writer.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0; create table x (id integer primary key, value blob); pragma wal_checkpoint(truncate)');
});
afterEach(() => {
  writer.close();
  rmSync(directory, { recursive: true, force: true });
});

const bytes = (name: string) => statSync(join(directory, name)).size;
const write = (megabytes: number) => {
  const insert = writer.prepare('replace into x values (?, ?)'), value = Buffer.alloc(4_000);
  writer.exec('begin immediate');
  for (let i = 0; i < megabytes * 256; i++) insert.run(i, value);
  writer.exec('commit');
};

describe('the checkpoint thread', () => {
  it('moves what was committed into the database file, and works on after that', async () => {
    const checkpointer = createCheckpointer(join(directory, 'x.db'), (error) => { throw error; });
    for (const megabytes of [1, 2]) {
      write(megabytes);
      checkpointer.committed();
      await expect.poll(() => bytes('x.db'), { timeout: 10_000 }).toBeGreaterThan(megabytes * MB * 0.9);
    }
    await checkpointer.close();
  });

  it('is missed when it cannot work: somebody else is told to', async () => {
    const onFailure = vi.fn();
    const checkpointer = createCheckpointer(join(directory, 'absent', 'x.db'), onFailure);
    checkpointer.committed();
    await expect.poll(() => onFailure.mock.calls.length, { timeout: 10_000 }).toBe(1);
    await checkpointer.close();
  });
});
