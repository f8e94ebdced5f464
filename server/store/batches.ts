// Work on very many rows, in small batches.
import type { Database, Transaction } from './database.ts';

/** What lets others in between two batches. */
export type Pause = () => Promise<void>;

/** As statements take them. */
export const idsOf = (rows: readonly { id: string }[]): string => JSON.stringify(rows.map(({ id }) => id));

/** Repeats a batch until it does nothing more. */
export async function repeat(db: Database, signal: AbortSignal | undefined, pause: Pause, batch: (tx: Transaction) => Promise<number>): Promise<void> {
  while (!signal?.aborted) {
    const done = await db.transaction(batch);
    await pause();
    if (done < db.dialect.rowsAtOnce) return;
  }
}
