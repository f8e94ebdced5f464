// Which file may know of which: the arrows in the code point one way.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;
const files = globSync(['server/**/*.ts', 'client/**/*.ts'], { cwd: root, exclude: (path) => /node_modules|dist/.test(path) });
const source = (file: string) => readFileSync(join(root, file), 'utf8');
const importsOf = (file: string): string[] => [...source(file).matchAll(/^(?:import|export)\s[^;]*?from '([^']+)'|^import '([^']+)'|import\('([^']+)'\)/gm)]
  .map((match) => match[1] ?? match[2] ?? match[3]!)
  .map((path) => path.startsWith('.') ? normalize(join(dirname(file), path)) : path);
const importing = (pattern: RegExp) => files.filter((file) => importsOf(file).some((path) => pattern.test(path))).sort();
const saying = (pattern: RegExp) => files.filter((file) => pattern.test(source(file))).sort();
const under = (folder: string) => files.filter((file) => file.startsWith(folder));

describe('who may import whom', () => {
  it('sees the imports at all', () => {
    expect(importsOf('server/handlers/sessions.ts')).toContain('server/session.ts');
    expect(files.length).toBeGreaterThan(50);
  });

  it('the domain imports nothing', () => expect(importsOf('server/session.ts')).toEqual([]));

  it('the client knows the generated types and its own files, and nothing of the server', () => {
    const known = /^client\/|^generated\/|^openapi-fetch$|^eventsource-parser/;
    expect(under('client/').filter((file) => !file.startsWith('client/mcp')).flatMap((file) => importsOf(file).filter((path) => !known.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
    expect(under('client/mcp').flatMap((file) => importsOf(file).filter((path) => !known.test(path) && !path.startsWith('node:')).map((path) => `${file} -> ${path}`))).toEqual([]);
  });

  it('Express is spoken at the edge only', () => expect(importing(/^(express|express-openapi-validator|cors)$/)).toEqual(['server/app.ts', 'server/pages.ts']));

  it('each database is known to one file', () => {
    expect(importing(/^node:sqlite$/)).toEqual(['server/store/sqlite.ts']);
    expect(importing(/^pg$/)).toEqual(['server/store/bell.ts', 'server/store/postgres.ts']);
    expect(importing(/store\/(sqlite|postgres)\.ts$/)).toEqual(['server/cli.ts', 'server/service.ts']); // the command reads the shared key
  });

  it('handlers know the store by its interface, and no HTTP', () => {
    const allowed = /^server\/(handlers\/|session|problem|operations|auth|events|sse|query|store\/store)|^node:crypto$/;
    expect(under('server/handlers/').flatMap((file) => importsOf(file).filter((path) => !allowed.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
  });

  it('the store knows the domain, and nothing above it', () => {
    const allowed = /^server\/(store\/|session)|^node:|^pg$|^lru-cache$/;
    expect(under('server/store/').flatMap((file) => importsOf(file).filter((path) => !allowed.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
  });
});

describe('where things are said', () => {
  it('statuses are answered at the edge only', () => expect(saying(/\bres\.status\(|\.writeHead\(/).filter((file) => file.startsWith('server/') && !file.startsWith('server/dev/')))
    .toEqual(['server/app.ts', 'server/pages.ts', 'server/sse.ts']));

  it('the environment is read where the process begins', () => expect(saying(/process\.env/).filter((file) => !file.startsWith('server/dev/'))).toEqual(['server/cli.ts', 'server/main.ts']));
});
