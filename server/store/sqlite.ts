// The embedded database: one file, one writer, readers beside it.
import { accessSync, constants, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { createAside, type Aside } from './aside.ts';
import { createCheckpointer, type Checkpointer } from './checkpoint.ts';
import type { Database, Statement, Transaction, Urgency, Value } from './database.ts';
import { filesIn, makePrivate, type Files } from './files.ts';
import { reserveIn, type Reserve } from './reserve.ts';
import { migrations, newerSchema } from './schema.ts';
import { createSharedRead } from './shared-read.ts';
import { checkSoundness, damagedFile } from './soundness.ts';
import { dialect, sqliteMigration } from './sqlite-dialect.ts';
import { asUnavailable, isBusy, isDamage, isLackOfRoom, isTrouble } from './sqlite-errors.ts';
import { StoreUnavailable, StoreUnusable } from './store.ts';

/** How long a write waits for another process that holds the file's lock: its caller is told within a second. The event loop goes on meanwhile. */
const LOCK_PATIENCE_MS = 750;
/** How often a write looks whether the disk has room again. */
const ROOM_PAUSE_MS = 1_000;

/** Opens (and creates, and migrates) the database in a directory. @throws StoreUnusable that says what to do, when it cannot. */
export function openSqlite(directory: string): Database {
  const opened: DatabaseSync[] = [];
  const open = (name: string, options: { readOnly?: boolean } = {}) => {
    const connection = new DatabaseSync(join(directory, name), { ...options, timeout: 0 });
    opened.push(connection);
    return connection;
  };
  const file = join(directory, 'rollcall.db');
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    accessSync(directory, constants.W_OK); // else SQLite would say of an existing file that it is not there
    for (const name of ['rollcall.lock', 'rollcall.db']) makePrivate(join(directory, name));
    const lock = open('rollcall.lock');
    lockDirectory(lock, directory);
    held.add(lock);
    const files = filesIn(directory);
    const writer = open('rollcall.db');
    writer.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = off; pragma wal_autocheckpoint = 0; pragma cache_size = -16384;');
    migrate(writer, file);
    checkSoundness(writer, file);
    const reader = open('rollcall.db', { readOnly: true });
    reader.exec('pragma query_only = on; pragma cache_size = -8192;');
    files.markRunning();
    const checkpointer = createCheckpointer(file, () => writer.exec('pragma wal_autocheckpoint = 1000'));
    return database({ reader, writer, lock, checkpointer, aside: createAside(file), files, reserve: reserveIn(directory) });
  } catch (error) {
    for (const connection of opened.reverse()) {
      connection.close();
      held.delete(connection);
    }
    if (isDamage(error)) throw damagedFile(file, (error as Error).message, error);
    if (!isTrouble(error) && !('syscall' in (error as Error))) throw error;
    throw new StoreUnusable(`DATA_DIR: the database in ${directory} cannot be opened: ${(error as Error).message}; see that it is a directory this user may write, and that its disk is sound and has room`, { cause: error });
  }
}

/** A connection that nobody refers to is closed some day, and its lock is gone. */
const held = new Set<DatabaseSync>();

/** One server process per file: this lock dies with the process, however it dies. */
export function lockDirectory(lock: DatabaseSync, directory: string): void {
  try {
    lock.exec('begin exclusive');
  } catch (error) {
    if (!isBusy(error)) throw error;
    throw new Error(`another Rollcall server is running on ${directory}; stop it, or choose another DATA_DIR`, { cause: error });
  }
}

function migrate(db: DatabaseSync, file: string): void {
  const { user_version: version } = db.prepare('pragma user_version').get() as { user_version: number };
  if (version > migrations.length) throw new StoreUnusable(`${newerSchema(file, version)}, or restore a backup with \`rollcall restore --from FILE\``);
  for (let next = version; next < migrations.length; next++) {
    db.exec(`begin immediate; ${sqliteMigration(next)} pragma user_version = ${next + 1}; commit;`);
  }
}

interface Parts { reader: DatabaseSync; writer: DatabaseSync; lock: DatabaseSync; checkpointer: Checkpointer; aside: Aside; files: Files; reserve: Reserve }

function database({ reader, writer, lock, checkpointer, aside, files, reserve }: Parts): Database {
  /** What was found to be wrong, for as long as it is. */
  let trouble: StoreUnavailable | undefined, lost: StoreUnavailable | undefined;
  /** Whether the reserve is whole; not known at first, so that a start does not wait for it. */
  let room = false, lookedForRoomAt = -Infinity;
  /** Why nobody could tell, at the last look. */
  let cannotTell: StoreUnavailable | undefined;

  const guarded: Guard = (work) => {
    try {
      return work();
    } catch (error) {
      throw remember(asUnavailable(error));
    }
  };
  const remember = (error: unknown) => {
    if (error instanceof StoreUnavailable && error.trouble !== 'away' && trouble?.trouble !== 'damaged') trouble = error;
    return error;
  };

  const shared = createSharedRead(reader);
  const { all, first } = queries(reader, (work) => guarded(() => { shared.begin(); return work(); }));
  const transaction: Transaction = { ...queries(writer, guarded), lock: async () => {} }; // there is only one writer
  const [begin, commit, rollback] = ['begin immediate', 'commit', 'rollback'].map((text) => writer.prepare(text)) as [StatementSync, StatementSync, StatementSync];
  let queue: Promise<unknown> = Promise.resolve();

  const giveUp = () => {
    if (writer.isTransaction) rollback.run();
  };

  /** Anything but a revoke is written only while the reserve is whole. */
  async function needRoom(): Promise<void> {
    if (room) return;
    if (performance.now() - lookedForRoomAt > ROOM_PAUSE_MS) {
      lookedForRoomAt = performance.now();
      cannotTell = undefined;
      room = await reserve.restore().catch((error: Error) => { cannotTell = new StoreUnavailable(error.message, { cause: error }); return false; });
      if (room && trouble?.trouble === 'full') trouble = undefined;
    }
    if (cannotTell) throw cannotTell;
    if (!room) throw remember(new StoreUnavailable('the disk is full', { trouble: 'full' }));
  }

  /** Files that were taken away would take with them whatever is written from now on. What is written already is saved as far as it can be. */
  function needFiles(): void {
    if (lost) throw lost;
    const path = files.missing();
    if (path === undefined) return;
    try { writer.exec('pragma wal_checkpoint(passive)'); } catch { /* it cannot be */ }
    lost = new StoreUnavailable(`${path} was removed or replaced while the server runs; restart the server`, { trouble: 'damaged' });
    throw remember(lost);
  }

  async function attempt<T>(work: (transaction: Transaction) => Promise<T>, deadline: number): Promise<T> {
    guarded(giveUp); // the last one could not, if the disk was gone
    while (!began(begin)) {
      if (performance.now() > deadline) throw new StoreUnavailable('another process holds the database');
      await wait(10);
    }
    try {
      const result = await work(transaction);
      guarded(() => commit.run());
      shared.end();
      checkpointer.committed();
      return result;
    } catch (error) {
      try { giveUp(); } catch { /* what went wrong first is what matters */ }
      throw error;
    }
  }

  const exclusively = <T>(work: (transaction: Transaction) => Promise<T>, urgency: Urgency, deadline: number) => async (): Promise<T> => {
    needFiles();
    if (urgency === 'usual') await needRoom();
    for (;;) {
      try {
        return await attempt(work, deadline);
      } catch (error) {
        if (!isLackOfRoom(error)) throw error;
        room = false;
        if (urgency === 'usual' || !reserve.release()) throw error;
      }
    }
  };

  return {
    dialect, instance: 'embedded', all, first,
    transaction(work, urgency = 'usual') {
      // The patience counts from here, so that those who queue while the file is locked do not wait for each other's in turn.
      const result = queue.then(exclusively(work, urgency, performance.now() + LOCK_PATIENCE_MS));
      queue = result.catch(() => {});
      return result;
    },
    aside: <Row>({ text }: Statement, ...values: Value[]) => aside.all(spelled(text), values) as Promise<Row[]>, // see Queries
    trouble: () => trouble,
    async close() {
      await queue;
      await Promise.all([checkpointer.close(), aside.close()]);
      if (!lost) files.markStopped();
      shared.end();
      reader.close();
      writer.close();
      lock.close();
      held.delete(lock);
    },
  };
}

/** Parameters as SQLite has them by number. */
const spelled = (text: string): string => text.replaceAll('$', '?');

type Guard = <T>(work: () => T) => T;

function queries(connection: DatabaseSync, guarded: Guard): Omit<Transaction, 'lock'> {
  const prepared = new Map<Statement, StatementSync>();
  const prepare = (statement: Statement) => {
    let made = prepared.get(statement);
    if (made) return made;
    prepared.set(statement, made = connection.prepare(spelled(statement.text)));
    if (statement.read) made.setReturnArrays(true);
    return made;
  };
  // The row's shape is the statement's, see Queries.
  return {
    all: async <Row>(statement: Statement, ...values: Value[]) => guarded(() => {
      const rows: unknown[] = prepare(statement).all(...values);
      return (statement.read ? (rows as Value[][]).map(statement.read) : rows) as Row[];
    }),
    first: async <Row>(statement: Statement, ...values: Value[]) => guarded(() => {
      const row: unknown = prepare(statement).get(...values);
      return (statement.read && row ? statement.read(row as Value[]) : row) as Row | undefined;
    }),
    run: async (statement, ...values) => guarded(() => Number(prepare(statement).run(...values).changes)),
  };
}

/** False when the file's lock is taken. */
function began(begin: StatementSync): boolean {
  try {
    begin.run();
    return true;
  } catch (error) {
    if (isBusy(error)) return false;
    throw asUnavailable(error);
  }
}
