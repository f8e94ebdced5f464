// The thread that moves SQLite's write-ahead log into the database keeps the log short; it takes 400 MB to show it.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
  it('keeps the log short under a load that never pauses', { timeout: 60_000 }, async () => {
    const checkpointer = createCheckpointer(join(directory, 'x.db'), (error) => { throw error; });
    for (let written = 0; written < 400; written += 4) {
      write(4);
      checkpointer.committed();
      await wait(20);
    }
    await checkpointer.close();
    expect(bytes('x.db-wal')).toBeLessThan(300 * MB);
  });
});
