// Looks at a database without changing anything, for `rollcall doctor`: is it there, sound, and of a schema that this version knows?
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { withClient } from './pg-client.ts';
import { migrations, newerSchema } from './schema.ts';
import { checkWhole, damagedFile } from './soundness.ts';
import { StoreUnusable } from './store.ts';

const PATIENCE_MS = 3_000;
const CLOCK_MS = 5_000;

const schemaWords = (version: number) => version === migrations.length ? `schema ${version}` : `schema ${version}, which the next start brings to ${migrations.length}`;

/** Reads all of it, so it takes a second per some 300 MB. @throws Error in words for the operator, when it cannot be used */
export async function checkSqlite(directory: string): Promise<string> {
  const file = join(directory, 'rollcall.db'), db = new DatabaseSync(file, { readOnly: true, timeout: PATIENCE_MS });
  try {
    const number = (text: string) => Number(Object.values(db.prepare(text).get()!)[0]);
    const version = number('pragma user_version');
    if (version > migrations.length) throw new StoreUnusable(newerSchema('it', version));
    checkWhole(db, file);
    return `${file} is sound: ${schemaWords(version)}${version > 0 ? `, ${number('select count(*) from sessions')} sessions` : ''}`;
  } catch (error) {
    if (error instanceof StoreUnusable) throw error;
    throw damagedFile(file, (error as Error).message, error);
  } finally {
    db.close();
  }
}

/** @throws Error in words for the operator, when it cannot be used */
export const checkPostgres = (url: string): Promise<string> => withClient(url, 'doctor', { connectionTimeoutMillis: PATIENCE_MS, query_timeout: PATIENCE_MS }, async (client) => {
  const { rows: [at] } = await client.query(`select current_setting('server_version') as server, (extract(epoch from clock_timestamp()) * 1000)::float8 as now, to_regclass('schema_version') is not null as migrated`);
  const version: number = at.migrated ? (await client.query('select version from schema_version')).rows[0]?.version ?? 0 : 0;
  if (version > migrations.length) throw new StoreUnusable(newerSchema('it', version));
  const ahead = Math.round(at.now - Date.now());
  if (Math.abs(ahead) > CLOCK_MS) throw new Error(`its clock is ${Math.abs(ahead)} ms ${ahead > 0 ? 'ahead of' : 'behind'} this machine's; tokens expire by this one, sessions by that one`);
  await client.query('listen rollcall_doctor');
  return `PostgreSQL ${at.server} answers: ${schemaWords(version)}`;
});
