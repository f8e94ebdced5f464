// What the store needs of a database. SQLite and PostgreSQL differ here, and in their two files, and nowhere else.

export type Value = string | number | null;

/** SQL with `$1`, `$2`, ... Made once; each database prepares it once under its name. */
export interface Statement { readonly name: string; readonly text: string }

export interface Queries {
  /** All rows. The row's shape is the statement's: a cast, checked by the conformance suite on both databases. */
  all<Row>(statement: Statement, ...values: Value[]): Promise<Row[]>;
  first<Row>(statement: Statement, ...values: Value[]): Promise<Row | undefined>;
  /** How many rows changed. */
  run(statement: Statement, ...values: Value[]): Promise<number>;
}

export interface Transaction extends Queries {
  /**
   * Creating and ending sessions take their application's lock shared, a revoke-all takes it alone, so that its count is exact.
   * A call of its own, before anything is read: a statement sees the world as it was before the statement waited. And before anything is
   * written: readers of events rely on it, see `eventLog`.
   */
  lock(applicationId: string, mode: 'shared' | 'exclusive'): Promise<void>;
}

export interface Database extends Queries {
  readonly dialect: Dialect;
  /** Names this process among those that share the database. */
  readonly instance: string;
  /** Commits when `work` resolves, rolls back when it rejects. */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** The words in which the two differ. */
export interface Dialect {
  /** The set of uuids in the JSON array that is parameter `n`. */
  uuids(n: number): string;
  /** A table of one row per inner array of the JSON array of arrays that is parameter `n`. */
  rows(n: number, columns: Record<string, 'uuid' | 'bigint' | 'text'>): string;
  /** The larger of several values, null counting as none. */
  greatest(a: string, b: string): string;
  /** One row, `count`: the connected sessions of application $1 in generation $2. */
  countConnected: string;
  /** Also set when an application's generation moves on. */
  onNewGeneration: string;
  /** A condition on `e` (events): it comes after the transaction and number that are parameters `tx` and `seq`. */
  eventsAfter(tx: number, seq: number): string;
  /** A condition on `e` (events): nothing that commits later can come before it. */
  settledTransactions: string;
  /** After `order by`: locks the rows in that order, so that two who change the same rows never wait for each other. */
  lockRows: string;
}

export type Sql = (text: string) => Statement;

/** Names statements after where they are written: `sessions.3`. */
export function statements(module: string): Sql {
  let count = 0;
  return (text) => ({ name: `${module}.${++count}`, text: text.replace(/\s+/g, ' ').trim() });
}
