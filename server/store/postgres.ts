// PostgreSQL, for any number of instances: a pool with deadlines, and a clock all instances share.
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import type { Database, Dialect, Queries, Statement, Transaction, Value } from './database.ts';
import { migrations } from './schema.ts';
import { StoreUnavailable } from './store.ts';

/**
 * Whatever waits longer for the database is told that it is unavailable; a caller hears it within 2 s. The wait for a connection counts, and so
 * does everything in a transaction.
 */
const DEADLINE_MS = 1_800;
const CONNECT_MS = 1_500;
/** While the server starts: short, so that it is soon there when the database is. */
const START_MS = 1_000;
/** An instance that stops in the middle of a transaction holds its locks no longer: a revoke-all that waits for them is still in time. */
const IDLE_TRANSACTION_MS = 1_000;
const MIGRATION_LOCK = 7_265_636_365;
const APPLICATION_NAME = 'rollcall';

const dialect: Dialect = {
  uuids: (n) => `(select value::uuid from json_array_elements_text($${n}::json))`,
  rows: (n, columns) => `(select ${Object.entries(columns).map(([column, type], index) => `(value ->> ${index})::${type} as ${column}`).join(', ')} from json_array_elements($${n}::json))`,
  greatest: (a, b) => `greatest(${a}, ${b})`,
  countConnected: 'select count(*) as count from sessions where application_id = $1 and bucket in ($2 * 2, $2 * 2 + 1)',
  onNewGeneration: '',
  // Numbers of transactions are given at their first write, and a lower one may commit later: what is visible may be read only up to the oldest still open.
  eventsAfter: (tx, seq) => `(e.tx, e.seq) > ($${tx}, $${seq})`,
  settledTransactions: 'e.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint',
  lockRows: ' for no key update',
};

const signingKey = `
  create table signing_key (id integer primary key, key text not null);`;

/** 64-bit integers are times and counts here, all of them safe as numbers. */
const INT8 = 20;
const types = { getTypeParser: (oid: number, format?: 'text' | 'binary') => oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text') } as pg.CustomTypesConfig;

export interface Postgres extends Database {
  /** The database's time, ms since the epoch; as good as the last of the looks taken once a second. */
  now(): number;
  /** The key that all instances sign with: the one that is there, or else this. */
  sharedSigningKey(made: string): Promise<string>;
}

/** Connects and migrates. @throws StoreUnavailable when it is out of reach, or Error that says what to do, when it cannot be used. */
export async function openPostgres(url: string, onError: (error: unknown) => void): Promise<Postgres> {
  const pool = new pg.Pool({
    connectionString: url, application_name: APPLICATION_NAME, max: 10, types, connectionTimeoutMillis: CONNECT_MS, query_timeout: DEADLINE_MS,
    statement_timeout: DEADLINE_MS, lock_timeout: DEADLINE_MS, idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS, keepAlive: true,
  });
  pool.on('error', onError); // an idle connection broke; without a listener the process would end
  try {
    await migrate(url);
    const clock = await databaseClock(pool, onError);
    return { ...database(pool), now: clock.now, sharedSigningKey: (made) => sharedSigningKey(pool, made), async close() { clock.stop(); await pool.end(); } };
  } catch (error) {
    await pool.end();
    if (isForGood(error)) throw new Error(`the database cannot be used: ${(error as Error).message}`, { cause: error });
    throw error instanceof StoreUnavailable ? error : new StoreUnavailable((error as Error).message, { cause: error });
  }
}

class SchemaTooNew extends Error {}

/** Not there, starting up, full: that may pass. A wrong password, a missing database or right, or a schema from the future does not. */
function isForGood(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return ours.has(codeOf(error).slice(0, 2)) || /^(28|3D|3F)/.test(codeOf(error));
  // What the driver itself finds wrong has no code: there is no password, or no TLS where it was asked for.
  return error instanceof SchemaTooNew || /^SASL: |does not support SSL|^Unknown authentication/i.test((error as Error).message);
}

/** One migration however many instances start at once. */
async function migrate(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: `${APPLICATION_NAME} migration`, connectionTimeoutMillis: START_MS, keepAlive: true });
  client.on('error', () => {}); // the query in hand rejects as well
  // A migration takes the time it takes; everything else is answered at once, or the database is not there.
  const ask = (text: string) => client.query({ text, query_timeout: DEADLINE_MS } as pg.QueryConfig); // the types lack it
  try {
    await client.connect();
    while (!(await ask(`select pg_try_advisory_lock(${MIGRATION_LOCK}) as mine`)).rows[0].mine) await wait(50); // another instance migrates
    await ask('create table if not exists schema_version (version integer not null)');
    const version: number = (await ask('select version from schema_version')).rows[0]?.version ?? 0;
    if (version > migrations.length) throw new SchemaTooNew(`it has schema ${version}, but this Rollcall knows only up to ${migrations.length}; run the newer version`);
    for (let next = version; next < migrations.length; next++) {
      const sql = migrations[next]!({
        uuid: 'uuid', text: 'text collate "C"', serial: 'bigint generated always as identity', transactionId: '(pg_current_xact_id()::text::bigint)',
        unlogged: 'unlogged', narrow: ' with (fillfactor = 60)',
      });
      await client.query(`begin; ${sql} ${next === 0 ? signingKey : ''} delete from schema_version; insert into schema_version values (${next + 1}); commit;`);
    }
  } finally {
    void client.end().catch(() => {}); // not waited for: a connection that has gone silent does not say goodbye
  }
}

function database(pool: pg.Pool): Omit<Database, 'close'> {
  return { dialect, instance: randomUUID(), ...queries((query) => inTime(pool.query(query))), transaction: (work) => transaction(pool, work) };
}

const tooLate = () => new StoreUnavailable('the database did not answer in time');

/** The deadline of one statement, with the wait for a connection. The pool has deadlines of its own, so that what is given up here ends by itself. */
async function inTime<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(tooLate()), DEADLINE_MS);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

const RETRIED = new Set(['40001', '40P01']); // serialization failure, deadlock: nothing was done

async function transaction<T>(pool: pg.Pool, work: (transaction: Transaction) => Promise<T>): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptTransaction(pool, work, deadline);
    } catch (error) {
      if (!RETRIED.has(codeOf(error))) throw error;
      if (attempt === 5 || performance.now() > deadline) throw new StoreUnavailable((error as Error).message, { cause: error });
    }
  }
}

async function attemptTransaction<T>(pool: pg.Pool, work: (transaction: Transaction) => Promise<T>, deadline: number): Promise<T> {
  const client = await guarded(() => pool.connect()); // the pool has a deadline for this
  let broken: Error | undefined, released = false;
  const release = () => {
    if (released) return;
    released = true;
    client.release(broken);
  };
  // A connection that breaks between two statements tells nobody else; unheard, it would end the process.
  const onError = (error: Error) => { broken ??= error; };
  client.on('error', onError);
  const timer = setTimeout(() => { broken ??= tooLate(); release(); }, Math.max(0, deadline - performance.now()));
  try {
    const on = queries((query) => client.query(query));
    await guarded(() => client.query('begin'));
    const result = await work({ ...on, lock: async (applicationId, mode) => { await on.first(mode === 'shared' ? lockShared : lockAlone, applicationId); } });
    await guarded(() => client.query('commit'));
    return result;
  } catch (error) {
    if (released) throw new StoreUnavailable('the database did not answer in time', { cause: error });
    if (error instanceof StoreUnavailable) broken ??= error;
    else await client.query('rollback').catch((failure: Error) => { broken ??= failure; });
    throw error;
  } finally {
    clearTimeout(timer);
    release();
    client.off('error', onError);
  }
}

const lockShared: Statement = { name: 'lock.shared', text: 'select pg_advisory_xact_lock_shared(hashtextextended($1, 0))' };
const lockAlone: Statement = { name: 'lock.alone', text: 'select pg_advisory_xact_lock(hashtextextended($1, 0))' };

function queries(send: (query: { name: string; text: string; values: Value[] }) => Promise<pg.QueryResult>): Queries {
  const query = ({ name, text }: Statement, values: Value[]) => guarded(() => send({ name, text, values }));
  // The row's shape is the statement's, see Queries.
  return {
    all: async <Row>(statement: Statement, ...values: Value[]) => (await query(statement, values)).rows as Row[],
    first: async <Row>(statement: Statement, ...values: Value[]) => (await query(statement, values)).rows[0] as Row | undefined,
    run: async (statement, ...values) => (await query(statement, values)).rowCount ?? 0,
  };
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? '';

/** Classes of SQLSTATE that are our own doing; everything else means that the database could not, or could not be reached. */
const ours = new Set(['0A', '21', '22', '23', '2F', '42', '40']);

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof pg.DatabaseError && ours.has(codeOf(error).slice(0, 2))) throw error;
    if (error instanceof StoreUnavailable) throw error;
    throw new StoreUnavailable((error as Error).message, { cause: error });
  }
}

/** The key that all instances sign with, for the command that mints tokens. @throws Error when no server has made it yet */
export async function readSigningKey(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url, application_name: `${APPLICATION_NAME} token`, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {}); // the query in hand rejects as well
  try {
    await client.connect();
    const { rows } = await client.query<{ key: string }>('select key from signing_key where id = 1');
    if (rows[0]) return rows[0].key;
  } catch (error) {
    throw new Error(`the signing key cannot be read from DATABASE_URL: ${(error as Error).message}`, { cause: error });
  } finally {
    await client.end();
  }
  throw new Error('DATABASE_URL has no signing key yet; start a server on it first');
}

async function sharedSigningKey(pool: pg.Pool, made: string): Promise<string> {
  await guarded(() => pool.query('insert into signing_key (id, key) values (1, $1) on conflict do nothing', [made]));
  const { rows } = await guarded(() => pool.query<{ key: string }>('select key from signing_key where id = 1'));
  return rows[0]!.key; // just written, by us or by another
}

/** Follows the database's clock by looking once a second; between looks the process's monotonic clock goes on. */
async function databaseClock(pool: pg.Pool, onError: (error: unknown) => void) {
  let offset = 0;
  const look = async () => {
    const before = performance.now();
    const { rows } = await pool.query<{ now: number }>({ name: 'clock', text: 'select (extract(epoch from clock_timestamp()) * 1000)::float8 as now' });
    const after = performance.now();
    const seen = rows[0]!.now - (before + after) / 2; // an expression has a row
    // Half a round trip is what a look can be wrong by; a slow one only counts when it shows a real jump.
    if (offset === 0 || Math.abs(seen - offset) > (after - before) / 2) offset = seen;
  };
  await look();
  const timer = setInterval(() => { look().catch(onError); }, 1_000).unref();
  return { now: () => Math.floor(performance.now() + offset), stop: () => clearInterval(timer) };
}
