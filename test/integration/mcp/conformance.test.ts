// The conformance check finds the servers that do not cut: one that only reports, one that reports nothing, one that lets nobody in.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { checkMcpServer, type Report } from '../../../client/conformance.ts';
import { createClient } from '../../../client/index.ts';
import { mcpSessions } from '../../../client/mcp.ts';
import { blockOf } from '../../support/blocks.ts';
import { grant, realClock, startMcpServer } from '../../support/mcp.ts';
import { startTestService, type TestService } from '../../support/service.ts';

const CLI = new URL('../../../client/mcp-check.ts', import.meta.url).pathname;

/** As it is shown to readers: the command, and what it answers. */
const block = blockOf('docs/mcp.md', 'export ROLLCALL_URL');

describe('checkMcpServer', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ clock: realClock, background: true }); });
  afterAll(() => test.close());

  /** It shows who is there, and hears of no revoke. */
  const onlyReports: typeof mcpSessions = ({ service }) => {
    const client = createClient(service), known = new Map<string, string>();
    const real = mcpSessions({ service });
    const middleware: typeof real = Object.assign((request: Parameters<typeof real>[0], response: Parameters<typeof real>[1], next: Parameters<typeof real>[2]) => {
      const { method, params } = (request.body ?? {}) as { method?: string; params?: { clientInfo?: { name: string; version: string } } };
      if (method !== 'initialize') return next();
      void client.sessions.create(service.applicationId, { clientInfo: params?.clientInfo ?? null }).then(({ session }) => known.set(session.id, session.name)).then(() => next());
    }, real);
    return middleware;
  };
  async function start(make?: typeof mcpSessions) {
    const service = { baseUrl: test.url, token: await test.token(), applicationId: await test.application() };
    const server = await startMcpServer('v1 sessionful SSE', { service }, { 'a-token': grant('check') }, make && { make });
    onTestFinished(() => server.close());
    return { service, url: server.url };
  }
  const outcomes = ({ checks }: Report) => Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));

  it('fails a server that ignores revokes, check by check', async () => {
    const { service, url } = await start(onlyReports);
    const report = await checkMcpServer({ url, service, token: 'a-token', tool: 'wait', withinMs: 400, leaseMs: 0 });
    expect(report.passed).toBe(false);
    expect(report.checks.map(({ name }) => name)).toEqual([...block.matchAll(/^✓ (.+?)(?: {2,}|(?<=again) after)/gm)].map(([, name]) => name));
    expect(outcomes(report)).toEqual({
      'A client can connect': 'passed', 'It is seen as a session': 'passed', 'A client that says goodbye is ended': 'failed', 'A revoke finds it': 'passed',
      'Its open stream ends': 'failed', 'Its call in flight is rejected': 'failed', 'Its next request is refused': 'failed', 'It cannot connect again with the same credential': 'failed',
      'It is welcome when its credential is allowed again': 'passed', 'A client that dies is lost': 'skipped',
    });
    expect(report.checks.find(({ name }) => name === 'Its next request is refused')?.detail).toMatch(/answered 200/);
  }, 30_000);

  it('ends with a server that shows nobody, and with one that lets nobody in', async () => {
    const { service, url } = await start((options) => Object.assign((_request: unknown, _response: unknown, next: () => void) => next(), mcpSessions(options)));
    const nobody = { url, service, withinMs: 200, leaseMs: 0 };
    expect(outcomes(await checkMcpServer({ ...nobody, token: 'a-token' }))).toEqual({ 'A client can connect': 'passed', 'It is seen as a session': 'failed' });
    expect(await checkMcpServer({ ...nobody, token: 'unknown' })).toEqual({ passed: false, checks: [{ name: 'A client can connect', outcome: 'failed', detail: expect.stringContaining('401') }] });
  });

  it('says what to mend: in front of the server, about the service, and in what was asked', async () => {
    const { service, url } = await start(onlyReports);
    const failures = async (options: Partial<Parameters<typeof checkMcpServer>[0]>) =>
      (await checkMcpServer({ url, service, token: 'a-token', withinMs: 300, leaseMs: 0, ...options })).checks.filter(({ outcome }) => outcome === 'failed').map(({ detail }) => detail);
    expect(await failures({ service: { ...service, applicationId: await test.application() } })).toEqual([expect.stringMatching(/no session of it: is the adapter .* this application\?$/)]);
    expect(await failures({ service: { ...service, token: 'x' } })).toEqual(['Rollcall: 401 unauthorized: The token is not a signed JWT.']);
    expect(await failures({ url: 'http://127.0.0.1:1/mcp' })).toEqual([expect.stringMatching(/^fetch failed \(.+\)$/)]);
    expect(await failures({ tool: 'unknown' })).toContainEqual(expect.stringMatching(/^nothing was in flight, name a tool that takes longer: unknown had answered before the revoke: /));
  }, 30_000);

  it('is a command that exits with 1 then, and with 2 when it was not told enough', async () => {
    const { service, url } = await start(onlyReports);
    const run = (...args: string[]) => promisify(execFile)(process.execPath, [CLI, ...args], {
      env: { PATH: process.env['PATH'], ROLLCALL_URL: test.url, ROLLCALL_APPLICATION: service.applicationId, ROLLCALL_TOKEN: service.token, MCP_TOKEN: 'a-token' },
    }).then(({ stdout }) => ({ code: 0, stdout, stderr: '' }), (failure: { code: number; stdout: string; stderr: string }) => failure); // how a process fails
    const [, options = ''] = /npx rollcall-mcp-check https:\S+ (.*?) +#/.exec(block) ?? [];
    const { code, stdout } = await run(url, ...options.replace('a-slow-tool', 'wait').split(' '), '--within', '0.3', '--lease', '0');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✓ A client can connect +2025-11-25, with streams\n[^]*✗ Its next request is refused +after \d+ ms it is answered 200\n[^]*\nNOT shown: that every client/);
    expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining('Say the MCP endpoint.') });
    expect(await run('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('rollcall-mcp-check <MCP endpoint>') });
  }, 60_000);
});
