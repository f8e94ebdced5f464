// The code blocks of the documents that people read, fenced or indented, in lists too.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Marked, type Token } from 'marked';

const ROOT = new URL('../..', import.meta.url).pathname;

export const DOCUMENTS = ['README.md', 'client/README.md', ...globSync('docs/*.md', { cwd: ROOT }).sort()];

const codeIn = (tokens: readonly Token[]): string[] => tokens.flatMap((token) => [
  ...(token.type === 'code' ? [String(token['text'])] : []), // marked's Token is open, its code has a text
  ...codeIn((token as { tokens?: Token[] }).tokens ?? []), ...codeIn((token as { items?: Token[] }).items ?? []), // what may have others in it
]);

export const blocksOf = (document: string): string[] => codeIn(new Marked().lexer(readFileSync(join(ROOT, document), 'utf8')));

/** The one block of a document that begins so. */
export function blockOf(document: string, begins: string): string {
  const [block, ...others] = blocksOf(document).filter((text) => text.startsWith(begins));
  if (block === undefined || others.length > 0) throw new Error(`${document} has ${others.length + (block === undefined ? 0 : 1)} blocks that begin with ${begins}`);
  return block;
}
