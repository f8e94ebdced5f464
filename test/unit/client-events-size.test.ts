// What the streams weigh in a page, and that they ask nothing of Node.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, it } from 'vitest';

const ROOT = new URL('../..', import.meta.url).pathname;

/** Bytes of these entry points in one bundle for browsers, where an import of a Node module would fail; minified and compressed. */
async function weigh(...entries: string[]): Promise<number> {
  const contents = entries.map((entry, index) => `export * as entry${index} from './client/${entry}.ts';`).join('\n');
  const stdin = { contents, resolveDir: ROOT, loader: 'ts' } as const;
  const { outputFiles } = await build({ stdin, bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', write: false });
  return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length;
}

it('the events add at most 5 KB to the client', async () => {
  expect((await weigh('index', 'events')) - (await weigh('index'))).toBeLessThanOrEqual(5 * 1024);
  expect(await weigh('events')).toBeLessThanOrEqual(5 * 1024);
});

it('a kept connection adds at most another', async () => {
  expect((await weigh('index', 'events', 'connect')) - (await weigh('index', 'events'))).toBeLessThanOrEqual(1024);
});
