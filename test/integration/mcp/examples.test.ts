// The servers shown in docs/mcp.md: they are what is written there, they run, and their clients are cut.
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { blockOf } from '../../support/blocks.ts';
import { connectClient, openRoom, realClock, rejection, statusOf } from '../../support/mcp.ts';
import { curlIsThere } from '../../support/needs.ts';
import { startTestService, type TestService } from '../../support/service.ts';

const hasCurl = curlIsThere('the client shown in docs/mcp.md');
const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

describe.each([['v1', 5], ['v2', 4]] as const)('the example server on SDK %s', (line, marks) => {
  const path = `docs/examples/mcp-server-${line}.ts`;
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ clock: realClock, background: true }); });
  afterAll(() => test.close());

  it('is the one in the documentation, and has so many lines about sessions', () => {
    const source = read(path).replace(/^\/\/.*\n/, '').replace('../../client/mcp.ts', '@rollcall/client/mcp');
    expect(read('docs/mcp.md')).toContain(`\`\`\`ts\n${source}\`\`\``);
    expect(source.match(/\/\/ \d/g)).toHaveLength(marks);
  });

  async function start() {
    const room = await openRoom(test);
    const env = { ...process.env, ROLLCALL_URL: test.url, ROLLCALL_TOKEN: await test.token(), ROLLCALL_APPLICATION: room.service.applicationId, PORT: '0' };
    const child = fork(new URL(`../../../${path}`, import.meta.url), { env, execArgv: [] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ port }] = await once(child, 'message') as [AddressInfo]; // it sends the address it listens on
    const url = `http://127.0.0.1:${port}/mcp`;
    return { room, child, url };
  }

  it.runIf(hasCurl)('answers the client that is shown, and refuses it once it is revoked', async () => {
    const { room, url } = await start();
    const probe = blockOf('docs/mcp.md', 'curl').replace('http://127.0.0.1:3000/mcp', url);
    const status = async () => /^HTTP\/1.1 (\d+)/.exec((await promisify(execFile)('bash', ['-c', probe])).stdout)?.[1];
    expect(await status()).toBe('200');
    const shown = await vi.waitUntil(async () => (await room.list())[0]);
    expect(shown).toMatchObject({ name: 'probe', userId: 'ada' });
    await room.revoke(shown['id']);
    await vi.waitFor(async () => { expect(await status()).toBe('401'); });
  });

  it('shows its clients, cuts the one that is revoked, and stops when it is told to', async () => {
    const { room, child, url } = await start();
    const ada = await connectClient(line, url, { token: 'a-token-of-ada' }), bob = await connectClient(line, url, { token: 'a-token-of-bob' });
    onTestFinished(async () => { await ada.close(); await bob.close(); });
    await vi.waitFor(async () => { expect(await room.list()).toHaveLength(2); });
    const [adas] = (await room.list()).filter(({ userId }) => userId === 'ada');
    await room.revoke(adas?.['id']);
    await vi.waitFor(async () => { expect(statusOf(await rejection(ada.call('greet')))).toBe(401); });
    expect(await bob.call('greet')).toMatchObject({ content: [{ text: 'Hello' }] });
    child.kill('SIGTERM');
    child.disconnect();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('the example of a test', () => {
  const path = 'docs/examples/mcp-server-test.ts';

  it('is the one in the documentation', () => {
    const source = read(path).replace(/^\/\/.*\n/, '').replace('../../client/mcp.ts', '@rollcall/client/mcp').replace('../../client/testing.ts', '@rollcall/client/testing');
    expect(read('docs/mcp.md')).toContain(`\`\`\`ts\n${source}\`\`\``);
  });

  it('passes', async () => {
    const { NODE_OPTIONS: _, ...env } = process.env;
    const { stdout } = await promisify(execFile)(process.execPath, ['--test', new URL(`../../../${path}`, import.meta.url).pathname], { env: { ...env, NODE_TEST_CONTEXT: undefined } });
    expect(stdout).toMatch(/pass 1\n/);
  });
});
