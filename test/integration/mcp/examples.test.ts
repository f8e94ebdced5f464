// The servers shown in docs/mcp.md: they are what is written there, they run, and their clients are cut.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { connectClient, openRoom, realClock, rejection, statusOf } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

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

  it('shows its clients, cuts the one that is revoked, and stops when it is told to', async () => {
    const room = await openRoom(test);
    const env = { ...process.env, ROLLCALL_URL: test.url, ROLLCALL_TOKEN: await test.token(), ROLLCALL_APPLICATION: room.service.applicationId, PORT: '0' };
    const child = fork(new URL(`../../../${path}`, import.meta.url), { env, execArgv: [] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ port }] = await once(child, 'message') as [AddressInfo]; // it sends the address it listens on
    const url = `http://127.0.0.1:${port}/mcp`;
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
