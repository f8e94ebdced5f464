// Builds client/console/dist: one page, one script, one style sheet, named by their content so that a browser may keep them.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build as bundle } from 'esbuild';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** @returns how many bytes each file has, compressed */
export async function build(folder = here('dist')): Promise<Map<string, number>> {
  const { outputFiles } = await bundle({
    entryPoints: { console: here('main.ts'), style: here('style/index.css') }, entryNames: '[name]-[hash]', outdir: folder, write: false,
    bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2023', legalComments: 'none', charset: 'utf8',
  });
  let page = await readFile(here('index.html'), 'utf8');
  const files = new Map(outputFiles.map(({ path, contents }) => [basename(path), contents]));
  for (const name of files.keys()) page = page.replace(/console\.(css|js)/g, (written, type: string) => (name.endsWith(`.${type}`) ? name : written));
  files.set('index.html', Buffer.from(page));
  // Beside the old one and then in its place: a server never sees half of it.
  const fresh = `${folder}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  for (const [name, contents] of files) await writeFile(join(fresh, name), contents);
  await rm(folder, { recursive: true, force: true });
  await rename(fresh, folder);
  return new Map([...files].map(([name, contents]) => [name, gzipSync(contents, { level: 9 }).length]));
}

if (import.meta.main) {
  const sizes = await build();
  console.log(`Built client/console/dist, compressed: ${[...sizes].map(([name, bytes]) => `${name} ${(bytes / 1024).toFixed(1)} KB`).join(', ')}.`);
}
