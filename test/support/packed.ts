// The client as it is published, unpacked into a project elsewhere. It is built from a copy, so that test files can do this side by side.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { have } from './needs.ts';

export const run = promisify(execFile);
export const ROOT = new URL('../..', import.meta.url).pathname;

export interface Packed {
  /** A folder with a package.json, where `@rollcall/client` is installed. */
  readonly project: string;
  readonly tarball: string;
  /** What is in the tarball. */
  readonly files: string[];
  remove(): Promise<void>;
}

export async function packClient(): Promise<Packed> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-client-')), project = join(folder, 'project'), source = join(folder, 'source');
  await mkdir(join(source, 'generated'), { recursive: true });
  for (const path of ['client', 'generated/api.ts', 'tsconfig.json']) {
    await cp(join(ROOT, path), join(source, path), { recursive: true, filter: (from) => !from.endsWith('/dist') });
  }
  await symlink(join(ROOT, 'node_modules'), join(source, 'node_modules'));
  const packed = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: join(source, 'client') });
  // npm's documented answer, after whatever the build printed.
  const [{ filename, files }] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf('[\n'))) as [{ filename: string; files: { path: string }[] }];
  const tarball = join(folder, filename), home = join(project, 'node_modules/@rollcall/client');
  await mkdir(home, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', home, '--strip-components=1']);
  // The dependencies are copied from here, so that installing asks no registry.
  for (const name of ['eventsource-parser', 'openapi-fetch', 'openapi-typescript-helpers']) {
    await cp(join(ROOT, 'node_modules', name), join(project, 'node_modules', name), { recursive: true });
  }
  await writeFile(join(project, 'package.json'), '{ "type": "module" }');
  return { project, tarball, files: files.map(({ path }) => path), remove: () => rm(folder, { recursive: true, force: true }) };
}

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

/** The client's README as a module, each example in a function of its own, in `readme.ts` beside what it takes from around. */
export async function writeReadme(project: string): Promise<void> {
  const readme = await readFile(join(ROOT, 'client/README.md'), 'utf8');
  const examples = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code = ''], index) => {
    return `export async function example${index}() {\n${code.replace(/^import .*$/gm, '')}}`;
  });
  if (examples.length < 4) throw new Error('the README has lost its examples');
  const imports = [...readme.matchAll(/^import .*$/gm)].map(([line]) => line);
  await writeFile(join(project, 'around.d.ts'), AROUND);
  await writeFile(join(project, 'readme.ts'), [...new Set([...imports, "import { ProblemError } from '@rollcall/client';"]), ...examples].join('\n'));
}

/** Whether packages can be had that are no dependencies; CI must not go on without. @param tests what is left out otherwise */
export async function registryIsReachable(tests: string): Promise<boolean> {
  return have(await run('npm', ['view', 'typescript@7.0.2', 'version'], { timeout: 30_000 }).then(() => true, () => false), 'THE PACKAGE REGISTRY', tests, 'It is out of reach.');
}
