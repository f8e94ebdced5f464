// The rollcall command, run as a process.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { startTestService } from '../support/service.ts';

const root = new URL('../..', import.meta.url).pathname, directory = mkdtempSync(join(tmpdir(), 'rollcall-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

async function rollcall(args: string[], env: Record<string, string> = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const { DATABASE_URL: _, AUTH_ISSUER: __, ...own } = process.env;
  try {
    return { code: 0, ...await promisify(execFile)(process.execPath, ['server/cli.ts', ...args], { cwd: root, env: { ...own, DATA_DIR: directory, ...env } }) };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string }; // execFile rejects with these
  }
}
const claims = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());

describe('token', () => {
  it('prints one token and nothing else', async () => {
    const { code, stdout, stderr } = await rollcall(['token', '--org', 'acme', '--scope', 'sessions:read sessions:revoke', '--application', '7c9e6679-7425-40de-944b-e07fc1f90ae7', '--ttl', '2h', '--subject', 'ops']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const { org_id, scope, application_id, sub, exp, iat } = claims(stdout);
    expect({ org_id, scope, application_id, sub, ttl: exp - iat }).toEqual({ org_id: 'acme', scope: 'sessions:read sessions:revoke', application_id: '7c9e6679-7425-40de-944b-e07fc1f90ae7', sub: 'ops', ttl: 7200 });
  });

  it.each([
    [['token'], /--org/], [['token', '--org', 'a', '--ttl', 'soon'], /duration/], [['nonsense'], /unknown command/],
  ])('says what is wrong with %j', async (args, what) => {
    const { code, stdout, stderr } = await rollcall(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(what);
  });

  it('is refused where an issuer makes the tokens, and names a bad variable', async () => {
    expect((await rollcall(['token', '--org', 'a'], { AUTH_ISSUER: 'https://issuer.example' })).stderr).toContain('AUTH_ISSUER');
    expect(await rollcall(['token', '--org', 'a'], { LEASE: 'soon' })).toMatchObject({ code: 78, stderr: expect.stringContaining('LEASE') });
  });

  it.runIf(postgresIsThere())('is signed with the key that the instances on a PostgreSQL share', async () => {
    const { url, drop } = await createDatabase();
    expect((await rollcall(['token', '--org', 'a'], { DATABASE_URL: url })).stderr).toContain('DATABASE_URL');
    const test = await startTestService({ env: { DATABASE_URL: url } });
    test.clock.set(Date.now());
    const { stdout } = await rollcall(['token', '--org', 'org_cli'], { DATABASE_URL: url });
    expect((await test.call('GET', '/applications', { token: stdout.trim() })).status).toBe(200);
    await test.close();
    await drop();
  });
});

describe('seed', () => {
  it('fills an application with sessions of every status, through the API', async () => {
    const test = await startTestService({ directory });
    test.clock.set(Date.now());
    const application = (await test.call('POST', '/applications', { body: { name: 'Seeded' } })).body.application.id;
    const { code, stdout } = await rollcall(['seed', '--application', application, '--sessions', '120', '--org', 'org_test', '--url', test.url]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `120 sessions were made in ${application}.\n` });
    const { byDerivedStatus } = (await test.call('GET', `/applications/${application}/session-counts`)).body;
    expect(Object.values(byDerivedStatus as Record<string, number>).reduce((sum, count) => sum + count)).toBe(120);
    expect(byDerivedStatus.disconnected).toBeGreaterThan(0);
    expect(byDerivedStatus.active).toBeGreaterThan(20);
    await test.service.close();
  });
});
