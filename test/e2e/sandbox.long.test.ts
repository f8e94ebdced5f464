// `npm run sandbox` as its reader runs it: what it prints works when pasted, its sessions live, and it leaves nothing behind.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { subscribe } from '../../client/events.ts';
import { createClient } from '../../client/index.ts';
import { until } from '../support/instances.ts';
import { curlIsThere } from '../support/needs.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const folders = () => [tmpdir(), '/dev/shm'].filter((folder) => existsSync(folder)).flatMap((folder) => readdirSync(folder).filter((name) => name.startsWith('rollcall-sandbox-')));
const paste = async (line: string) => (await promisify(execFile)('bash', ['-c', line], { timeout: 20_000 })).stdout;

describe.runIf(curlIsThere('what the sandbox prints'))('npm run sandbox', () => {
  const before = folders();
  let child: ReturnType<typeof start>, printed = '';
  const start = () => spawn('npm', ['run', '--silent', 'sandbox', '--', '--port', '0', '--sessions', '120'], { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = () => printed.split('\n').map((line) => line.trim());
  const after = (label: string) => lines().find((line) => line.startsWith(label))!.slice(label.length).trim(); // each is printed
  const tokens = () => lines().map((line) => line.replace('export ROLLCALL_TOKEN=', '')).filter((line) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(line)) as [string, string];
  beforeAll(async () => {
    child = start();
    child.stdout.on('data', (chunk) => { printed += chunk; });
    child.stderr.on('data', (chunk) => { printed += chunk; });
    await until(() => printed.includes('-X DELETE') && printed.includes('/__faults\n'), 60_000, `it says what it is: ${printed}`);
  }, 90_000);
  afterAll(() => { if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL'); });

  it('prints what works: links, tokens, and every line to paste', async () => {
    const url = after('Base URL'), application = after('Application');
    const statusWith = async (token: string, method: string) =>
      (await fetch(`${url}/api/v1/applications/${application}/sessions?limit=1${method === 'DELETE' ? '&dryRun=true' : ''}`.replace(method === 'DELETE' ? 'limit=1&' : '', ''), { method, headers: { authorization: `Bearer ${token}` } })).status;
    const [operator, viewer] = tokens();
    expect([await statusWith(operator, 'GET'), await statusWith(operator, 'DELETE')]).toEqual([200, 200]);
    expect([await statusWith(viewer, 'GET'), await statusWith(viewer, 'DELETE')]).toEqual([200, 403]);
    expect((await fetch(after('Documentation'))).status).toBe(200);
    const console = after('Console');
    if (!console.startsWith('not built')) expect((await fetch(console)).status).toBe(200);

    const exported = lines().filter((line) => line.startsWith('export ')).join('\n');
    expect(await paste(`${exported}\nprintenv ROLLCALL_URL ROLLCALL_APPLICATION ROLLCALL_TOKEN`)).toBe(`${[url, application, operator].join('\n')}\n`);

    const [counts = '', events = '', revoke = '', rateLimited = '', put = '', clear = '', ...others] = lines().filter((line) => line.startsWith('curl '));
    expect(others).toEqual([]);
    expect(JSON.parse(await paste(counts)).byDerivedStatus.active).toBeGreaterThan(10);
    expect(await paste(`timeout 3 ${events} || true`)).toMatch(/^(event|id|:)/m);
    expect(await paste(rateLimited)).toMatch(/^HTTP\/1.1 429 [^]*retry-after: 1[^]*rate-limited/i);
    expect(JSON.parse(await paste(put))).toEqual({ code: 503, rate: 0.2, delay: 300 });
    expect(JSON.parse(await paste(clear))).toEqual({});
    expect(JSON.parse(await paste(revoke)).disconnectedCount).toBeGreaterThan(50);
    expect(JSON.parse(await paste(counts)).asOf).toEqual(expect.any(String));
  }, 60_000);

  it('shows every status within a minute, and every way from one to another', async () => {
    const baseUrl = after('Base URL'), applicationId = after('Application'), [token] = tokens();
    const client = createClient({ baseUrl, token }), seen = new Set<string>(), last = new Map<string, string>(), leaving = new AbortController();
    const listening = (async () => {
      for await (const event of subscribe({ baseUrl, token, applicationId, signal: leaving.signal })) if (event.type === 'session.disconnected') seen.add(event.reason);
    })().catch(() => {}); // it is left in the end
    await until(async () => {
      for await (const { id, derivedStatus } of client.sessions.list(applicationId, { status: 'all' })) {
        const was = last.get(id);
        if (was !== undefined && was !== derivedStatus) seen.add(`${was} -> ${derivedStatus}`);
        last.set(id, derivedStatus);
      }
      return ['active -> idle', 'idle -> active', 'active -> expired', 'active -> disconnected', 'disconnected -> active', 'ended', 'lost', 'revoked'].every((one) => seen.has(one));
    }, 90_000, 'everything happens', 500).catch((error: Error) => { throw new Error(`${error.message}: ${[...seen].join(', ')}`); });
    leaving.abort();
    await listening;
  }, 120_000);

  it('leaves nothing behind', async () => {
    process.kill(-child.pid!, 'SIGINT'); // as Ctrl-C does
    await once(child, 'close'); // npm ends at once; its output closes when all that it started has ended
    expect(folders().filter((name) => !before.includes(name))).toEqual([]);
  }, 30_000);
});
