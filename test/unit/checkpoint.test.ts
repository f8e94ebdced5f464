// The thread that moves SQLite's write-ahead log into the database: it does so by itself, and is missed when it is gone.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createCheckpointer } from '../../server/store/checkpoint.ts';
import { MB, openWal } from '../support/wal.ts';

let wal: ReturnType<typeof openWal>;
beforeEach(() => { wal = openWal(); });
afterEach(() => wal.close());

describe('the checkpoint thread', () => {
  it('moves what was committed into the database file, and works on after that', async () => {
    const checkpointer = createCheckpointer(wal.file, (error) => { throw error; });
    for (const megabytes of [1, 2]) {
      wal.write(megabytes);
      checkpointer.committed();
      await expect.poll(() => wal.bytes('x.db'), { timeout: 10_000 }).toBeGreaterThan(megabytes * MB * 0.9);
    }
    await checkpointer.close();
  });

  it('is missed when it cannot work: somebody else is told to', async () => {
    const onFailure = vi.fn();
    const checkpointer = createCheckpointer(join(wal.directory, 'absent', 'x.db'), onFailure);
    checkpointer.committed();
    await expect.poll(() => onFailure.mock.calls.length, { timeout: 10_000 }).toBe(1);
    await checkpointer.close();
  });
});
