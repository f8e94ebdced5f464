// PostgreSQL's words, where they are others than SQLite's.
import type { Dialect } from './database.ts';
import { migrations } from './schema.ts';

export const dialect: Dialect = {
  // An array is looked up in an index. A set is joined, and before there are statistics in the worst way: each session with each of a thousand.
  among: (n) => `= any (array(select value::uuid from json_array_elements_text($${n}::json)))`,
  rows: (n, columns) => `(select ${Object.entries(columns).map(([column, type], index) => `(value ->> ${index})::${type} as ${column}`).join(', ')} from json_array_elements($${n}::json))`,
  rowsAtOnce: 100,
  beatsAtOnce: 1_000,
  greatest: (a, b) => `greatest(${a}, ${b})`,
  countConnected: 'select count(*) as count from sessions where application_id = $1 and bucket in ($2 * 2, $2 * 2 + 1)',
  onNewGeneration: '',
  // Numbers of transactions are given at their first write, and a lower one may commit later: what is visible may be read only up to the oldest still open.
  eventsAfter: (tx, seq) => `(e.tx, e.seq) > ($${tx}, $${seq})`,
  settledTransactions: 'e.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint',
  schemaVersion: 'select version from schema_version',
  lockRows: ' for no key update',
};

const signingKey = `
  create table signing_key (id integer primary key, key text not null);`;

/** All that a migration does here. */
export const postgresMigration = (index: number): string => `${migrations[index]!({
  uuid: 'uuid', text: 'text collate "C"', serial: 'bigint generated always as identity', transactionId: '(pg_current_xact_id()::text::bigint)',
  unlogged: 'unlogged', narrow: ' with (fillfactor = 60)',
})} ${index === 0 ? signingKey : ''}`;
