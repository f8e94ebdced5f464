// The client as it is published: what is in the tarball, what it weighs, and that a project elsewhere can use it.
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packClient, ROOT, run, writeReadme, type Packed } from '../support/packed.ts';

const SESSION = { id: '0199a1b2-c3d4-7e5f-8a6b-9c0d1e2f3a4b', name: 'cursor', derivedStatus: 'idle' };

const CONSUMER = `
import { createClient, ProblemError, type Session } from '@rollcall/client';

const [baseUrl = ''] = args;
const client = createClient({ baseUrl, token: () => 'secret' });
for await (const session of client.sessions.list('7c9e6679-7425-40de-944b-e07fc1f90ae7')) {
  const { name, derivedStatus }: Session = session;
  console.log(name, derivedStatus);
}
await client.sessions.get('a', 'b').catch((error: unknown) => {
  if (error instanceof ProblemError) console.log(error.code);
});
// Passing on what may be absent is fine under exactOptionalPropertyTypes, too.
const { nextCursor } = await client.applications.page({ limit: 1 });
const next = () => client.applications.page({ cursor: nextCursor, signal: undefined });
// @ts-expect-error that the types arrived at all shows in what they refuse
next().then((page) => page.cursor);
`;

/** Every entry point, in a project that has neither Node's types nor an MCP SDK. */
const ENTRIES = `
import { subscribe, watchSession, type SubscribeOptions } from '@rollcall/client/events';
import { connect, type Connection } from '@rollcall/client/connect';
import { mcpSessions, type McpSessionsOptions } from '@rollcall/client/mcp';
import { createFakeRollcall, type FakeRollcall } from '@rollcall/client/testing';
import { checkMcpServer, type Report } from '@rollcall/client/conformance';

export const entries = [subscribe, watchSession, connect, mcpSessions, createFakeRollcall, checkMcpServer];
export type Types = [SubscribeOptions, Connection, McpSessionsOptions, FakeRollcall, Report];
mcpSessions({ service: createFakeRollcall().service });
// @ts-expect-error a middleware that knows no service serves nobody
mcpSessions({});
`;

describe('the package', () => {
  let packed: Packed, project: string, files: string[];

  beforeAll(async () => {
    packed = await packClient();
    ({ project, files } = packed);
    await writeReadme(project);
    await writeFile(join(project, 'main.ts'), CONSUMER);
    await writeFile(join(project, 'entries.ts'), ENTRIES);
  });
  afterAll(() => packed.remove());

  it('holds what was built, its licence and its README, and nothing else', async () => {
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json', 'dist/client/index.js']));
    expect(files.filter((file) => !/^(LICENSE|README\.md|package\.json|dist\/.+\.(js|d\.ts))$/.test(file))).toEqual([]);
  });

  it('names files that are there, and only the dependencies it needs', async () => {
    const manifest = JSON.parse(await readFile(join(project, 'node_modules/@rollcall/client/package.json'), 'utf8'));
    for (const entry of Object.values<string | Record<string, string>>(manifest.exports)) {
      const targets = typeof entry === 'string' ? [entry] : Object.values(entry);
      expect(files).toEqual(expect.arrayContaining(targets.map((target) => target.replace('./', ''))));
    }
    expect(Object.keys(manifest.dependencies)).toEqual(['eventsource-parser', 'openapi-fetch']);
    expect(manifest).toMatchObject({ license: 'MIT', type: 'module', sideEffects: false });
    expect(manifest).not.toHaveProperty('private');
  });

  it('brings a command that says what it wants', async () => {
    const { stdout } = await run(process.execPath, [join(project, 'node_modules/@rollcall/client', 'dist/client/mcp-check.js'), '--help']);
    expect(stdout).toContain('rollcall-mcp-check <MCP endpoint>');
  });

  it.each([
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('type-checks in a strict project elsewhere, its README included (%s, %s)', async (module, moduleResolution) => {
    const options = { module, moduleResolution, target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], types: [] };
    const compilerOptions = { ...options, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false };
    const config = join(project, `tsconfig.${module}.json`);
    await writeFile(config, JSON.stringify({ compilerOptions, files: ['around.d.ts', 'main.ts', 'readme.ts', 'entries.ts'] }));
    const { stdout } = await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', config, '--outDir', join(project, module)]).catch(
      // How tsc fails: what it has to say is on its standard output.
      (failure: { stdout: string }) => failure,
    );
    expect(stdout).toBe('');
  }, 60_000);

  it('runs in a project elsewhere', async () => {
    const server = createServer((request, response) => {
      const isList = !request.url?.endsWith('/b');
      const problem = { type: '/docs/errors#not-found', title: 'There is nothing here.', status: 404, requestId: '1' };
      response.writeHead(isList ? 200 : 404, { 'content-type': isList ? 'application/json' : 'application/problem+json' });
      response.end(JSON.stringify(isList ? { items: [SESSION] } : problem));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      // A server that listens on a port has an address of this form.
      const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await writeFile(join(project, 'run.js'), `globalThis.args = [${JSON.stringify(baseUrl)}]; await import('./main.ts');`);
      const { stdout } = await run(process.execPath, [join(project, 'run.js')]);
      expect(stdout).toBe('cursor idle\nnot-found\n');
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('is what publint expects of a package', async () => {
    const { messages, pkg } = await publint({ pkgDir: join(project, 'node_modules/@rollcall/client'), pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
  });

  it('has types that are found however a project resolves them', async () => {
    const { stdout } = await run(process.execPath, [join(ROOT, 'node_modules/.bin/attw'), packed.tarball, '--profile', 'esm-only', '--format', 'json'])
      .catch((failure: { stdout: string }) => { throw new Error(failure.stdout); }); // it exits with 1 when it finds something
    expect(Object.keys(JSON.parse(stdout).analysis.entrypoints)).toEqual(expect.arrayContaining(['.', './events', './connect', './mcp', './testing', './conformance']));
  }, 60_000);

  /** Bytes of what a bundler makes of this module; for a browser, an import of a Node module would fail here. */
  const weigh = async (contents: string, platform: 'browser' | 'node' = 'browser') => {
    const bundling = { bundle: true, minify: true, format: 'esm', platform, write: false, logLevel: 'silent' } as const;
    const { outputFiles } = await build({ stdin: { contents, resolveDir: project }, ...bundling });
    const bundle = outputFiles[0]!.contents; // one module in, one file out
    return { bytes: bundle.length, compressed: gzipSync(bundle, { level: 9 }).length };
  };

  it.each([
    ['the client', "export { createClient } from '@rollcall/client'", 5],
    ['the client and streams', "export { createClient } from '@rollcall/client'; export { subscribe } from '@rollcall/client/events'", 8.25],
    ['a connection', "export { connect } from '@rollcall/client/connect'", 8.5],
    ['the fake service', "export { createFakeRollcall } from '@rollcall/client/testing'", 4.25],
    ['the conformance check', "export { checkMcpServer } from '@rollcall/client/conformance'", 7.75],
    ['the MCP adapter, for Node', "export { mcpSessions } from '@rollcall/client/mcp'", 15, 'node'],
  ] as const)('adds %s for at most so many KB, minified and compressed', async (_what, contents, most, platform: 'browser' | 'node' = 'browser') => {
    const { bytes, compressed } = await weigh(contents, platform);
    expect(bytes).toBeGreaterThan(5_000);
    expect(compressed).toBeLessThanOrEqual(most * 1024);
  });

  it('leaves out what is not used', async () => {
    expect((await weigh("import '@rollcall/client'; import '@rollcall/client/events'; import '@rollcall/client/connect'")).bytes).toBe(0);
    const [errors, all] = [await weigh("export { ProblemError } from '@rollcall/client'"), await weigh("export * from '@rollcall/client'")];
    expect(errors.bytes).toBeLessThan(all.bytes / 4);
  });
});
