// The embedded database: one file, one writer, readers beside it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import type { Database, Dialect, Queries, Statement, Transaction, Value } from './database.ts';
import { migrations } from './schema.ts';
import { StoreUnavailable } from './store.ts';

/** How long a write waits for another process that holds the file's lock. The event loop goes on meanwhile. */
const LOCK_PATIENCE_MS = 1_000;

const dialect: Dialect = {
  uuids: (n) => `(select value from json_each($${n}))`,
  rows: (n, columns) => `(select ${Object.keys(columns).map((column, index) => `value ->> ${index} as ${column}`).join(', ')} from json_each($${n}))`,
  greatest: (a, b) => `max(coalesce(${a}, ${b}), coalesce(${b}, ${a}))`,
  // Counting a million rows would stop the event loop, so triggers keep the number.
  countConnected: 'select connected as count from applications where id = $1 and generation = $2',
  onNewGeneration: ', connected = 0',
  eventsAfter: (tx, seq) => `e.tx = $${tx} and e.seq > $${seq}`, // `tx` is always 0, and of a row value SQLite would use only that
  settledTransactions: 'true',
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

/** Opens (and creates, and migrates) the database in a directory. @throws Error that says what to do, when it cannot. */
export function openSqlite(directory: string): Database {
  const opened: DatabaseSync[] = [];
  const open = (name: string, options: { readOnly?: boolean } = {}) => {
    const connection = new DatabaseSync(join(directory, name), { ...options, timeout: 0 });
    opened.push(connection);
    return connection;
  };
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const lock = open('rollcall.lock');
    lockDirectory(lock, directory);
    held.add(lock);
    const writer = open('rollcall.db');
    // Checkpoints are small and frequent: each is a commit that waits for the disk, and the event loop with it.
    writer.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = off; pragma wal_autocheckpoint = 300; pragma cache_size = -65536;');
    migrate(writer, join(directory, 'rollcall.db'));
    const reader = open('rollcall.db', { readOnly: true });
    reader.exec('pragma query_only = on; pragma cache_size = -65536; pragma mmap_size = 1073741824;');
    return database(reader, writer, lock);
  } catch (error) {
    for (const connection of opened.reverse()) {
      connection.close();
      held.delete(connection);
    }
    if (!unavailable.has(primaryCode(error))) throw error;
    throw new Error(`the database in ${directory} cannot be opened: ${(error as Error).message}; see that DATA_DIR is a directory this user may write, and that its disk is sound`, { cause: error });
  }
}

/** A connection that nobody refers to is closed some day, and its lock is gone. */
const held = new Set<DatabaseSync>();

/** One server process per file: this lock dies with the process, however it dies. */
function lockDirectory(lock: DatabaseSync, directory: string): void {
  try {
    lock.exec('begin exclusive');
  } catch (error) {
    if (primaryCode(error) !== BUSY) throw error;
    throw new Error(`another Rollcall server is running on ${directory}; stop it, or choose another DATA_DIR`, { cause: error });
  }
}

function migrate(db: DatabaseSync, file: string): void {
  const { user_version: version } = db.prepare('pragma user_version').get() as { user_version: number };
  if (version > migrations.length) {
    throw new Error(`${file} has schema ${version}, but this Rollcall knows only up to ${migrations.length}; run the newer version, or restore a backup`);
  }
  for (let next = version; next < migrations.length; next++) {
    const sql = migrations[next]!({ uuid: 'text', text: 'text', serial: 'integer primary key autoincrement', transactionId: '0', unlogged: '', narrow: ' without rowid' });
    db.exec(`begin immediate; ${sql} ${next === 0 ? connectedCounter : ''} pragma user_version = ${next + 1}; commit;`);
  }
}

function database(reader: DatabaseSync, writer: DatabaseSync, lock: DatabaseSync): Database {
  const read = queries(reader);
  const transaction: Transaction = { ...queries(writer), lock: async () => {} }; // there is only one writer
  const [begin, commit, rollback] = ['begin immediate', 'commit', 'rollback'].map((text) => writer.prepare(text)) as [StatementSync, StatementSync, StatementSync];
  let queue: Promise<unknown> = Promise.resolve();

  const giveUp = () => {
    if (writer.isTransaction) rollback.run();
  };

  const exclusively = <T>(work: (transaction: Transaction) => Promise<T>, deadline: number) => async (): Promise<T> => {
    guarded(giveUp); // the last one could not, if the disk was gone
    while (!attempt(begin)) {
      if (performance.now() > deadline) throw new StoreUnavailable('another process holds the database');
      await wait(10);
    }
    try {
      const result = await work(transaction);
      guarded(() => commit.run());
      return result;
    } catch (error) {
      try { giveUp(); } catch { /* what went wrong first is what matters */ }
      throw error;
    }
  };

  return {
    dialect, instance: 'embedded',
    ...read,
    run: (statement, ...values) => read.run(statement, ...values),
    transaction(work) {
      // The patience counts from here, so that those who queue while the file is locked do not wait for each other's in turn.
      const result = queue.then(exclusively(work, performance.now() + LOCK_PATIENCE_MS));
      queue = result.catch(() => {});
      return result;
    },
    async close() {
      await queue;
      reader.close();
      writer.close();
      lock.close();
      held.delete(lock);
    },
  };
}

function queries(connection: DatabaseSync): Queries {
  const prepared = new Map<Statement, StatementSync>();
  const prepare = (statement: Statement) => {
    let made = prepared.get(statement);
    if (!made) prepared.set(statement, made = connection.prepare(statement.text.replaceAll('$', '?')));
    return made;
  };
  // The row's shape is the statement's, see Queries.
  return {
    all: async <Row>(statement: Statement, ...values: Value[]) => guarded(() => prepare(statement).all(...values) as Row[]),
    first: async <Row>(statement: Statement, ...values: Value[]) => guarded(() => prepare(statement).get(...values) as Row | undefined),
    run: async (statement, ...values) => guarded(() => Number(prepare(statement).run(...values).changes)),
  };
}

const BUSY = 5, LOCKED = 6, IOERR = 10, CORRUPT = 11, FULL = 13, CANTOPEN = 14, NOTADB = 26, READONLY = 8;
const unavailable = new Set([BUSY, LOCKED, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB, READONLY]);

/** SQLite's own code, less what extends it. */
const primaryCode = (error: unknown): number => ((error as { errcode?: number }).errcode ?? 0) & 0xff;

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (unavailable.has(primaryCode(error)) || isClosed(error)) throw new StoreUnavailable((error as Error).message, { cause: error });
    throw error;
  }
}

const isClosed = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ERR_INVALID_STATE';

/** False when the file's lock is taken. */
function attempt(begin: StatementSync): boolean {
  try {
    begin.run();
    return true;
  } catch (error) {
    if (primaryCode(error) === BUSY) return false;
    throw new StoreUnavailable((error as Error).message, { cause: error });
  }
}
