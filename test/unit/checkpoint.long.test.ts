// The thread that moves SQLite's write-ahead log into the database keeps the log short; it takes 400 MB to show it.
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCheckpointer } from '../../server/store/checkpoint.ts';
import { MB, openWal } from '../support/wal.ts';

let wal: ReturnType<typeof openWal>;
beforeEach(() => { wal = openWal(); });
afterEach(() => wal.close());

describe('the checkpoint thread', () => {
  it('keeps the log short under a load that never pauses', { timeout: 60_000 }, async () => {
    const checkpointer = createCheckpointer(wal.file, (error) => { throw error; });
    for (let written = 0; written < 400; written += 4) {
      wal.write(4);
      checkpointer.committed();
      await wait(20);
    }
    await checkpointer.close();
    expect(wal.bytes('x.db-wal')).toBeLessThan(300 * MB);
  });
});
