// Several real server processes on one PostgreSQL, what can go wrong with them, and a network to the database that can fail.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { mintToken, parseSigningKey } from '../../server/keys.ts';
import { STARTED } from './command.ts';
import { cluster, freePort, RUN_DIRECTORY } from './postgres.ts';
import { EVERY_SCOPE, ORGANIZATION, WIDE_LIMITS, type Answer, type TokenRequest } from './service.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A bound of the promises, as CI tests it. */
export const inCI = (ms: number): number => ms * 3;

export interface Instance {
  readonly url: string;
  readonly pid: number;
  /** Every line that was logged, parsed. */
  readonly logged: Record<string, any>[]; // the tests say what they expect of them
  /** What was written to stderr. */
  readonly stderr: string;
  /** The exit code, or the signal, once the process is over. */
  readonly exited: Promise<number | string>;
  readonly running: boolean;
  /** Resolves when the instance says that it listens. */
  readonly ready: Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** kill -9, and waits for the end. */
  kill(): Promise<void>;
  /** SIGTERM, and waits for the end. Answers the exit code. */
  stop(): Promise<number | string>;
}

const running = new Set<Instance>();

/** Ends what a test has left running. */
export async function killInstances(): Promise<void> {
  await Promise.all([...running].map((instance) => instance.kill()));
}

export interface InstanceOptions { env?: Record<string, string>; port?: number; args?: readonly string[] }

/** A server process on this database; does not wait until it is ready. */
export async function spawnInstance(databaseUrl: string, { env = {}, port, args = [] }: InstanceOptions = {}): Promise<Instance> {
  const taken = port ?? await freePort(); // known before the server says it: it may have to wait for its database
  const child = spawn(process.execPath, [...STARTED, ...args, 'server/main.ts'], {
    cwd: root, stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], PORT: String(taken), HOST: '127.0.0.1', DATABASE_URL: databaseUrl, ...WIDE_LIMITS, ...env },
  });
  const logged: Record<string, any>[] = [];
  let stderr = '', over = false;
  child.stderr.on('data', (chunk: Buffer) => { stderr += chunk; });
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {}); // whoever waits for it is told
  createInterface(child.stdout).on('line', (line) => {
    const entry = line.startsWith('{') ? JSON.parse(line) : { msg: line };
    logged.push(entry);
    if (entry.msg === 'listening') ready.resolve();
  });
  const exited = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal!))); // it has one of them
  const instance: Instance = {
    url: `http://127.0.0.1:${taken}`, pid: child.pid!, logged, exited, ready: ready.promise,
    get stderr() { return stderr; },
    get running() { return !over; },
    signal: (signal) => { child.kill(signal); },
    async kill() { child.kill('SIGKILL'); await exited; },
    stop() { child.kill('SIGCONT'); child.kill('SIGTERM'); return exited; },
  };
  running.add(instance);
  void exited.then((code) => {
    over = true;
    running.delete(instance);
    ready.reject(new Error(`the instance ended with ${code}:\n${stderr}`));
  });
  return instance;
}

export async function startInstance(databaseUrl: string, options?: InstanceOptions): Promise<Instance> {
  const instance = await spawnInstance(databaseUrl, options);
  await instance.ready;
  return instance;
}

/** Tokens of the key that all instances on a database share. */
export async function tokens(databaseUrl: string): Promise<(request?: TokenRequest) => Promise<string>> {
  const rows = await sql<{ key: string }>(databaseUrl, 'select key from signing_key');
  const key = await parseSigningKey(JSON.parse(rows[0]!.key)); // made by the first instance
  return ({ organizationId = ORGANIZATION, scopes = EVERY_SCOPE, subject = 'tester', applicationId, ttlMs = 3_600_000 } = {}) =>
    mintToken(key, { organizationId, scopes, subject, ttlMs, audience: 'rollcall', now: () => Date.now() - 300_000, ...(applicationId && { applicationId }) }); // some instances' clocks are late
}

/** One statement, on a connection of its own. The row's shape is the statement's. */
export async function sql<Row extends object>(databaseUrl: string, text: string, values: unknown[] = []): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'test' });
  await client.connect();
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
}

export interface Timed extends Answer { readonly ms: number }

/** One call of the API, or of a page beside it. */
export async function ask(url: string, token: string | undefined, method: string, path: string, body?: unknown, requestId?: string): Promise<Timed> {
  const started = performance.now();
  const response = await fetch(`${url}${path.startsWith('/applications') ? `/api/v1${path}` : path}`, {
    method, signal: AbortSignal.timeout(30_000),
    headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...(body !== undefined && { 'content-type': 'application/json' }), ...(requestId !== undefined && { 'x-request-id': requestId }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, ms: performance.now() - started, body: /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : undefined };
}

/** Asks again and again until it holds. Answers how long that took; ms. */
export async function until(holds: () => Promise<boolean> | boolean, withinMs: number, what: string, pauseMs = 20): Promise<number> {
  const started = performance.now();
  for (;;) {
    const is = await holds();
    const took = performance.now() - started;
    if (is) return took;
    if (took > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await wait(pauseMs);
  }
}

/** A PostgreSQL of the test's own, to be restarted, crashed, hung and killed; or a standby of the one on another port. */
export async function startPrivateCluster({ directory = mkdtempSync(join(process.env[RUN_DIRECTORY]!, 'cluster-')), standbyOf }: { directory?: string; standbyOf?: number } = {}) {
  const port = await freePort(), server = cluster(directory);
  if (standbyOf === undefined) server.create(port); else server.follow(standbyOf, port);
  const family = () => [server.pid, ...readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)];
  const all = (signal: NodeJS.Signals) => {
    for (const pid of family()) {
      try { process.kill(pid, signal); } catch { /* a backend that has ended meanwhile */ }
    }
  };
  return {
    port, server,
    url: `postgres://rollcall@127.0.0.1:${port}/postgres`,
    start: () => server.start(),
    /** Lets no process of it run. */
    hang: () => all('SIGSTOP'),
    goOn: () => all('SIGCONT'),
    /** `SIGQUIT` is a crash, `SIGINT` ends it at once in good order. Without stopping this process, as pg_ctl would. */
    async end(signal: 'SIGQUIT' | 'SIGINT') {
      process.kill(server.pid, signal);
      await until(() => !server.running, 20_000, 'PostgreSQL has ended');
    },
    /** kill -9 of all of it: it is gone for good. */
    kill() {
      all('SIGKILL');
      rmSync(join(server.data, 'postmaster.pid'));
    },
    drop() {
      if (server.running) { all('SIGCONT'); server.stop(); }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
export type PrivateCluster = Awaited<ReturnType<typeof startPrivateCluster>>;

type State = 'open' | 'silent' | 'cut';

/** Which connections to the database are meant: the listening ones, or all. */
export type Which = 'bell' | 'all';

export interface DatabaseProxy {
  /** The database, through the proxy. */
  readonly url: string;
  /** Nothing goes through any more and nobody is told: packets wait, connections stay. */
  silence(which?: Which): void;
  /** Breaks connections, and those that are tried from now on. */
  cut(which?: Which): void;
  /** As it was; what has waited goes through. */
  mend(): void;
  /** Where connections lead from now on. */
  leadTo(databaseUrl: string): void;
  /** So many ms each way. */
  delay(ms: number): void;
  readonly connections: number;
  close(): Promise<void>;
}

/** A network between servers and PostgreSQL. */
export async function startDatabaseProxy(databaseUrl: string): Promise<DatabaseProxy> {
  let target = new URL(databaseUrl);
  const state: Record<Which, State> = { bell: 'open', all: 'open' };
  let delayMs = 0;
  const pairs = new Set<{ near: Socket; far: Socket; isBell: boolean | undefined }>();
  const stateOf = (isBell: boolean | undefined): State => state.all !== 'open' ? state.all : isBell ? state.bell : 'open';

  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    const pair: { near: Socket; far: Socket; isBell: boolean | undefined } = { near, far, isBell: undefined };
    pairs.add(pair);
    const lead = (from: Socket, to: Socket) => {
      from.on('data', (chunk: Buffer) => {
        if (from === near) pair.isBell ??= chunk.includes('rollcall bell'); // the first packet says who calls
        settle(pair);
        if (stateOf(pair.isBell) === 'cut') return;
        if (delayMs === 0 || to.destroyed) to.write(chunk);
        else setTimeout(() => { if (!to.destroyed) to.write(chunk); }, delayMs);
      });
      from.on('error', () => {}); // the close tells
      from.on('close', () => {
        // Where nothing goes through, not even the end does.
        if (stateOf(pair.isBell) === 'silent') return;
        pairs.delete(pair);
        to.destroy();
      });
    };
    lead(near, far);
    lead(far, near);
    settle(pair);
  }).listen(0, '127.0.0.1');

  function settle(pair: { near: Socket; far: Socket; isBell: boolean | undefined }): void {
    const now = stateOf(pair.isBell);
    for (const socket of [pair.near, pair.far]) {
      if (now === 'cut') socket.destroy();
      else if (now === 'silent') socket.pause();
      else socket.resume();
    }
  }
  const settleAll = () => {
    for (const pair of pairs) {
      if (stateOf(pair.isBell) === 'open' && (pair.near.destroyed || pair.far.destroyed)) { pair.near.destroy(); pair.far.destroy(); pairs.delete(pair); }
      else settle(pair);
    }
  };
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.port = String((server.address() as AddressInfo).port); // it listens on TCP
  return {
    url: url.href,
    silence(which = 'all') { state[which] = 'silent'; settleAll(); },
    cut(which = 'all') { state[which] = 'cut'; settleAll(); },
    mend() { state.all = state.bell = 'open'; settleAll(); },
    leadTo(databaseUrl) { target = new URL(databaseUrl); },
    delay(ms) { delayMs = ms; },
    get connections() { return pairs.size; },
    async close() {
      state.all = 'cut';
      settleAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
