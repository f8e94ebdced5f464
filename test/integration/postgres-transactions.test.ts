// A transaction whose connection is cut: done again where nothing was done, in time, and exactly once.
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { statements } from '../../server/store/database.ts';
import { openPostgres, type Postgres } from '../../server/store/postgres.ts';
import { StoreUnavailable } from '../../server/store/store.ts';
import { sql, startDatabaseProxy, type DatabaseProxy } from '../support/instances.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';

const statement = statements('test');
const insert = statement('insert into applications (id, organization_id, name, created_at) values ($1, $2, $2, 0)');
const own = statement('select pg_backend_pid() as pid');

describe.runIf(postgresIsThere())('a transaction whose connection is cut', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>, proxy: DatabaseProxy, db: Postgres, id = 0;
  beforeAll(async () => {
    database = await createDatabase();
    proxy = await startDatabaseProxy(database.url);
    db = await openPostgres(proxy.url, () => {});
  });
  afterEach(() => proxy.mend());
  afterAll(async () => {
    await db.close();
    await proxy.close();
    await database.drop();
  });

  /** Writes a row, with a mishap in the first attempts; answers how many there were. */
  async function write(key: string, mishap: (pid: number, attempt: number) => Promise<void>): Promise<number> {
    let attempts = 0;
    await db.transaction(async (tx) => {
      const attempt = ++attempts, { pid } = (await tx.first<{ pid: number }>(own))!; // an expression has a row
      await tx.run(insert, key, 'org');
      await mishap(pid, attempt);
      await tx.first(own);
    });
    return attempts;
  }
  const newKey = () => `01990000-0000-7000-8000-${String(++id).padStart(12, '0')}`;
  const rows = async (key: string) => (await sql(database.url, `select id from applications where id = '${key}'`)).length;
  const end = async (pid: number) => { await sql(database.url, `select pg_terminate_backend(${pid})`); await wait(50); };

  it('is done again when somebody ended it', async () => {
    const key = newKey();
    expect(await write(key, async (pid, attempt) => { if (attempt < 3) await end(pid); })).toBe(3);
    expect(await rows(key)).toBe(1);
  });

  it('is done again when this process stood still for longer than a transaction may', async () => {
    const key = newKey();
    expect(await write(key, async (_pid, attempt) => { if (attempt === 1) { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_200); await wait(20); } })).toBe(2);
    expect(await rows(key)).toBe(1);
  });

  it('is unavailable in time, and leaves nothing, when it is cut again and again', async () => {
    const key = newKey(), started = performance.now();
    await expect(write(key, end)).rejects.toThrow(StoreUnavailable);
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(await rows(key)).toBe(0);
  });

  it('is unavailable in time, and leaves nothing, when the database is out of reach by then', async () => {
    for (const away of ['cut', 'silence'] as const) {
      const key = newKey(), started = performance.now();
      await expect(write(key, async (pid) => { proxy[away](); await end(pid); })).rejects.toThrow(StoreUnavailable);
      expect(performance.now() - started).toBeLessThan(2_000);
      proxy.mend();
      await wait(100);
      expect(await rows(key)).toBe(0);
    }
    expect(await write(newKey(), async () => {})).toBe(1);
  });
});
