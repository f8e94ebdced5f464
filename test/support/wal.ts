// A database whose write-ahead log is nobody's to empty but the test's.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export const MB = 1_048_576;

export function openWal() {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-checkpoint-')), file = join(directory, 'x.db'), writer = new DatabaseSync(file, { timeout: 1_000 });
  writer.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0; create table x (id integer primary key, value blob); pragma wal_checkpoint(truncate)');
  return {
    directory, file, writer,
    bytes: (name: 'x.db' | 'x.db-wal') => statSync(join(directory, name)).size,
    write(megabytes: number) {
      const insert = writer.prepare('replace into x values (?, ?)'), value = Buffer.alloc(4_000);
      writer.exec('begin immediate');
      for (let i = 0; i < megabytes * 256; i++) insert.run(i, value);
      writer.exec('commit');
    },
    close() {
      writer.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
