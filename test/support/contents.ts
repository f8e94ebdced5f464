// Everything a database holds, as text: two of them are equal only if nothing at all was changed.
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { sql } from './instances.ts';

/** Only the sweeper's own clock moves by itself. */
const MOVES = ['service', 'signing_key'];

export function contentsOfSqlite(directory: string): string {
  const db = new DatabaseSync(join(directory, 'rollcall.db'), { readOnly: true });
  try {
    const tables = db.prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by name").all() as { name: string }[];
    return tables.filter(({ name }) => !MOVES.includes(name)).map(({ name }) => `${name}\n${db.prepare(`select * from ${name}`).all().map((row) => JSON.stringify(row)).sort().join('\n')}`).join('\n\n');
  } finally {
    db.close();
  }
}

export async function contentsOfPostgres(url: string): Promise<string> {
  const tables = await sql<{ name: string }>(url, "select tablename as name from pg_tables where schemaname = 'public' order by 1");
  const texts = await Promise.all(tables.filter(({ name }) => !MOVES.includes(name)).map(async ({ name }) => {
    const rows = await sql<{ row: string }>(url, `select to_json(t)::text as row from ${name} t order by 1`);
    return `${name}\n${rows.map(({ row }) => row).join('\n')}`;
  }));
  return texts.join('\n\n');
}
