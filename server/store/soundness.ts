// Is an SQLite file what it should be? All of it, where that is asked for or cheap; else its edges.
import type { DatabaseSync } from 'node:sqlite';
import { StoreUnusable } from './store.ts';

/** What a database says of itself, for a message. */
export const inOneLine = (text: string): string => text.replace(/\s+/g, ' ').slice(0, 200);

/** A database of so many bytes is checked as a whole when it is opened, in some 100 ms. */
const CHECKED_BYTES = 32 * 1024 * 1024;

export const damagedFile = (file: string, what: string, cause?: unknown) =>
  new StoreUnusable(`${file} is damaged (${what}); restore a backup with \`rollcall restore --from FILE\``, { cause });

/** Reads all of it. @throws StoreUnusable when it is damaged */
export function checkWhole(db: DatabaseSync, file: string): void {
  const { quick_check: found } = db.prepare('pragma quick_check(1)').get() as { quick_check: string };
  if (found !== 'ok') throw damagedFile(file, inOneLine(found));
}

/** Finds at once what would else be found by somebody's request, as far as that takes no longer than a start may. */
export function checkSoundness(db: DatabaseSync, file: string): void {
  const { bytes } = db.prepare('select page_count * page_size as bytes from pragma_page_count, pragma_page_size').get() as { bytes: number };
  if (bytes <= CHECKED_BYTES) return checkWhole(db, file);
  for (const { name, key } of db.prepare(`select t.name, (select group_concat(c.name) from pragma_table_info(t.name) c where c.pk > 0) as key from sqlite_schema t
    where t.type = 'table' and t.name not like 'sqlite_%'`).all() as { name: string; key: string | null }[]) {
    for (const end of ['asc', 'desc']) db.prepare(`select * from ${name} order by ${(key ?? 'rowid').split(',').map((column) => `${column} ${end}`).join(', ')} limit 1`).get();
  }
}
