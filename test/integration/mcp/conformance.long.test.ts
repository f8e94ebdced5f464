// The conformance check passes the servers that cut: the examples of docs/mcp.md as they are, and each kind of server with a call in flight.
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkMcpServer } from '../../../client/conformance.ts';
import { grant, realClock, serverKinds, startMcpServer } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

const at = (path: string) => new URL(`../../../${path}`, import.meta.url).pathname;

describe('checkMcpServer', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ clock: realClock, background: true, env: { LEASE: '4s' } }); });
  afterAll(() => test.close());
  const newService = async () => ({ baseUrl: test.url, token: await test.token(), applicationId: await test.application() });

  it.concurrent.for(serverKinds)('passes the adapter in front of %s, a call in flight and a killed client included', { timeout: 120_000 }, async (kind, { expect, onTestFinished }) => {
    const service = await newService();
    const server = await startMcpServer(kind, { service, reportEveryMs: 200 }, { 'a-token': grant('check') });
    onTestFinished(() => server.close());
    const { passed, checks } = await checkMcpServer({ url: server.url, service, token: 'a-token', tool: 'wait', leaseMs: 4_000 });
    expect(checks.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    const skipped = checks.filter(({ outcome }) => outcome === 'skipped').map(({ name }) => name);
    expect(skipped).toEqual({
      'v1 stateless': ['Its open stream ends', 'A client that dies is lost'],
      'v2 createMcpHandler': ['A client that says goodbye is ended'],
    }[kind as string] ?? []);
    expect(passed).toBe(true);
  });
});

describe('rollcall-mcp-check', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ clock: realClock, background: true, env: { LEASE: '40s' } }); });
  afterAll(() => test.close());

  it.concurrent.for(['v1', 'v2'])('passes the example server on SDK %s', { timeout: 180_000 }, async (line, { onTestFinished }) => {
    const env = { PATH: process.env['PATH'], ROLLCALL_URL: test.url, ROLLCALL_TOKEN: await test.token(), ROLLCALL_APPLICATION: await test.application(), MCP_TOKEN: 'a-token-of-ada', PORT: '0' };
    const child = fork(at(`docs/examples/mcp-server-${line}.ts`), { env, execArgv: [] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ port }] = await once(child, 'message') as [AddressInfo]; // it sends the address it listens on
    const { stdout } = await promisify(execFile)(process.execPath, [at('client/mcp-check.ts'), `http://127.0.0.1:${port}/mcp`, '--lease', '40'], { env });
    expect(stdout).toMatch(/✓ Its next request is refused +401, Bearer error="invalid_token"/);
    expect(stdout).toMatch(/✓ A client that dies is lost +after \d+ s/);
    expect(stdout).toContain('Clients of this server are cut when they should be, as far as could be seen');
  });
});
