// Moves what was committed from SQLite's write-ahead log into the database file, on a thread of its own: whoever does it waits for the disk.
import { DatabaseSync } from 'node:sqlite';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

export interface Checkpointer {
  /** Something was written: it is moved within PAUSE_MS, together with what comes until then. */
  committed(): void;
  close(): Promise<void>;
}

const PAUSE_MS = 1_000;
/** A log as long as this (64 MB) is moved to its end while writers wait, without stopping the event loop; else under steady load it would grow for ever. */
const LONG_LOG_PAGES = 16_384;

/** @param onFailure the thread is gone: someone else must see to the log from now on */
export function createCheckpointer(file: string, onFailure: (error: Error) => void): Checkpointer {
  let worker: Worker | undefined, timer: NodeJS.Timeout | undefined, working = false, waiting = false, closed = false;

  const start = () => {
    const started = new Worker(new URL(import.meta.url), { workerData: file });
    started.unref();
    started.on('message', () => {
      working = false;
      if (waiting) checkpointer.committed();
    });
    started.on('error', (error: Error) => {
      if (!closed) onFailure(error);
      closed = true;
    });
    return started;
  };

  const checkpointer: Checkpointer = {
    committed() {
      waiting = true;
      if (timer || working || closed) return;
      timer = setTimeout(() => {
        timer = undefined;
        [working, waiting] = [true, false];
        worker ??= start();
        worker.postMessage(undefined);
      }, PAUSE_MS).unref();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await worker?.terminate();
    },
  };
  return checkpointer;
}

if (!isMainThread && parentPort && typeof workerData === 'string') serve(workerData, parentPort);

function serve(file: string, port: NonNullable<typeof parentPort>): void {
  const db = new DatabaseSync(file, { timeout: 50 }); // writers wait while it waits for readers, a backup say
  db.exec('pragma synchronous = normal; pragma wal_autocheckpoint = 0');
  port.on('message', () => {
    try {
      const { log } = db.prepare('pragma wal_checkpoint(passive)').get() as { log: number };
      if (log > LONG_LOG_PAGES) db.exec('pragma wal_checkpoint(restart)');
    } catch { /* the disk's trouble: nothing is lost, the log keeps it, and whoever writes next hears of it */ }
    port.postMessage(undefined);
  });
}
