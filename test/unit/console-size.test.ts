// What an operator's browser loads, and that it is little; the package does not bring it along.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { build } from '../../client/console/build.ts';

it('the console is three files of less than 32 KB together, compressed, which load nothing else', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-')), folder = join(directory, 'console');
  try {
    const sizes = await build(folder), names = [...sizes.keys()];
    expect(names.map((name) => name.replace(/-\w{8}\./, '.')).sort()).toEqual(['console.js', 'index.html', 'style.css']);
    expect([...sizes.values()].reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(32 * 1024);
    const page = readFileSync(join(folder, 'index.html'), 'utf8');
    expect([...page.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)].map(([, path]) => path!.replace('/console/', '')).sort()).toEqual(names.filter((name) => name !== 'index.html').sort());
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
  } finally { rmSync(directory, { recursive: true }); }
});
