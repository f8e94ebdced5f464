// The client as it is published: what is in the tarball, what it weighs, and that a project elsewhere can use it.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const ROOT = new URL('../..', import.meta.url).pathname;
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

/** What the examples of the README take from the application around them. */
const AROUND = `
declare const args: string[];
declare const client: import('@rollcall/client').Client;
declare const controller: AbortController;
declare const applicationId: string, credentialId: string, sessionId: string;
declare const baseUrl: string, token: string, hostname: string;
declare const store: { lastEventId?: string; changed(session: object): void; over(sessionId: string): void; overUpTo(generation: number): void; readAll(): Promise<void> };
declare function currentToken(): Promise<string>;
declare function askToLogInAgain(): void;
`;

/** The README's examples, each in a function of its own. */
async function readmeExamples(): Promise<string> {
  const readme = await readFile(join(ROOT, 'client/README.md'), 'utf8');
  const examples = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code = ''], index) => {
    return `export async function example${index}() {\n${code.replace(/^import .*$/gm, '')}}`;
  });
  expect(examples.length).toBeGreaterThan(3);
  const imports = [...readme.matchAll(/^import .*$/gm)].map(([line]) => line);
  return [...new Set([...imports, "import { ProblemError } from '@rollcall/client';"]), ...examples].join('\n');
}

describe('the package', () => {
  let project: string;
  let files: string[];

  // The dependencies are copied from here, so that installing asks no registry.
  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), 'rollcall-client-'));
    const packed = await run('npm', ['pack', '--json', '--pack-destination', project], { cwd: join(ROOT, 'client') });
    // npm's documented answer, after whatever the build printed.
    const [tarball] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf('[\n'))) as [
      { filename: string; files: { path: string }[] },
    ];
    files = tarball.files.map((file) => file.path);
    const home = join(project, 'node_modules/@rollcall/client');
    await mkdir(home, { recursive: true });
    await run('tar', ['-xzf', join(project, tarball.filename), '-C', home, '--strip-components=1']);
    for (const name of ['eventsource-parser', 'openapi-fetch', 'openapi-typescript-helpers']) {
      await cp(join(ROOT, 'node_modules', name), join(project, 'node_modules', name), { recursive: true });
    }
    await writeFile(join(project, 'package.json'), '{ "type": "module" }');
    await writeFile(join(project, 'around.d.ts'), AROUND);
    await writeFile(join(project, 'readme.ts'), await readmeExamples());
    await writeFile(join(project, 'main.ts'), CONSUMER);
  });
  afterAll(() => rm(project, { recursive: true, force: true }));

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

  it.each([
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('type-checks in a strict project elsewhere, its README included (%s, %s)', async (module, moduleResolution) => {
    const options = { module, moduleResolution, target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], types: [] };
    const compilerOptions = { ...options, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false };
    const config = join(project, `tsconfig.${module}.json`);
    await writeFile(config, JSON.stringify({ compilerOptions, files: ['around.d.ts', 'main.ts', 'readme.ts'] }));
    const { stdout } = await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', config, '--outDir', join(project, module)]).catch(
      // How tsc fails: what it has to say is on its standard output.
      (failure: { stdout: string }) => failure,
    );
    expect(stdout).toBe('');
  });

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

  it('adds at most 5 KB to a page, minified and compressed', async () => {
    const entry = join(project, 'node_modules/@rollcall/client/dist/client/index.js');
    // For a browser: an import of a Node module would fail here.
    const bundling = { bundle: true, minify: true, format: 'esm', platform: 'browser', write: false } as const;
    const { outputFiles } = await build({ entryPoints: [entry], ...bundling });
    const [bundle] = outputFiles;
    expect(bundle?.contents.length).toBeGreaterThan(5_000);
    expect(gzipSync(bundle?.contents ?? '', { level: 9 }).length).toBeLessThanOrEqual(5 * 1024);
  });
});
