// SQLite's long reads, such as a count of a million rows, on a thread of their own: the event loop goes on meanwhile. The thread starts with the first.
import { DatabaseSync } from 'node:sqlite';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Value } from './database.ts';
import { StoreUnavailable } from './store.ts';

export interface Aside {
  /** One after the other. @throws StoreUnavailable */
  all(text: string, values: readonly Value[]): Promise<unknown[]>;
  close(): Promise<void>;
}

interface Question { id: number; text: string; values: readonly Value[] }
type Answer = { id: number; rows: unknown[] } | { id: number; failure: string };

export function createAside(file: string): Aside {
  let worker: Worker | undefined, asked = 0, closed = false;
  const waiting = new Map<number, PromiseWithResolvers<unknown[]>>();

  const failAll = (error: Error) => {
    worker = undefined; // the next question starts another
    for (const { reject } of waiting.values()) reject(new StoreUnavailable(error.message, { cause: error }));
    waiting.clear();
  };
  const start = () => {
    const started = new Worker(new URL(import.meta.url), { workerData: file });
    started.unref();
    started.on('message', (answer: Answer) => {
      const asker = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ('rows' in answer) asker?.resolve(answer.rows);
      else asker?.reject(new StoreUnavailable(answer.failure));
    });
    started.on('error', failAll);
    return started;
  };

  return {
    all(text, values) {
      if (closed) return Promise.reject(new StoreUnavailable('the database is closed'));
      const id = ++asked, asker = Promise.withResolvers<unknown[]>();
      waiting.set(id, asker);
      worker ??= start();
      worker.postMessage({ id, text, values } satisfies Question);
      return asker.promise;
    },
    async close() {
      closed = true;
      await worker?.terminate();
      failAll(new Error('the database was closed'));
    },
  };
}

if (!isMainThread && parentPort && typeof workerData === 'string') serve(workerData, parentPort);

function serve(file: string, port: NonNullable<typeof parentPort>): void {
  const db = new DatabaseSync(file, { readOnly: true });
  db.exec('pragma query_only = on');
  port.on('message', ({ id, text, values }: Question) => {
    let answer: Answer;
    try {
      answer = { id, rows: db.prepare(text).all(...values) };
    } catch (error) {
      answer = { id, failure: (error as Error).message };
    }
    port.postMessage(answer);
  });
}
