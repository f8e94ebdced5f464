// One look at the embedded database for all that is read in one round of the event loop.
import type { DatabaseSync } from 'node:sqlite';

export interface SharedRead {
  /** Begins one, unless there is one already. It ends by itself with this round of the event loop. */
  begin(): void;
  /** What is read from now on sees everything that is committed by now. */
  end(): void;
}

/** SQLite's locks and its look at the write-ahead log cost three times what finding a session does, so they are shared. */
export function createSharedRead(reader: DatabaseSync): SharedRead {
  const begin = reader.prepare('begin'), rollback = reader.prepare('rollback');
  let isOpen = false;
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    try {
      if (reader.isTransaction) rollback.run(); // what failed may have ended it
    } catch { /* nothing was written, and whoever reads next is told what is wrong */ }
  };
  return {
    begin() {
      if (isOpen) return;
      if (!reader.isTransaction) begin.run();
      isOpen = true;
      setImmediate(end);
    },
    end,
  };
}
