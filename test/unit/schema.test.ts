// The migrations: what was released stays as it is, and what an older version has stored is brought along.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { createStore } from '../../server/store/index.ts';
import { openPostgres } from '../../server/store/postgres.ts';
import { postgresMigration } from '../../server/store/postgres-dialect.ts';
import { migrations } from '../../server/store/schema.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { sqliteMigration } from '../../server/store/sqlite-dialect.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { ORGANIZATION, times } from '../support/store-times.ts';

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** A line for each migration, never changed: a database that has had one is not given it again. A new line comes with a new migration. */
const hashes = [
  { sqlite: '4ae7e5129e682083', postgres: '27f1ae1615d35506' },
  { sqlite: '4f0b3a4120b28c41', postgres: '4f0b3a4120b28c41' },
];

it('no migration has been edited since it was made', () => {
  expect(migrations.map((_, index) => ({ sqlite: hashOf(sqliteMigration(index)), postgres: hashOf(postgresMigration(index)) }))).toEqual(hashes);
});

describe('a database of the first schema', () => {
  const [app, session] = ['0199aaaa-0000-7000-8000-000000000001', '0199aaaa-0000-7000-8000-000000000002'], end = 2_000_000_000_000;
  const content = `
    insert into applications (id, organization_id, name, created_at) values ('${app}', '${ORGANIZATION}', 'Old', 1);
    insert into sessions (application_id, id, generation, state, owner, token_expires_at, connected_at, facts) values ('${app}', '${session}', 1, 0, '', ${end}, 1, '"name":"Old"');
    insert into session_credentials (application_id, session_id, credential_id, generation, expires_at) values ('${app}', '${session}', 'own', 1, ${end + 1}), ('${app}', '${session}', 'of the token', 1, null);`;
  /** What the migrated database denies after a revoke-all. */
  async function denied(store: ReturnType<typeof createStore>): Promise<unknown> {
    const tenant = { organizationId: ORGANIZATION, applicationId: app, boundTo: undefined };
    try {
      expect(await store.revokeAll(tenant, {}, { subject: 'operator', requestId: 'r' })).toEqual({ outcome: 'done', count: 1 });
      return (await store.listRevokedCredentials(tenant, { after: undefined, limit: 10 }))?.items;
    } finally { await store.close(); }
  }
  const expected = [{ credentialId: 'of the token', deniedUntil: end }, { credentialId: 'own', deniedUntil: end + 1 }];

  it('is brought along on SQLite', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-schema-'));
    try {
      const db = new DatabaseSync(join(directory, 'rollcall.db'));
      db.exec(`${sqliteMigration(0)} ${content} pragma user_version = 1`);
      db.close();
      expect(await denied(createStore(openSqlite(directory), { ...times, now: Date.now }))).toEqual(expected);
    } finally { rmSync(directory, { recursive: true }); }
  });

  it.runIf(postgresIsThere())('is brought along on PostgreSQL', async () => {
    const { url, drop } = await createDatabase(), client = new pg.Client(url);
    await client.connect();
    await client.query(`${postgresMigration(0)} ${content} create table schema_version (version integer not null); insert into schema_version values (1)`);
    await client.end();
    const db = await openPostgres(url, () => {});
    expect(await denied(createStore(db, { ...times, now: db.now }))).toEqual(expected);
    await drop();
  });
});
