// PostgreSQL, for any number of instances: a pool with deadlines, and a clock all instances share.
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import type { Database, Statement, Transaction, Value } from './database.ts';
import { withClient } from './pg-client.ts';
import { dialect, postgresMigration } from './postgres-dialect.ts';
import { migrations, newerSchema } from './schema.ts';
import { StoreUnavailable, StoreUnusable, type Trouble } from './store.ts';

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
/** PostgreSQL does not say how much room it has. For so long after it had none for a write we say that the disk is full: longer than callers wait to try again. */
const FULL_MS = 6_000;
/** What is known to take long may take so long. It sorts and joins in memory, and reads indexes alone where it can. */
const ASIDE_MS = 30_000;
const BEGIN_ASIDE = `begin read only; set local statement_timeout = ${ASIDE_MS}; set local work_mem = '64MB'; set local random_page_cost = 1.1`;
/** Plans that hold for every value look dear over a million rows. Compiled, or shared among workers, a list of fifty took 62 ms instead of 0.6. */
const PLANNING = '-c jit=off -c max_parallel_workers_per_gather=0';
const MIGRATION_LOCK = 7_265_636_365;

/** 64-bit integers are times and counts here, all of them safe as numbers. */
const INT8 = 20;
const types = { getTypeParser: (oid: number, format?: 'text' | 'binary') => oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text') } as pg.CustomTypesConfig;

export interface Postgres extends Database {
  /** The database's time, ms since the epoch; as good as the last of the looks taken once a second. */
  now(): number;
  /** The key that all instances sign with: the one that is there, or else this. */
  sharedSigningKey(made: string): Promise<string>;
}

/** Connects and migrates. @throws StoreUnavailable when it is out of reach, or StoreUnusable that says what to do, when it cannot be used. */
export async function openPostgres(url: string, onError: (error: unknown) => void): Promise<Postgres> {
  const pool = new pg.Pool({
    connectionString: url, application_name: 'rollcall', max: 10, types, connectionTimeoutMillis: CONNECT_MS, query_timeout: DEADLINE_MS,
    statement_timeout: DEADLINE_MS, lock_timeout: DEADLINE_MS, idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS, keepAlive: true, options: PLANNING,
  });
  pool.on('error', onError); // an idle connection broke; without a listener the process would end
  try {
    await migrate(url);
    const clock = await databaseClock(pool, onError), closing = new AbortController();
    return { ...database(pool, closing.signal), now: clock.now, sharedSigningKey: (made) => sharedSigningKey(pool, made), async close() { closing.abort(); clock.stop(); await pool.end(); } };
  } catch (error) {
    await pool.end();
    if (isForGood(error)) throw new StoreUnusable(`the database cannot be used: ${(error as Error).message}`, { cause: error });
    throw error instanceof StoreUnavailable ? error : new StoreUnavailable((error as Error).message, { cause: error });
  }
}

/** Not there, starting up, full: that may pass. A wrong password, a missing database or right, or a schema from the future does not. */
function isForGood(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return !RETRIED.has(codeOf(error)) && (ours.has(codeOf(error).slice(0, 2)) || /^(28|3D|3F)/.test(codeOf(error)));
  // What the driver itself finds wrong has no code: there is no password, or no TLS where it was asked for.
  return error instanceof StoreUnusable || /^SASL: |does not support SSL|^Unknown authentication/i.test((error as Error).message);
}

/** One migration however many instances start at once. */
const migrate = (url: string): Promise<void> => withClient(url, 'migration', { connectionTimeoutMillis: START_MS, keepAlive: true }, async (client) => {
  // A migration takes the time it takes; everything else is answered at once, or the database is not there.
  const ask = (text: string) => client.query({ text, query_timeout: DEADLINE_MS } as pg.QueryConfig); // the types lack it
  while (!(await ask(`select pg_try_advisory_lock(${MIGRATION_LOCK}) as mine`)).rows[0].mine) await wait(50); // another instance migrates
  await ask('create table if not exists schema_version (version integer not null)');
  const version: number = (await ask('select version from schema_version')).rows[0]?.version ?? 0;
  if (version > migrations.length) throw new StoreUnusable(newerSchema('it', version));
  for (let next = version; next < migrations.length; next++) {
    await client.query(`begin; ${postgresMigration(next)} delete from schema_version; insert into schema_version values (${next + 1}); commit;`);
  }
});

function database(pool: pg.Pool, closing: AbortSignal): Omit<Database, 'close'> {
  const { all, first } = queries((query) => inTime(pool.query(query)));
  let full: { error: StoreUnavailable; at: number } | undefined, lastAside: Promise<unknown> = Promise.resolve();
  return {
    dialect, instance: randomUUID(), all, first,
    transaction: (work) => transaction(pool, work).catch((error: unknown) => {
      if (error instanceof StoreUnavailable && error.trouble === 'full') full = { error, at: performance.now() };
      throw error;
    }),
    aside<Row>(statement: Statement, ...values: Value[]) {
      const rows = lastAside.then(() => attemptTransaction(pool, (tx) => tx.all<Row>(statement, ...values), performance.now() + ASIDE_MS, { begin: BEGIN_ASIDE, timeoutMs: ASIDE_MS, signal: closing }));
      lastAside = rows.catch(() => {});
      return rows;
    },
    trouble: () => full && performance.now() - full.at < FULL_MS ? full.error : undefined,
  };
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
/** The connection broke before the commit was sent, by whoever ends connections, or because this process stood still for longer than a transaction may: nothing was done either. */
class CutOff extends StoreUnavailable {}

async function transaction<T>(pool: pg.Pool, work: (transaction: Transaction) => Promise<T>): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptTransaction(pool, work, deadline);
    } catch (error) {
      if (!(error instanceof CutOff || RETRIED.has(codeOf(error)))) throw error;
      if (attempt === 5 || performance.now() > deadline) throw error instanceof CutOff ? error : new StoreUnavailable((error as Error).message, { cause: error });
    }
  }
}

async function attemptTransaction<T>(pool: pg.Pool, work: (transaction: Transaction) => Promise<T>, deadline: number,
  { begin = 'begin', timeoutMs = DEADLINE_MS, signal }: { begin?: string; timeoutMs?: number; signal?: AbortSignal } = {}): Promise<T> {
  const client = await guarded(() => connect(pool, deadline));
  let broken: Error | undefined, released = false, committing = false;
  const release = () => {
    if (released) return;
    released = true;
    client.release(broken);
  };
  // A connection that breaks between two statements tells nobody else; unheard, it would end the process.
  const onError = (error: Error) => { broken ??= error; };
  client.on('error', onError);
  const giveUp = () => { broken ??= tooLate(); release(); };
  const timer = setTimeout(giveUp, Math.max(0, deadline - performance.now()));
  signal?.addEventListener('abort', giveUp);
  try {
    const on = queries((query) => client.query({ ...query, query_timeout: timeoutMs } as pg.QueryConfig)); // the types lack it
    await guarded(() => client.query(begin));
    const result = await work({ ...on, lock: async (applicationId, mode) => { await on.first(mode === 'shared' ? lockShared : lockAlone, applicationId); } });
    committing = broken === undefined;
    await guarded(() => client.query('commit'));
    return result;
  } catch (error) {
    if (released) throw new StoreUnavailable('the database did not answer in time', { cause: error });
    if (broken && !committing) throw new CutOff(broken.message, { cause: error });
    if (error instanceof StoreUnavailable) broken ??= error;
    else await client.query('rollback').catch((failure: Error) => { broken ??= failure; });
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
    release();
    client.off('error', onError);
  }
}

/** One that comes after the deadline goes back. */
async function connect(pool: pg.Pool, deadline: number): Promise<pg.PoolClient> {
  const connecting = pool.connect(), late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(tooLate()), Math.max(0, deadline - performance.now()));
  try {
    return await Promise.race([connecting, late.promise]);
  } catch (error) {
    connecting.then((client) => client.release(), () => {}); // it failed, as was just said
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

const lockShared: Statement = { name: 'lock.shared', text: 'select pg_advisory_xact_lock_shared(hashtextextended($1, 0))' };
const lockAlone: Statement = { name: 'lock.alone', text: 'select pg_advisory_xact_lock(hashtextextended($1, 0))' };

function queries(send: (query: { name: string; text: string; values: Value[] }) => Promise<pg.QueryResult>): Omit<Transaction, 'lock'> {
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
    throw new StoreUnavailable((error as Error).message, { cause: error, trouble: troubles[codeOf(error)] ?? 'away' });
  }
}

/** Disk full; damaged data, damaged index. */
const troubles: Record<string, Trouble> = { '53100': 'full', XX001: 'damaged', XX002: 'damaged' };

/** The key that all instances sign with, for the command that mints tokens. @throws Error when no server has made it yet */
export async function readSigningKey(url: string): Promise<string> {
  const rows = await withClient(url, 'token', { connectionTimeoutMillis: 5_000 }, async (client) => (await client.query<{ key: string }>(findSigningKey)).rows).catch((error: Error) => {
    throw new Error(`the signing key cannot be read from DATABASE_URL: ${error.message}`, { cause: error });
  });
  if (rows[0]) return rows[0].key;
  throw new Error('DATABASE_URL has no signing key yet; start a server on it first');
}

const findSigningKey = 'select key from signing_key where id = 1';

async function sharedSigningKey(pool: pg.Pool, made: string): Promise<string> {
  await guarded(() => pool.query('insert into signing_key (id, key) values (1, $1) on conflict do nothing', [made]));
  const { rows } = await guarded(() => pool.query<{ key: string }>(findSigningKey));
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
