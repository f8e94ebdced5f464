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

  it('the domain imports nothing', () => expect(['server/session.ts', 'server/uuid.ts'].flatMap(importsOf)).toEqual([]));

  it('the client knows the generated types and its own files, and nothing of the server', () => {
    const known = /^client\/|^generated\/|^openapi-fetch$|^eventsource-parser/;
    const built = 'client/console/build.ts'; // runs on Node and makes the page; no part of it
    expect(under('client/').filter((file) => !file.startsWith('client/mcp') && file !== built).flatMap((file) => importsOf(file).filter((path) => !known.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
    expect(under('client/mcp').flatMap((file) => importsOf(file).filter((path) => !known.test(path) && !path.startsWith('node:')).map((path) => `${file} -> ${path}`))).toEqual([]);
  });

  it('the console reaches the server through the client alone', () => {
    const page = under('client/console/').filter((file) => file !== 'client/console/build.ts');
    expect(page.length).toBeGreaterThan(15);
    expect(page.flatMap((file) => importsOf(file).filter((path) => !/^client\/(console\/|index\.ts$|events\.ts$)/.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
    expect(page.filter((file) => /\bfetch\(|XMLHttpRequest|EventSource|WebSocket|sendBeacon|innerHTML|insertAdjacentHTML|(local|session)Storage|document\.cookie/.test(source(file)))).toEqual([]);
  });

  it('Express is spoken at the edge only', () => expect(importing(/^(express|express-openapi-validator|cors)$/)).toEqual(['app', 'in-order', 'matched', 'pages', 'validated', 'validator'].map((name) => `server/${name}.ts`)));

  it('each database is known to one file', () => {
    expect(importing(/^node:sqlite$/)).toEqual(['aside', 'backup', 'checkpoint', 'inspect', 'shared-read', 'soundness', 'sqlite'].map((name) => `server/store/${name}.ts`)); // its checkpoints and what takes long have threads of their own
    expect(importing(/^pg$/)).toEqual(['bell', 'pg-client', 'postgres'].map((name) => `server/store/${name}.ts`));
    expect(importing(/store\/(sqlite|postgres)\.ts$/)).toEqual(['server/cli.ts', 'server/service.ts', 'server/store/backup.ts']); // the command reads the shared key and migrates; a restore takes the lock
  });

  it('handlers know the store by its interface, and no HTTP', () => {
    const allowed = /^server\/(handlers\/|session|iso|uuid|frames|problem|operations|auth|events|sse|query|store\/store)|^node:crypto$/;
    expect(under('server/handlers/').flatMap((file) => importsOf(file).filter((path) => !allowed.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
  });

  it('the store knows the domain, and nothing above it', () => {
    const allowed = /^server\/(store\/|session|uuid)|^node:|^pg$|^lru-cache$/;
    expect(under('server/store/').flatMap((file) => importsOf(file).filter((path) => !allowed.test(path)).map((path) => `${file} -> ${path}`))).toEqual([]);
  });
});

describe('where things are said', () => {
  it('statuses are answered at the edge only', () => expect(saying(/\bres\.status\(|\.writeHead\(/).filter((file) => file.startsWith('server/') && !file.startsWith('server/dev/')))
    .toEqual(['server/app.ts', 'server/http.ts', 'server/metrics.ts', 'server/pages.ts', 'server/sse.ts']));

  it('text is called JSON of a type where sessions are presented', () => expect(saying(/\bas (?:\w*Json\b|Json<)/)).toEqual(['server/handlers/present.ts']));

  it('the environment is read where the process begins', () => expect(saying(/process\.env/).filter((file) => !file.startsWith('server/dev/'))).toEqual(['client/mcp-check.ts', 'server/cli.ts', 'server/main.ts']));
});
