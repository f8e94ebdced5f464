// The example of a desktop agent, run as its own process against a real service.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestService, type TestService } from '../support/service.ts';

const EXAMPLE = new URL('../../docs/examples/desktop-agent.ts', import.meta.url).pathname;

describe('docs/examples/desktop-agent.ts', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService(); });
  afterAll(() => test.close());

  async function run(applicationId: string, token: string) {
    const agent = spawn(process.execPath, [EXAMPLE], { env: { PATH: process.env['PATH'], ROLLCALL_URL: test.url, ROLLCALL_APPLICATION: applicationId, ROLLCALL_TOKEN: token } });
    const said = text(agent.stdout), failed = text(agent.stderr), exited = once(agent, 'exit');
    return { agent, over: async () => ({ said: await said, failed: await failed, code: (await exited)[0] }) };
  }
  const read = async (applicationId: string) => (await test.call('GET', `/applications/${applicationId}/sessions?status=all`)).body.items[0];
  const until = async (applicationId: string, holds: (session: { lastActiveAt?: string } | undefined) => unknown) => {
    while (!holds(await read(applicationId))) await new Promise(setImmediate);
  };
  const ownToken = () => test.token({ scopes: ['sessions:connect'], subject: 'ada' });

  it('is connected, active when it is used, and gone when it is thrown out, with its login', async () => {
    const applicationId = await test.application(), token = await ownToken();
    const { agent, over } = await run(applicationId, token);
    await until(applicationId, (session) => session);
    expect(await read(applicationId)).toMatchObject({ status: 'active', name: expect.stringMatching(/^desktop-agent on /) });
    agent.stdin.write('some work\n');
    await until(applicationId, (session) => session?.lastActiveAt);
    await test.call('DELETE', `/applications/${applicationId}/sessions`);
    const { said, failed, code } = await over();
    expect(said).toMatch(/^This is desktop-agent on .+, session [0-9a-f-]{36}\.\nConnected\.\nOver \(revoked\): Authenticate again and create a new session\.\n$/);
    expect([failed, code]).toEqual(['', 1]);
    expect(await (await run(applicationId, token)).over()).toEqual({ said: '', failed: 'This login was thrown out: log in again.\n', code: 1 });
  });

  it('ends its session when it is told to stop', async () => {
    const applicationId = await test.application();
    const { agent, over } = await run(applicationId, await ownToken());
    await once(agent.stdout, 'data');
    agent.kill('SIGTERM');
    const { failed, code } = await over();
    expect([failed, code]).toEqual(['', 0]);
    expect(await read(applicationId)).toMatchObject({ status: 'disconnected', disconnectReason: 'ended' });
  });
});
