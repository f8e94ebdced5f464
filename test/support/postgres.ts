// A PostgreSQL of the tests' own: started by whoever needs it first, shared by all files of a run, stopped when the run is over.
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';

export const RUN_DIRECTORY = 'ROLLCALL_TEST_DIRECTORY';

/** Where the programs of PostgreSQL are: Debian's packages lay them out like this; the newest counts. */
export const programs = () => globSync('/usr/lib/postgresql/*/bin').sort((a, b) => Number(a.split('/')[4]) - Number(b.split('/')[4])).at(-1);

export const postgresIsThere = (): boolean => process.env['TEST_DATABASE_URL'] !== undefined || programs() !== undefined;

/** PostgreSQL refuses to run as root. */
function asPostgres(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres']).toString());
  return { uid: id('-u'), gid: id('-g') };
}

/** A cluster in a directory. `stop('immediate')` is a crash. */
export function cluster(directory: string) {
  const bin = programs();
  if (!bin) throw new Error('PostgreSQL is not there: install Debian\'s package postgresql, or set TEST_DATABASE_URL');
  const data = join(directory, 'data'), user = asPostgres();
  const run = (program: string, ...args: string[]) => {
    const { status, stderr, stdout, error } = spawnSync(join(bin, program), args, { ...user, cwd: '/', env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' }, encoding: 'utf8', timeout: 60_000, stdio: ['ignore', 'pipe', 'pipe'] });
    if (status !== 0) throw new Error(`${program} failed: ${error?.message ?? ''}${stderr}${stdout}`);
  };
  const prepare = () => {
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o755);
    mkdirSync(data, { recursive: true, mode: 0o700 });
    if (user.uid !== undefined) chownSync(data, user.uid, user.gid!);
  };
  return {
    data,
    create(port: number, settings = '') {
      prepare();
      run('initdb', '-D', data, '-U', 'rollcall', '-A', 'trust', '-E', 'UTF8', '--no-sync');
      // No fsync: these tests crash processes, not the machine.
      writeFileSync(join(data, 'postgresql.auto.conf'), `port = ${port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nmax_connections = 200\nlog_min_messages = panic\n${settings}`);
    },
    /** A standby of the one on `primaryPort`, which runs. */
    follow(primaryPort: number, port: number) {
      prepare();
      run('pg_basebackup', '-D', data, '-R', '-X', 'stream', '-c', 'fast', '-h', '127.0.0.1', '-p', String(primaryPort), '-U', 'rollcall', '--no-sync');
      appendFileSync(join(data, 'postgresql.auto.conf'), `port = ${port}\n`);
    },
    promote: () => run('pg_ctl', '-D', data, '-w', '-s', 'promote'),
    start: () => run('pg_ctl', '-D', data, '-w', '-s', '-l', '/dev/null', 'start'),
    stop: (mode: 'fast' | 'immediate' = 'immediate') => run('pg_ctl', '-D', data, '-w', '-s', '-m', mode, 'stop'),
    get pid() { return Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]); },
    get running() { return existsSync(join(data, 'postmaster.pid')); },
  };
}

export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000); // below the range that outgoing connections are given
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => { server.once('error', () => resolve(false)); server.listen(port, '127.0.0.1', () => resolve(true)); });
    await new Promise((resolve) => server.close(resolve));
    if (free) return port;
  }
}

async function sharedUrl(): Promise<string> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given) return given;
  const directory = join(process.env[RUN_DIRECTORY]!, 'postgres'), ready = join(directory, 'url');
  try {
    mkdirSync(directory); // whoever makes it starts it
  } catch {
    for (let tries = 0; !existsSync(ready); tries++) {
      if (tries > 600) throw new Error('another test file was to start PostgreSQL and did not');
      await wait(100);
    }
    return readFileSync(ready, 'utf8');
  }
  const port = await freePort(), server = cluster(directory);
  server.create(port);
  server.start();
  const url = `postgres://rollcall@127.0.0.1:${port}/postgres`;
  writeFileSync(ready, url);
  return url;
}

/** An empty database of the test's own. */
export async function createDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const admin = await sharedUrl(), name = `t_${process.pid}_${Math.random().toString(36).slice(2, 10)}`;
  const execute = async (sql: string) => {
    const client = new pg.Client({ connectionString: admin });
    await client.connect();
    try { await client.query(sql); } finally { await client.end(); }
  };
  await execute(`create database ${name}`);
  return { url: admin.replace(/\/[^/]*$/, `/${name}`), drop: () => execute(`drop database ${name} with (force)`) };
}
