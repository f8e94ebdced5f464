// What the READMEs and chapters tell people to run is there to be run.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

describe('README.md', () => {
  it('has two blocks to run, and both are run', () => {
    const blocks = [...read('README.md').matchAll(/```sh\n([^]*?)```/g)].map((match) => match[1]!.trim());
    expect(blocks).toEqual(['npm ci && npm start', 'npm ci && npm test']); // the first by test/e2e/readme.long.test.ts
    expect(read('.ci/run')).toMatch(/^npm ci$[^]*^RESULTS=\S+ npm run check\b/m);
    expect(scripts['check']).toMatch(/&& npm test$/);
  });

  it.each(['README.md', 'docs/scaling.md'])('%s has figures, and the pictures they name are there', (file) => {
    const figures = /<!-- bench -->([^]*)<!-- \/bench -->/.exec(read(file))![1]!; // else it has no place for them
    expect(figures).toContain('`npm run bench -- --only');
    for (const [, picture] of figures.matchAll(/!\[.*?\]\((.*?)\)/g)) expect(existsSync(join(root, picture!)), picture).toBe(true); // the group is there where it matches
  });

  it.each(['README.md', ...globSync('docs/*.md', { cwd: root })])('%s names only scripts that exist', (file) => {
    const named = [...read(file).matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)].map((match) => match[1]!);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});
