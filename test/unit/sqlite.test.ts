// The embedded database: who may open it, what a lock, a full or a broken disk do, and that a transaction is all or nothing.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { statements, type Database } from '../../server/store/database.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { StoreUnavailable } from '../../server/store/store.ts';

const sql = statements('test');
const insert = sql('insert into applications (id, organization_id, name, created_at) values ($1, $2, $3, 0)');
const names = sql('select name from applications order by id');

let directory: string;
let opened: Database[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rollcall-sqlite-'));
  opened = [];
});
afterEach(async () => {
  for (const db of opened) await db.close();
  rmSync(directory, { recursive: true, force: true });
});

const file = () => join(directory, 'rollcall.db');
function open(): Database {
  const db = openSqlite(directory);
  opened.push(db);
  return db;
}
async function close(db: Database): Promise<void> {
  opened.splice(opened.indexOf(db), 1);
  await db.close();
}
async function reopen(db: Database): Promise<Database> {
  await close(db);
  return open();
}
/** What an administrator's tool would do to the file. */
function withFile<T>(work: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(file());
  try { return work(db); } finally { db.close(); }
}
const add = (db: Database, id: string, name = id) => db.transaction((tx) => tx.run(insert, id, 'org', name));
const all = async (db: Database) => (await db.all<{ name: string }>(names)).map(({ name }) => name);

describe('openSqlite', () => {
  it('refuses a directory that another process serves, until that process is gone, however it went', async () => {
    const holder = spawn(process.execPath, ['--input-type=module', '-e', `
      const { openSqlite } = await import(${JSON.stringify(new URL('../../server/store/sqlite.ts', import.meta.url).href)});
      openSqlite(${JSON.stringify(directory)});
      console.log('open');
      setInterval(() => {}, 1000);`], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(holder.stdout, 'data');
      expect(open).toThrow(`another Rollcall server is running on ${directory}; stop it, or choose another DATA_DIR`);
    } finally {
      holder.kill('SIGKILL');
      await once(holder, 'exit');
    }
    expect(open).not.toThrow();
  });

  it('refuses a directory that this process serves already', async () => {
    const db = open();
    expect(open).toThrow(/another Rollcall server is running/);
    await add(db, 'a');
    expect(await all(await reopen(db))).toEqual(['a']);
  });

  it('migrates once, and leaves everything as it is the next time', async () => {
    const schema = () => withFile((db) => JSON.stringify([db.prepare('select type, name, sql from sqlite_schema order by name').all(), db.prepare('pragma user_version').get()]));
    let db = open();
    await add(db, 'a');
    const made = schema();
    expect(made).toContain('sessions_by_bucket');
    db = await reopen(db);
    expect(schema()).toBe(made);
    expect(await all(db)).toEqual(['a']);
  });

  it('refuses a newer schema, says what to do, and lets go of the files', async () => {
    await close(open());
    const { user_version: version } = withFile((db) => db.prepare('pragma user_version').get()) as { user_version: number };
    withFile((db) => db.exec('pragma user_version = 99'));
    expect(open).toThrow(`${file()} has schema 99, but this Rollcall knows only up to ${version}; run the newer version, or restore a backup with \`rollcall restore --from FILE\``);
    withFile((db) => db.exec(`pragma user_version = ${version}`));
    expect(open).not.toThrow();
  });

  it('says which directory it is about when the file is not a database', () => {
    writeFileSync(file(), 'not a database, but long enough to be looked at as if it were one'.repeat(100));
    expect(open).toThrow(`${file()} is damaged (file is not a database); restore a backup with \`rollcall restore --from FILE\``);
  });

  it('says so when the directory cannot be made', () => {
    writeFileSync(join(directory, 'taken'), '');
    expect(() => openSqlite(join(directory, 'taken'))).toThrow(/EEXIST/);
  });
});

describe('a transaction', () => {
  it('is rolled back when it fails, and the next one works', async () => {
    const db = open();
    const failing = db.transaction(async (tx) => {
      await tx.run(insert, 'a', 'org', 'a');
      throw new Error('changed my mind');
    });
    const next = add(db, 'b');
    await expect(failing).rejects.toThrow('changed my mind');
    await next;
    expect(await all(db)).toEqual(['b']);
  });

  it('is rolled back when a statement fails, with that error', async () => {
    const db = open();
    await add(db, 'a');
    const failing = db.transaction(async (tx) => {
      await tx.run(insert, 'b', 'org', 'b');
      await tx.run(insert, 'a', 'org', 'again');
    });
    await expect(failing).rejects.toThrow(/UNIQUE/);
    await expect(failing).rejects.not.toBeInstanceOf(StoreUnavailable);
    await add(db, 'c');
    expect(await all(db)).toEqual(['a', 'c']);
  });

  it('shows nothing of itself until it is committed, and never overlaps with another', async () => {
    const db = open();
    let running = 0;
    await Promise.all(Array.from({ length: 20 }, (_, i) => db.transaction(async (tx) => {
      expect(++running).toBe(1);
      await tx.run(insert, `id${String(i).padStart(2, '0')}`, 'org', 'n');
      await new Promise(setImmediate);
      expect(await all(db)).toHaveLength(i);
      expect(await tx.all(names)).toHaveLength(i + 1);
      running--;
    })));
    expect(await all(db)).toHaveLength(20);
  });
});

describe('a read', () => {
  it('sees what was committed just before, whatever else was read in the same turn of the event loop', async () => {
    const db = open();
    let turns = 0;
    setImmediate(() => { turns++; });
    for (const [count, id] of ['a', 'b', 'c'].entries()) {
      expect(await all(db)).toHaveLength(count);
      await add(db, id);
      expect(await all(db)).toHaveLength(count + 1);
    }
    expect(turns).toBeLessThan(2);
  });

  it('sees what is not committed yet only afterwards', async () => {
    const db = open();
    await db.transaction(async (tx) => {
      await tx.run(insert, 'a', 'org', 'a');
      expect(await all(db)).toEqual([]);
    });
    expect(await all(db)).toEqual(['a']);
  });

  it('sees what another process has committed from the next turn on', async () => {
    const db = open();
    expect(await all(db)).toEqual([]);
    withFile((other) => other.exec("insert into applications (id, organization_id, name, created_at) values ('a', 'org', 'a', 0)"));
    await new Promise(setImmediate);
    expect(await all(db)).toEqual(['a']);
  });

  it('goes on after one that failed', async () => {
    const db = open();
    await expect(db.all(sql('select abs(-9223372036854775807 - 1)'))).rejects.toThrow('overflow');
    await add(db, 'a');
    expect(await all(db)).toEqual(['a']);
  });

  it('does not keep the log from being begun anew, however many there are', async () => {
    const db = open(), log = () => statSync(`${file()}-wal`).size;
    let largest = 0;
    for (let i = 0; i < 60; i++) {
      await add(db, `a${i}`, 'x'.repeat(50_000));
      await all(db);
      await new Promise(setImmediate);
      withFile((other) => other.exec('pragma wal_checkpoint(passive)'));
      largest = Math.max(largest, log());
    }
    expect(largest).toBeLessThan(500_000); // of three million that were written
  });
});

describe('another process that holds the write lock', () => {
  it('makes writes fail within a second, together, while reads go on and the event loop turns', async () => {
    const db = open();
    await add(db, 'a');
    const other = new DatabaseSync(file());
    other.exec('begin immediate');
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const started = performance.now();
    let settled = 0, reads = 0;
    const writes = Array.from({ length: 10 }, (_, i) => add(db, `w${i}`).finally(() => settled++));
    const outcomes = Promise.allSettled(writes);
    while (settled < writes.length) {
      expect(await all(db)).toEqual(['a']);
      reads++;
      await new Promise(setImmediate);
    }
    const took = performance.now() - started;
    delay.disable();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(StoreUnavailable) });
    expect(took).toBeGreaterThan(700);
    expect(took).toBeLessThan(1_000);
    expect(reads).toBeGreaterThan(50);
    expect(delay.max / 1e6).toBeLessThan(150);
    other.exec('rollback');
    other.close();
    await add(db, 'b');
    expect(await all(db)).toEqual(['a', 'b']);
  });

  it('makes writes wait when it lets go in time', async () => {
    const db = open();
    const other = new DatabaseSync(file());
    other.exec('begin immediate');
    const write = add(db, 'a');
    await new Promise(setImmediate);
    other.exec('commit');
    other.close();
    await write;
    expect(await all(db)).toEqual(['a']);
  });
});

describe('a disk', () => {
  it('that is full makes writes unavailable, loses nothing, and works again when there is room', async () => {
    const db = open();
    await add(db, 'a');
    const limit = async (pages: number) => db.transaction((tx) => tx.first(sql(`pragma max_page_count = ${pages}`)), 'vital');
    await limit(1); // as many as there are
    const large = 'x'.repeat(100_000);
    for (const id of ['b', 'c']) await expect(add(db, id, large)).rejects.toMatchObject({ trouble: 'full' });
    expect(db.trouble()).toMatchObject({ trouble: 'full' });
    expect(await all(db)).toEqual(['a']);
    await limit(1_000_000);
    await vi.waitUntil(() => add(db, 'd', large).then(() => true, () => false), 3_000); // it looks once a second
    expect(db.trouble()).toBeUndefined();
    expect(await all(db)).toEqual(['a', large]);
  });

  it('whose room cannot be looked at makes writes unavailable, and is not called full', async () => {
    const db = open();
    mkdirSync(join(directory, 'rollcall.reserve')); // anything that cannot be written to
    for (const id of ['a', 'b']) await expect(add(db, id)).rejects.toMatchObject({ trouble: 'away', message: expect.stringContaining('EISDIR') });
    expect(db.trouble()).toBeUndefined();
  });

  it('that is broken makes reads and writes unavailable', async () => {
    const db = open();
    for (let i = 0; i < 50; i++) await add(db, `id${i}`, 'x'.repeat(5_000));
    const pages = withFile((tool) => tool.prepare('pragma wal_checkpoint(truncate)').get() && (tool.prepare('pragma page_count').get() as { page_count: number }).page_count);
    const handle = openSync(file(), 'r+');
    for (let page = Number(pages) - 40; page < Number(pages); page++) writeSync(handle, Buffer.alloc(4_096, 0xff), 0, 4_096, page * 4_096);
    closeSync(handle);
    await expect(all(db)).rejects.toMatchObject({ trouble: 'damaged' });
    await expect(db.transaction((tx) => tx.all(sql('select * from applications not indexed where name > 0')))).rejects.toMatchObject({ trouble: 'damaged' });
    expect(db.trouble()).toMatchObject({ trouble: 'damaged' });
    await close(db);
    expect(open).toThrow(/^.*rollcall\.db is damaged \(.*btreeInitPage.*\); restore a backup with `rollcall restore --from FILE`$/s);
  });

  it('is left alone after closing: calls are unavailable', async () => {
    const db = open();
    await close(db);
    await expect(all(db)).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(add(db, 'a')).rejects.toBeInstanceOf(StoreUnavailable);
  });
});
