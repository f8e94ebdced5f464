// The rollcall command, run as a process.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { seed } from '../../server/seed.ts';
import { rollcall as command, STARTED } from '../support/command.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { startTestService } from '../support/service.ts';

const root = new URL('../..', import.meta.url).pathname, directory = mkdtempSync(join(tmpdir(), 'rollcall-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

const rollcall = (args: readonly string[], env: Record<string, string> = {}) => command(args, { DATA_DIR: directory, ...env });
const claims = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());

describe('an older Node', () => {
  it('is told which one is needed, in one line', async () => {
    const older = `data:text/javascript,Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '24.9.3' } })`;
    const failed = await promisify(execFile)(process.execPath, ['--import', older, '--import', './server/require-node.js', 'server/main.ts'], { cwd: root }).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 78, stdout: '', stderr: expect.stringMatching(/^Rollcall needs Node >=24\.\d+\.\d+; this is 24\.9\.3\. .*\n$/) });
  });
});

describe('rollcall', () => {
  it('says what it can do and how it ends, and of each command what it takes', async () => {
    const { code, stdout } = await rollcall(['--help']);
    expect(code).toBe(0);
    const commands = [...stdout.slice(stdout.indexOf('Commands:')).matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!).filter((name) => name !== 'help');
    expect(commands).toEqual(['serve', 'token', 'seed', 'backup', 'restore', 'sessions', 'migrate', 'doctor']);
    expect(stdout).toMatch(/Ends with 0 .* 1 .* 2 .* 78 /);
    const options: Record<string, string[]> = {
      serve: [], token: ['--org', '--scope', '--application', '--subject', '--ttl'], seed: ['--application', '--sessions', '--org', '--url', '--token'],
      backup: ['--to', '--force'], restore: ['--from', '--revoke-all'], 'sessions list': ['--application', '--limit', '--everything', '--json', '--user-id'],
      'sessions get': ['--application', '--json'], 'sessions revoke': ['--all', '--dry-run', '--max-count', '--yes', '--json'], migrate: [], doctor: ['--json'],
    };
    expect(new Set(Object.keys(options).map((name) => name.split(' ')[0]))).toEqual(new Set(commands));
    await Promise.all(Object.entries(options).map(async ([name, names]) => {
      const help = await rollcall([...name.split(' '), '--help']);
      expect(help, name).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(`Usage: rollcall ${name} `) });
      for (const one of [...names, '--help']) expect(help.stdout, name).toContain(` ${one}`);
    }));
  });

  it('says its version', async () => {
    expect(await rollcall(['--version'])).toMatchObject({ code: 0, stdout: `${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}\n` });
  });

  it('serves, until it is told to stop', async () => {
    const { DATABASE_URL: _, AUTH_ISSUER: __, ...own } = process.env;
    const server = spawn(process.execPath, [...STARTED, 'server/cli.ts', 'serve'], { cwd: root, env: { ...own, DATA_DIR: mkdtempSync(join(directory, 'served-')), PORT: '0' } });
    onTestFinished(() => void server.kill('SIGKILL'));
    let greeting = '';
    for await (const chunk of server.stderr) if ((greeting += chunk).includes('npm run seed')) break;
    const [, url] = /^Rollcall is on (http:\S+),/m.exec(greeting)!; // it says where it is
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
  });

  it('ends with 1 when it is refused, and keeps 78 for what no start could use', async () => {
    const file = join(directory, 'there'), there = { DATA_DIR: mkdtempSync(join(directory, 'migrated-')) };
    writeFileSync(file, '');
    expect((await rollcall(['migrate'], there)).code).toBe(0);
    expect(await rollcall(['backup', '--to', file], there)).toMatchObject({ code: 1, stderr: `rollcall: ${file} exists; choose another file, or replace it with --force\n` });
    expect(await rollcall(['restore', '--from', `${file}-not`], there)).toMatchObject({ code: 1, stderr: `rollcall: there is no ${file}-not\n` });
    writeFileSync(join(there.DATA_DIR, 'rollcall.db'), 'this is no database at all');
    expect((await rollcall(['migrate'], there)).code).toBe(78);
  });
});

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
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
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
    expect({ code, stdout }).toEqual({ code: 0, stdout: `120 sessions were made in ${application}. Nothing keeps them alive: after LEASE, 90 s by default, they are lost.\n` });
    const { byDerivedStatus } = (await test.call('GET', `/applications/${application}/session-counts`)).body;
    expect(Object.values(byDerivedStatus as Record<string, number>).reduce((sum, count) => sum + count)).toBe(120);
    expect(byDerivedStatus.disconnected).toBeGreaterThan(0);
    expect(byDerivedStatus.active).toBeGreaterThan(20);
    await test.service.close();
  });

  it('says that those are there whom it has made, more than twice in a lease, however long it takes', async () => {
    const test = await startTestService(), started = test.clock.now();
    const applicationId = await test.application();
    const now = () => { test.clock.advance(1_000); return test.clock.now(); };
    expect(await seed({ baseUrl: test.url, token: await test.token({ ttlMs: 86_400_000 }), applicationId, count: 200, now })).toBe(200);
    const beats = test.logged.filter(({ operationId, status }) => operationId === 'recordHeartbeats' && status === 200);
    expect(beats.length).toBeGreaterThan((test.clock.now() - started) / 45_000);
    await test.close();
  });
});
