// Blocks of the documents that no other test runs, each as it is printed, but for addresses and paths of the reader's own.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createClient } from '../../client/index.ts';
import { startSandbox } from '../../server/dev/sandbox.ts';
import { blockOf } from '../support/blocks.ts';
import { curlIsThere } from '../support/needs.ts';
import { startTestService, type TestService } from '../support/service.ts';

const ROOT = new URL('../..', import.meta.url).pathname, hasCurl = curlIsThere("the documents' commands");
const { DATABASE_URL: _, AUTH_ISSUER: __, ...own } = process.env;
/** With the Node that the project brings, as its reader was told to install it. */
const surroundings = (env: Record<string, string>) => ({ ...own, PATH: [join(ROOT, 'node_modules/.bin'), own['PATH']].join(delimiter), ...env });
const paste = async (command: string, env: Record<string, string> = {}): Promise<string> => (await promisify(execFile)('bash', ['-ec', command], { cwd: ROOT, env: surroundings(env) })).stdout;
const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as FunctionConstructor; // it has no name of its own
const runCode = (code: string, around: Record<string, unknown>): Promise<unknown> => new AsyncFunction(...Object.keys(around), code)(...Object.values(around));

let test: TestService, application: string, folder: string;
beforeAll(async () => {
  test = await startTestService();
  application = await test.application();
  folder = mkdtempSync(join(tmpdir(), 'rollcall-blocks-'));
});
afterAll(async () => {
  await test.close();
  rmSync(folder, { recursive: true });
});

describe('docs/paging.md', () => {
  beforeAll(async () => {
    for (const name of ['one', 'two', 'three']) await test.call('POST', `/applications/${application}/sessions`, { body: { name } });
    test.clock.advance(6 * 60_000); // idle
  });

  it.runIf(hasCurl)('asks for a page, and is answered in the form that is shown', async () => {
    const shown = JSON.parse(blockOf('docs/paging.md', '{'));
    const answer = JSON.parse(await paste(blockOf('docs/paging.md', 'curl'), { ROLLCALL_URL: test.url, ROLLCALL_APPLICATION: application, ROLLCALL_TOKEN: await test.token() }));
    expect(Object.keys(answer)).toEqual(Object.keys(shown));
    expect(answer.items).toMatchObject([{ name: 'three' }, { name: 'two' }]);
    expect(Object.keys(answer.items[0])).toEqual(expect.arrayContaining(Object.keys(shown.items[0])));
  });

  it('loops, and reads one page after another', async () => {
    const said: unknown[] = [];
    await runCode(blockOf('docs/paging.md', 'for await'), { client: createClient({ baseUrl: test.url, token: await test.token() }), applicationId: application, console: { log: (name: unknown) => said.push(name) } });
    expect(said).toEqual(['three', 'two', 'one']);
  });
});

it('docs/mcp.md: looks, and cuts', async () => {
  const applicationId = await test.application(), said: unknown[] = [];
  const { session } = (await test.call('POST', `/applications/${applicationId}/sessions`, { body: { name: 'probe', userId: 'ada' } })).body;
  await runCode(blockOf('docs/mcp.md', 'const client'), { createClient, baseUrl: test.url, token: await test.token(), applicationId, sessionId: session.id, console: { log: (...words: unknown[]) => said.push(words) } });
  expect(said).toEqual([[session.id, 'probe', 'ada']]);
  expect((await test.call('GET', `/applications/${applicationId}/sessions`)).body).toEqual({ items: [] });
});

describe.runIf(hasCurl)('commands', () => {
  it('docs/start.md: what there is to do next', async () => {
    const applicationId = await test.application(), env = { ROLLCALL_URL: test.url, ROLLCALL_APPLICATION: applicationId, ROLLCALL_TOKEN: await test.token() };
    const [seed, curl, typescript, ...others] = [...readFileSync(join(ROOT, 'docs/start.md'), 'utf8').matchAll(/`((?:npm run seed|bash docs|npx node docs)[^`]*)`/g)].map(([, command]) => command!);
    expect(others).toEqual([]);
    expect(await paste(seed!, env)).toContain('50 sessions were made');
    const { items } = JSON.parse(await paste(curl!, env));
    expect(items.length).toBeGreaterThan(10);
    expect(await paste(typescript!, env)).toContain(items[0].id);
  }, 60_000);

  it('docs/frontend.md: faults for all calls come, and go', async () => {
    const sandbox = await startSandbox({ sessions: 2 });
    onTestFinished(() => sandbox.close());
    const [put = '', clear = ''] = blockOf('docs/frontend.md', 'curl').split('\n').map((line) => line.replace('http://127.0.0.1:4020', sandbox.url));
    expect(JSON.parse(await paste(put))).toEqual({ code: 503, rate: 0.2, delay: 300 });
    expect(JSON.parse(await paste(clear))).toEqual({});
  });

  it('docs/console.md: a token in your own name', async () => {
    const token = await paste(blockOf('docs/console.md', 'npm run -s token'), { DATA_DIR: join(folder, 'console') });
    expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())).toMatchObject({ sub: 'you@example.com', org_id: 'demo' });
  });

  it('docs/backup.md: there and back', async () => {
    const directory = join(folder, 'data'), [there, back] = ['npm run backup', 'npm run restore'].map((begins) => blockOf('docs/backup.md', begins).replace('/backups', folder));
    const server = await startTestService({ directory });
    const id = await server.application();
    expect(await paste(there!, { DATA_DIR: directory })).toContain('has 1 application and 0 sessions');
    await server.service.close();
    expect(await paste(back!, { DATA_DIR: directory })).toContain('Restored 1 application and');
    const again = await startTestService({ directory });
    expect((await again.call('GET', `/applications/${id}`)).status).toBe(200);
    await again.close();
  }, 60_000);

  it('docs/operating.md: the spans of a server, and the lines of one user', async () => {
    const directory = join(folder, 'traced');
    const server = spawn('bash', ['-ec', `exec ${blockOf('docs/operating.md', 'node --import')}`], { cwd: ROOT, env: surroundings({ PORT: '0', DATA_DIR: directory, OTEL_BSP_SCHEDULE_DELAY: '50' }), stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => void server.kill('SIGKILL'));
    let printed = '', greeting = '';
    server.stdout.on('data', (chunk) => { printed += chunk; });
    server.stderr.on('data', (chunk) => { greeting += chunk; });
    const exported = await vi.waitFor(() => {
      expect(greeting).toContain('npm run seed');
      return [...greeting.matchAll(/^ {2}(export .*)$/gm)].map(([, line]) => line).join('\n');
    }, { timeout: 30_000 });
    await paste(`${exported}\ncurl -s -H "Authorization: Bearer $ROLLCALL_TOKEN" $ROLLCALL_URL/api/v1/applications`);
    await vi.waitFor(() => expect(printed).toMatch(/'http\.route': '\/api\/v1\/applications'/), { timeout: 10_000 });

    const [, pipe] = /The lines of one user: `(.*?)`/.exec(readFileSync(join(ROOT, 'docs/operating.md'), 'utf8')) ?? [];
    const principal = await paste(pipe!.replace('ORG', 'demo').replace('SUBJECT', 'demo'));
    expect(printed).toContain(`"principal":"${principal.trim()}"`);
    server.kill('SIGTERM');
    await once(server, 'exit');
  }, 60_000);
});
