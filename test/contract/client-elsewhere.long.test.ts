// The packed client where others use it: under TypeScript 7, and in each line of Node it promises. Needs the registry.
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestService, type TestService } from '../support/service.ts';
import { blockOf } from '../support/blocks.ts';
import { packClient, registryIsReachable, ROOT, run, writeReadme, type Packed } from '../support/packed.ts';

const MINUTES = 60_000;
const NODES = ['20', '22', '24'];
const ENTRIES = ['.', './events', './connect', './mcp', './testing', './conformance'];

const isReachable = await registryIsReachable('the tests of the client under TypeScript 7 and in other lines of Node');

/** Everything the package does without a browser, on the real service. */
const SMOKE = `
import { createClient, ProblemError } from '@rollcall/client';
import { subscribe, watchSession } from '@rollcall/client/events';
import { connect } from '@rollcall/client/connect';
import { mcpSessions } from '@rollcall/client/mcp';
import { createFakeRollcall } from '@rollcall/client/testing';
import '@rollcall/client/conformance';

const [baseUrl, token, applicationId] = process.argv.slice(2), service = { baseUrl, token, applicationId };
const client = createClient({ baseUrl, token });
const said = [];
let isOpen;
const open = new Promise((resolve) => { isOpen = resolve; });
const watching = (async () => {
  for await (const event of subscribe({ ...service, onState: ({ state }) => state === 'open' && isOpen() })) {
    said.push(event.type);
    if (event.type === 'sessions.revoked') return;
  }
})();
await open;
const connection = await connect({ ...service, session: { name: 'desk', credentialId: 'grant' } });
for await (const { name, derivedStatus } of client.sessions.list(applicationId)) said.push(name + ' ' + derivedStatus);
const over = watchSession({ ...service, sessionId: connection.session.id });
said.push((await client.sessions.revokeAll(applicationId)).disconnectedCount);
said.push((await over).reason, (await connection.disconnected).reason);
await watching;
await client.sessions.create(applicationId, { credentialId: 'grant' }).catch((error) => said.push(error instanceof ProblemError && error.code));
const sessions = mcpSessions({ service: createFakeRollcall().service, onError: (error) => said.push(error) });
await sessions.ready;
said.push('denied ' + sessions.stats().denied);
await sessions.close();
console.log(process.versions.node.split('.')[0] + ': ' + said.join(', '));
process.exit(0);
`;

describe.runIf(isReachable)('the packed client', () => {
  let packed: Packed, test: TestService, tools: string;

  /** Installs it apart from the project, which sees the client alone. */
  async function install(name: string): Promise<string> {
    const folder = join(tools, name.replace(/\W/g, '-'));
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'package.json'), '{}');
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--no-strict-allow-scripts', name], { cwd: folder }); // our own rule, which npm hands on; `node` has a script
    return join(folder, 'node_modules');
  }

  beforeAll(async () => {
    [packed, test, tools] = await Promise.all([packClient(), startTestService({ background: true, clock: { now: Date.now, advance() {}, set() {} } }), mkdtemp(join(tmpdir(), 'rollcall-tools-'))]);
    await writeFile(join(packed.project, 'smoke.js'), SMOKE);
    await writeReadme(packed.project);
    const imports = ENTRIES.map((entry, index) => `import * as entry${index} from '@rollcall/client${entry.slice(1)}';`);
    await writeFile(join(packed.project, 'all.ts'), `${imports.join('\n')}
const client = entry0.createClient({ baseUrl: '', token: '' });
// @ts-expect-error that the types arrived at all shows in what they refuse
client.sessions.get(1);
// @ts-expect-error the time of our tests is nobody's parameter
export const timed = () => entry1.subscribe({ baseUrl: '', token: '', applicationId: '' }, {} as never);
export const all = [${ENTRIES.map((_entry, index) => `entry${index}`).join(', ')}];
`);
  }, 3 * MINUTES);
  afterAll(async () => {
    await test.close();
    await Promise.all([packed.remove(), rm(tools, { recursive: true, force: true })]);
  });

  it('is got from a checkout as docs/start.md, docs/mcp.md and client/README.md say', async () => {
    const place = await mkdtemp(join(tools, 'got-')), checkout = join(place, 'checkout'), project = join(place, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "type": "module" }');
    for (const path of ['package.json', 'tsconfig.json', 'client', 'generated']) await cp(join(ROOT, path), join(checkout, path), { recursive: true, filter: (from) => !from.endsWith('/dist') });
    await symlink(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
    const [pack = '', add = ''] = blockOf('docs/start.md', 'npm pack').split('\n');
    const plain = (line: string) => line.replace(/ +#.*/, '');
    for (const document of ['docs/mcp.md', 'client/README.md']) expect(blockOf(document, 'npm pack').split('\n').slice(0, 2).map(plain)).toEqual([pack, add].map(plain));
    await run('bash', ['-ec', pack.replace('/path/to/your/project', project)], { cwd: checkout });
    await run('bash', ['-ec', `${plain(add)} --prefer-offline --no-audit`], { cwd: project });
    const { stdout } = await run(process.execPath, ['-e', "import('@rollcall/client').then(({ createClient }) => console.log(typeof createClient))"], { cwd: project });
    expect(stdout).toBe('function\n');
  }, 5 * MINUTES);

  it.each([['nodenext', 'nodenext'], ['esnext', 'bundler']])('type-checks under TypeScript 7, declarations and README included (%s, %s)', async (module, moduleResolution) => {
    const compilerOptions = { module, moduleResolution, target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], types: [], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true };
    await writeFile(join(packed.project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['all.ts', 'around.d.ts', 'readme.ts'] }));
    const tsc = join(await install('typescript@7.0.2'), 'typescript/bin/tsc');
    expect((await run(process.execPath, [tsc, '--version'])).stdout).toContain('7.0.2');
    const { stdout } = await run(process.execPath, [tsc, '-p', packed.project]).catch((failure: { stdout: string }) => failure); // where it says what is wrong
    expect(stdout).toBe('');
  }, 5 * MINUTES);

  it.each(NODES)('works in Node %s', async (line) => {
    const node = line === process.versions.node.split('.')[0] ? process.execPath : join(await install(`node@${line}`), 'node/bin/node');
    const { stdout, stderr } = await run(node, [join(packed.project, 'smoke.js'), test.url, await test.token(), await test.application()], { timeout: MINUTES });
    // Events come on a connection of their own: sorted, so that it does not matter when.
    const [version, said = ''] = stdout.trim().split(': ');
    expect([version, ...said.split(', ').sort()]).toEqual([line, '1', 'credential-revoked', 'denied 0', 'desk active', 'revoked', 'revoked', 'session.connected', 'sessions.revoked']);
    expect(stderr).toBe('');
  }, 5 * MINUTES);
});
