// A database whose statements are told of, so that a test can do something else exactly between two of them.
import type { Database, Queries, Transaction } from '../../server/store/database.ts';

/** @param after is given each statement's text when it is done, and waited for before its answer is used. */
export function hooked(db: Database, after: (text: string) => Promise<void> | void): Database {
  const telling = (queries: Queries): Queries => ({
    async all<Row>(...call: Parameters<Queries['all']>) {
      const rows = await queries.all<Row>(...call);
      await after(call[0].text);
      return rows;
    },
    async first<Row>(...call: Parameters<Queries['first']>) {
      const row = await queries.first<Row>(...call);
      await after(call[0].text);
      return row;
    },
  });
  const tellingOf = (tx: Transaction): Transaction => ({
    ...tx, ...telling(tx),
    async run(...call) {
      const changed = await tx.run(...call);
      await after(call[0].text);
      return changed;
    },
  });
  return { ...db, ...telling(db), transaction: (work, urgency) => db.transaction((tx) => work(tellingOf(tx)), urgency) };
}
