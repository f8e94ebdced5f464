// What the store needs of a database. SQLite and PostgreSQL differ here, and in their two files, and nowhere else.
import type { StoreUnavailable } from './store.ts';

export type Value = string | number | null;

/** SQL with `$1`, `$2`, ... Made once; each database prepares it once under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  /** Makes a row of its columns, in the statement's order: for where many rows are read, because SQLite is slow to make objects of them itself. */
  readonly read?: (columns: readonly Value[]) => object;
}

export interface Queries {
  /** All rows. The row's shape is the statement's: a cast, checked by the conformance suite on both databases. */
  all<Row>(statement: Statement, ...values: Value[]): Promise<Row[]>;
  first<Row>(statement: Statement, ...values: Value[]): Promise<Row | undefined>;
}

/** Nothing is written but in one. */
export interface Transaction extends Queries {
  /** How many rows changed. */
  run(statement: Statement, ...values: Value[]): Promise<number>;
  /**
   * Creating and ending sessions, and settling, take their application's lock shared; a revoke-all takes it alone, so that its count is exact, and so
   * does who allows a credential.
   * A call of its own, before anything is read: a statement sees the world as it was before the statement waited. And before anything is
   * written: readers of events rely on it, see `eventLog`.
   */
  lock(applicationId: string, mode: 'shared' | 'exclusive'): Promise<void>;
}

/** A revoke is vital: it may use the room that is kept back for when the disk is full. */
export type Urgency = 'vital' | 'usual';

export interface Database extends Queries {
  readonly dialect: Dialect;
  /** Names this process among those that share the database. */
  readonly instance: string;
  /** Commits when `work` resolves, rolls back when it rejects; `work` may be asked for more than once. */
  transaction<T>(work: (transaction: Transaction) => Promise<T>, urgency?: Urgency): Promise<T>;
  /** As `all`, for what may take long: not on the event loop, one after the other, and for as long as it takes, or thirty seconds on another machine. */
  aside<Row>(statement: Statement, ...values: Value[]): Promise<Row[]>;
  /** What is known to be wrong with it, without asking it. */
  trouble(): StoreUnavailable | undefined;
  close(): Promise<void>;
}

/** The words in which the two differ. */
export interface Dialect {
  /** What follows a column that is to be among the uuids in the JSON array that is parameter `n`. */
  among(n: number): string;
  /** A table of one row per inner array of the JSON array of arrays that is parameter `n`. */
  rows(n: number, columns: Record<string, 'uuid' | 'bigint' | 'text'>): string;
  /** Rows in one transaction of long work, for as many milliseconds as another call may wait. */
  rowsAtOnce: number;
  /** Heartbeats written in one statement: a few milliseconds of SQLite's time, and of PostgreSQL's as many as one round trip is worth. */
  beatsAtOnce: number;
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
  /** One row, `version`: how many of the migrations the database has had. */
  schemaVersion: string;
  /** After `order by`: locks the rows in that order, so that two who change the same rows never wait for each other. */
  lockRows: string;
}

export type Sql = (text: string, read?: Statement['read']) => Statement;

/** Names statements after where they are written: `sessions.3`. */
export function statements(module: string): Sql {
  let count = 0;
  return (text, read) => ({ name: `${module}.${++count}`, text: text.replace(/\s+/g, ' ').trim(), read });
}
