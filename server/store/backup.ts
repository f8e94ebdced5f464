// A copy of the embedded database, taken while a server runs on it, and the way back.
import { randomUUID } from 'node:crypto';
import { chmodSync, closeSync, copyFileSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { backup as copyPages, DatabaseSync } from 'node:sqlite';
import { makePrivate } from './files.ts';
import { createIds } from './id.ts';
import { keptActivity } from './rows.ts';
import { migrations, newerSchema } from './schema.ts';
import { inOneLine } from './soundness.ts';
import { lockDirectory } from './sqlite.ts';

export interface Copied { readonly applications: number; readonly sessions: number; readonly madeAt: number; readonly withKey: boolean }
export interface Restored extends Copied {
  /** Where the database is that was there before. */
  readonly previous: string | undefined;
  /** Connections of the backup that are lost, or revoked. */
  readonly ended: number;
}

/** No copy, or no way back from it; nothing was changed, and the message says what to do. */
class BackupRefused extends Error {}

const count = (db: DatabaseSync, table: string) => (db.prepare(`select count(*) as count from ${table}`).get() as { count: number }).count;

/** Runs, and leaves no open file whatever happens. */
async function using<T>(db: DatabaseSync, work: (db: DatabaseSync) => T | Promise<T>): Promise<T> {
  try { return await work(db); } finally { db.close(); }
}

/**
 * A consistent copy, with the signing key in it, verified before it has its name.
 * @throws BackupRefused when there is nothing to copy, or the copy would not be good
 */
export async function backUp(directory: string, to: string, { force = false }: { force?: boolean } = {}): Promise<Copied> {
  const file = join(directory, 'rollcall.db');
  if (!existsSync(file)) throw new BackupRefused(`there is no database in ${directory}; see that DATA_DIR is the server's`);
  if (existsSync(to) && !force) throw new BackupRefused(`${to} exists; choose another file, or replace it with --force`);
  const draft = `${to}.${randomUUID()}`;
  closeSync(openSync(draft, 'wx', 0o600));
  try {
    const of = await using(new DatabaseSync(file, { readOnly: true, timeout: 5_000 }), async (source) => {
      source.exec('begin'); // one moment for the whole copy, whatever is written meanwhile
      const counts = { applications: count(source, 'applications'), sessions: count(source, 'sessions') };
      await copyPages(source, draft, { rate: 1_000 });
      return counts;
    });
    const copied = await using(new DatabaseSync(draft), (copy) => {
      copy.exec('pragma journal_mode = delete; create table backup (made_at integer not null, signing_key text)');
      const key = join(directory, 'signing-key.json'), madeAt = Date.now(), withKey = existsSync(key);
      copy.prepare('insert into backup values (?, ?)').run(madeAt, withKey ? readFileSync(key, 'utf8') : null);
      verify(copy, draft);
      return { applications: count(copy, 'applications'), sessions: count(copy, 'sessions'), madeAt, withKey };
    });
    if (copied.applications !== of.applications || copied.sessions !== of.sessions) throw new BackupRefused(`the copy has ${copied.sessions} sessions instead of ${of.sessions}`);
    sync(draft);
    if (force) renameSync(draft, to);
    else linkSync(draft, to); // refuses where a rename would replace what came meanwhile
    sync(dirname(to));
    return copied;
  } catch (error) {
    throw inWords(error, `${file} cannot be backed up`);
  } finally {
    for (const rest of ['', '-journal', '-wal', '-shm']) rmSync(draft + rest, { force: true });
  }
}

/**
 * Puts a backup in the place of the database, and that one aside. Nobody knows what was revoked since the backup was made: every connection in it is lost,
 * until its client comes back, or with `revokeAll` over for good.
 * @throws BackupRefused when a server runs there, or the backup is not good; then everything is as it was
 */
export async function restore(directory: string, from: string, { revokeAll = false }: { revokeAll?: boolean } = {}): Promise<Restored> {
  if (!existsSync(from)) throw new BackupRefused(`there is no ${from}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, 'rollcall.db'), draft = `${file}.${randomUUID()}`, keyFile = join(directory, 'signing-key.json');
  makePrivate(join(directory, 'rollcall.lock'));
  const lock = new DatabaseSync(join(directory, 'rollcall.lock'), { timeout: 0 });
  try {
    lockDirectory(lock, directory);
    copyFileSync(from, draft);
    chmodSync(draft, 0o600);
    const { key, ...restored } = await using(new DatabaseSync(draft), (copy) => {
      copy.exec('pragma journal_mode = delete');
      verify(copy, from);
      const isBackup = copy.prepare("select 1 from sqlite_schema where name = 'backup'").get() !== undefined;
      const { madeAt, key } = (isBackup ? copy.prepare('select made_at as madeAt, signing_key as key from backup').get() : { madeAt: 0, key: null }) as { madeAt: number; key: string | null };
      const ended = endConnections(copy, revokeAll, Date.now());
      copy.exec('drop table if exists backup');
      return { applications: count(copy, 'applications'), sessions: count(copy, 'sessions'), madeAt, ended, key };
    });
    sync(draft);
    const previous = putAside(file);
    renameSync(draft, file);
    rmSync(join(directory, 'rollcall.running'), { force: true });
    // A key that is there is newer: the backup's may have been thrown away since, and every token with it.
    const withKey = key !== null && !existsSync(keyFile);
    if (withKey) writeFileSync(keyFile, key, { mode: 0o600, flag: 'wx', flush: true });
    sync(directory);
    return { ...restored, withKey, previous };
  } catch (error) {
    throw inWords(error, `${from} cannot be restored`);
  } finally {
    lock.close();
    for (const rest of ['', '-journal', '-wal', '-shm']) rmSync(draft + rest, { force: true });
  }
}

function verify(db: DatabaseSync, file: string): void {
  const { user_version: version } = db.prepare('pragma user_version').get() as { user_version: number };
  const { integrity_check: found } = db.prepare('pragma integrity_check(1)').get() as { integrity_check: string };
  if (found !== 'ok') throw new BackupRefused(`${file} is damaged (${inOneLine(found)})`);
  if (version > migrations.length) throw new BackupRefused(newerSchema(file, version));
  if (version === 0 || !db.prepare("select 1 from sqlite_schema where name = 'session_activity'").get()) throw new BackupRefused(`${file} is not a backup of Rollcall`);
}

/** Answers how many were connected. */
function endConnections(db: DatabaseSync, revokeAll: boolean, at: number): number {
  const newId = createIds();
  db.exec('begin');
  // Readers of events may know numbers that were given after the backup: none of those is given again.
  db.exec(`update sqlite_sequence set seq = seq + ${2 ** 32} where name = 'events'`);
  const applications = db.prepare('select id, generation, connected from applications where deleted_at is null').all() as { id: string; generation: number; connected: number }[];
  const [next, audit, event] = [
    'update applications set generation = generation + 1, connected = 0 where id = ?',
    `insert into revocations (application_id, id, created_at, action, subject, request_id, filter, count, state, generation, touched_at) values (?, ?, ?, 'revokeSessions', 'restore', 'restore', '{}', ?, 'done', ?, ?)`,
    `insert into events (application_id, at, type, generation, revocation_id, count) values (?, ?, 'sessions.revoked', ?, ?, ?)`,
  ].map((text) => db.prepare(text)) as [ReturnType<DatabaseSync['prepare']>, ReturnType<DatabaseSync['prepare']>, ReturnType<DatabaseSync['prepare']>];
  if (revokeAll) {
    for (const { id, generation, connected } of applications) {
      const revocationId = newId(at);
      next.run(id);
      audit.run(id, revocationId, at, connected, generation, at);
      event.run(id, at, generation, revocationId, connected);
    }
  } else {
    const current = 'exists (select 1 from applications a where a.id = sessions.application_id and a.generation = sessions.generation and a.deleted_at is null) and state < 2';
    db.prepare(`insert into events (application_id, at, type, session_id, generation, reason) select application_id, ?, 'session.disconnected', id, generation, 'lost' from sessions where ${current} order by application_id, id`).run(at);
    db.prepare(`update sessions set disconnected_at = max(?, connected_at), ${keptActivity}, state = 2 where ${current}`).run(at);
    db.exec('delete from session_activity where exists (select 1 from sessions s where s.application_id = session_activity.application_id and s.id = session_activity.id and s.state = 2)');
  }
  db.exec('commit');
  return applications.reduce((sum, { connected }) => sum + connected, 0);
}

/** There is a whole database under the name at every moment, or one that a server refuses to start on. Answers where the one is that was there. */
function putAside(file: string): string | undefined {
  const previous = `${file}.${new Date().toISOString().replace(/[:.]/g, '-')}`, isThere = existsSync(file);
  if (isThere) {
    const db = new DatabaseSync(file);
    try { db.exec('pragma wal_checkpoint(truncate)'); } catch { /* damaged: its log goes with it */ } finally { db.close(); }
    linkSync(file, previous);
  }
  // A log is applied to whatever database has its name: one that was left behind would be written over what is restored.
  for (const log of ['-wal', '-journal']) if (existsSync(file + log)) renameSync(file + log, previous + log);
  rmSync(`${file}-shm`, { force: true });
  return isThere ? previous : undefined;
}

function sync(path: string): void {
  const handle = openSync(path, 'r');
  try { fsyncSync(handle); } finally { closeSync(handle); }
}

const inWords = (error: unknown, what: string): Error => error instanceof BackupRefused ? error : new BackupRefused(`${what}: ${inOneLine((error as Error).message)}`, { cause: error });
