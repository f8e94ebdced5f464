// `rollcall sessions`, `migrate` and `doctor`, run as processes against a real server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rollcall } from '../support/command.ts';
import { terminalIsThere } from '../support/needs.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import { startTestService, type TestService } from '../support/service.ts';

const root = new URL('../..', import.meta.url).pathname;
let test: TestService, application: string, env: Record<string, string>;
const ids: string[] = [];
beforeAll(async () => {
  test = await startTestService();
  test.clock.set(Date.now());
  application = await test.application();
  env = { ROLLCALL_URL: test.url, ROLLCALL_TOKEN: await test.token() };
  for (const [index, userId] of ['ada', 'ada', 'grace', 'alan'].entries()) {
    const name = index === 0 ? 'Turned \u202earound' : `Session ${index}`;
    ids.push((await test.call('POST', `/applications/${application}/sessions`, { body: { name, userId, clientInfo: { name: 'probe', version: '1.2' } } })).body.session.id);
  }
});
afterAll(() => test.close());

const sessions = (...args: string[]) => rollcall(['sessions', ...args, '--application', application], env);

describe('sessions list', () => {
  it('prints a table of those that match, newest first, and what a client made up stays in its cell', async () => {
    const { code, stdout, stderr } = await sessions('list');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatch(/^STATUS +NAME +USER +HOST +CLIENT +ACTIVE +CONNECTED +ID$/);
    expect(lines.slice(1).map((line) => line.split(' ').at(-1))).toEqual(ids.toReversed());
    expect(lines[4]).toContain('Turned \\u202earound');
    expect(lines[1]).toMatch(/^active +Session 3 +alan +- +probe 1\.2 /);
  });

  it('prints JSON, filters, and stops at a limit', async () => {
    expect(JSON.parse((await sessions('list', '--user-id', 'ada', '--json')).stdout).map((session: { id: string }) => session.id)).toEqual([ids[1], ids[0]]);
    const { stdout, stderr } = await sessions('list', '--limit', '1', '--json');
    expect(JSON.parse(stdout)).toHaveLength(1);
    expect(stderr).toBe('There are more than these 1; --limit says how many are shown.\n');
    expect((await sessions('list', '--limit', '4', '--json')).stderr).toBe(''); // those are all
  });

  it('takes the application from the environment, like the server and the token', async () => {
    expect((await rollcall(['sessions', 'list', '--limit', '1', '--json'], env)).stderr).toContain('--application');
    const { stdout } = await rollcall(['sessions', 'list', '--limit', '1', '--json'], { ...env, ROLLCALL_APPLICATION: application });
    expect(JSON.parse(stdout)).toMatchObject([{ id: ids[3] }]);
  });

  it('says what the server said, and that it is out of reach', async () => {
    expect(await sessions('list', '--derived-status', 'asleep')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('derivedStatus') });
    const away = await rollcall(['sessions', 'list', '--application', application], { ...env, ROLLCALL_URL: 'http://127.0.0.1:1' });
    expect(away).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^rollcall: .*\n$/) });
  });
});

describe('sessions get', () => {
  it('prints one session, and fails for one that is not there', async () => {
    expect(JSON.parse((await sessions('get', ids[2]!, '--json')).stdout)).toMatchObject({ id: ids[2], userId: 'grace' });
    expect(await sessions('get', application)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/not-found.* the organization of the token/) });
  });
});

describe('sessions, without a token', () => {
  it('makes one with the key that is there, and names the organization where nothing was found', async () => {
    test.clock.set(Date.now()); // it stands still, and the command's does not
    const without = { ROLLCALL_URL: test.url, DATA_DIR: test.directory };
    expect(await rollcall(['sessions', 'list', '--application', application, '--org', 'org_test', '--json'], without)).toMatchObject({ code: 0, stderr: '' });
    expect(await rollcall(['sessions', 'list', '--application', application], without)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/not-found.* the organization demo; --org/) });
  });

  it('says what to do where there is no key, and makes none', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-elsewhere-'));
    const lost = await rollcall(['sessions', 'list', '--application', application], { ROLLCALL_URL: test.url, DATA_DIR: directory });
    expect(lost).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/ROLLCALL_TOKEN.*no signing key in .*DATA_DIR/) });
    expect(readdirSync(directory)).toEqual([]);
    rmSync(directory, { recursive: true });
  });
});

describe('sessions revoke', () => {
  it('wants to know which, and does not guess', async () => {
    for (const args of [[], ['--all', '--user-id', 'ada'], [ids[0]!, '--all'], [ids[0]!, '--dry-run']]) expect((await sessions('revoke', ...args)).code).toBe(2);
    expect(await sessions('revoke', '--all')).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
    expect((await test.call('GET', `/applications/${application}/sessions`)).body.items).toHaveLength(4);
  });

  it('counts first, keeps to a bound, and revokes what was asked', async () => {
    expect(await sessions('revoke', '--user-id', 'ada', '--dry-run')).toMatchObject({ code: 0, stdout: '2 would be disconnected.\n' });
    expect(await sessions('revoke', '--user-id', 'ada', '--max-count', '1', '--yes')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('1') });
    expect(JSON.parse((await sessions('revoke', '--user-id', 'ada', '--yes', '--json')).stdout)).toEqual({ success: true, disconnectedCount: 2 });
    expect(await sessions('revoke', ids[2]!)).toMatchObject({ code: 0, stdout: '1 disconnected.\n' });
  });

  const hasTerminal = terminalIsThere('the question before a revoke');
  /** Answers what is asked at a terminal. */
  async function answer(text: string, more: Record<string, string> = {}, ...args: string[]): Promise<{ code: number; printed: string }> {
    const command = `${process.execPath} server/cli.ts sessions revoke --all --application ${application} ${args.join(' ')}`;
    const terminal = spawn('script', ['-qec', command, '/dev/null'], { cwd: root, env: { ...process.env, ...env, ...more } });
    let printed = '';
    terminal.stdout.on('data', (chunk) => {
      if (!printed.includes('to do it') && (printed += chunk).includes('to do it')) terminal.stdin.write(`${text}\n`);
      else printed += chunk;
    });
    const [code] = await once(terminal, 'exit');
    return { code, printed };
  }

  it.runIf(hasTerminal)('asks at a terminal for the number, and takes nothing else', async () => {
    expect(await answer('yes')).toMatchObject({ code: 1, printed: expect.stringContaining('nothing was revoked') });
    expect(await answer('1')).toMatchObject({ code: 0, printed: expect.stringContaining('1 disconnected.') });
    expect(await sessions('revoke', '--all')).toMatchObject({ code: 0, stdout: '0 would be disconnected.\n' }); // there is nothing to confirm
  });

  it.runIf(hasTerminal)('cuts no more than was confirmed, and once: it does not take a lost answer for a revoke of nobody', async () => {
    const asked: string[] = [];
    const server = createServer(({ url = '' }, response) => {
      asked.push(url.replace(/^.*\//, ''));
      if (url.includes('dryRun')) response.setHeader('Content-Type', 'application/json').end('{"success":true,"disconnectedCount":0,"matchedCount":2}');
      else response.destroy();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const away = { ROLLCALL_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }; // a TCP server has one
    expect(await answer('2', away, '--max-count', '5')).toMatchObject({ code: 1, printed: expect.stringContaining('got no complete answer') });
    for (const which of [['--all', '--yes'], [ids[0]!]]) {
      expect(await rollcall(['sessions', 'revoke', ...which, '--application', application], { ...env, ...away })).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('got no complete answer') });
    }
    expect(asked).toEqual(['sessions?dryRun=true&maxCount=5', 'sessions?maxCount=2', 'sessions', ids[0]]);
    server.close();
  });
});

describe('migrate', () => {
  it('makes the schema, again and again, and refuses one from the future', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-migrate-'));
    expect(await rollcall(['migrate'], { DATA_DIR: directory })).toMatchObject({ code: 0, stdout: expect.stringMatching(/^The database has schema \d+\.\n$/) });
    const db = new DatabaseSync(join(directory, 'rollcall.db'));
    db.exec('pragma user_version = 99');
    db.close();
    expect(await rollcall(['migrate'], { DATA_DIR: directory })).toMatchObject({ code: expect.not.toSatisfy((code: number) => code === 0), stderr: expect.stringContaining('schema 99') });
    rmSync(directory, { recursive: true });
  });
});

describe('doctor', () => {
  const examined = async (more: Record<string, string>) => {
    const { code, stdout } = await rollcall(['doctor', '--json'], more);
    return { code, ...Object.fromEntries(JSON.parse(stdout).map(({ what, state, detail }: Record<string, string>) => [what, `${state}: ${detail}`])) };
  };

  it('finds a running server and its sound database', async () => {
    const { code, stdout } = await rollcall(['doctor'], { DATA_DIR: test.directory, PORT: new URL(test.url).port });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^database +ok +.*rollcall\.db is sound: schema \d+, 4 sessions$/m);
    expect(stdout).toMatch(/^server +ok +one is ready/m);
  });

  it('says what is wrong with a damaged file, an issuer that is away, and a database that is', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-doctor-'));
    writeFileSync(join(directory, 'rollcall.db'), 'this is no database at all, whatever its name may be');
    expect(await examined({ DATA_DIR: directory, AUTH_ISSUER: 'http://127.0.0.1:1' })).toMatchObject({ code: 1, database: expect.stringMatching(/^failed: .*restore/), issuer: expect.stringMatching(/^failed: .*out of reach/) });
    rmSync(directory, { recursive: true });
    expect(await examined({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' })).toMatchObject({ code: 1, database: expect.stringMatching(/^failed: /) });
  });

  it.runIf(postgresIsThere())('finds a PostgreSQL, and changes nothing in it', async () => {
    const { url, drop } = await createDatabase();
    expect(await examined({ DATABASE_URL: url })).toMatchObject({ code: 0, database: expect.stringMatching(/^ok: PostgreSQL \d.*schema 0/) });
    expect(await examined({ DATABASE_URL: url })).toMatchObject({ code: 0, database: expect.stringMatching(/schema 0/) });
    await drop();
  });
});
