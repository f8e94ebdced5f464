// SQLite's words, where they are others than PostgreSQL's.
import type { Dialect } from './database.ts';
import { migrations } from './schema.ts';

export const dialect: Dialect = {
  among: (n) => `in (select value from json_each($${n}))`,
  rows: (n, columns) => `(select ${Object.keys(columns).map((column, index) => `value ->> ${index} as ${column}`).join(', ')} from json_each($${n}))`,
  rowsAtOnce: 40,
  beatsAtOnce: 250,
  greatest: (a, b) => `max(coalesce(${a}, ${b}), coalesce(${b}, ${a}))`,
  // Counting a million rows would stop the event loop, so triggers keep the number.
  countConnected: 'select connected as count from applications where id = $1 and generation = $2',
  onNewGeneration: ', connected = 0',
  eventsAfter: (tx, seq) => `e.tx = $${tx} and e.seq > $${seq}`, // `tx` is always 0, and of a row value SQLite would use only that
  settledTransactions: 'true',
  schemaVersion: 'select user_version as version from pragma_user_version',
  lockRows: '',
};

const connectedCounter = `
  alter table applications add column connected integer not null default 0;
  create trigger sessions_inserted after insert on sessions when new.state < 2 begin
    update applications set connected = connected + 1 where id = new.application_id and generation = new.generation;
  end;
  create trigger sessions_changed after update of state on sessions when (old.state < 2) <> (new.state < 2) begin
    update applications set connected = connected + (case when new.state < 2 then 1 else -1 end) where id = new.application_id and generation = new.generation;
  end;
  create trigger sessions_deleted after delete on sessions when old.state < 2 begin
    update applications set connected = connected - 1 where id = old.application_id and generation = old.generation;
  end;`;

/** All that a migration does here. */
export const sqliteMigration = (index: number): string =>
  `${migrations[index]!({ uuid: 'text', text: 'text', serial: 'integer primary key autoincrement', transactionId: '0', unlogged: '', narrow: ' without rowid' })} ${index === 0 ? connectedCounter : ''}`;
