// A server process in production configuration, to be fuzzed from outside: on SQLite, or on the PostgreSQL that is named.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { mintToken, parseSigningKey } from '../../server/keys.ts';
import { STARTED } from '../support/command.ts';
import { WIDE_LIMITS } from '../support/service.ts';
import type { Target } from './run.ts';

export interface ServerProcess extends Target {
  readonly pid: number;
  /** Megabytes of memory it holds. */
  memory(): number;
  /** What was said that nobody should have to say: defects in the log, anything on stderr, an end. */
  readonly complaints: readonly string[];
  stop(): Promise<void>;
}

export async function startProcess({ databaseUrl, env = {} }: { databaseUrl?: string | undefined; env?: Record<string, string> }): Promise<ServerProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-fuzz-')), complaints: string[] = [];
  const child = spawn(process.execPath, [...STARTED, 'server/main.ts'], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)), stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', PORT: '0', DATA_DIR: directory, ...WIDE_LIMITS, ...(databaseUrl && { DATABASE_URL: databaseUrl }), ...env },
  });
  child.stderr.on('data', (chunk: Buffer) => { if (/Error|Warning|Exception|^ +at /m.test(chunk.toString())) complaints.push(chunk.toString()); }); // it greets there, too
  let stopping = false;
  const over = new Promise<void>((resolve) => { child.once('exit', (code) => { if (!stopping) complaints.push(`the process has ended with ${code}`); resolve(); }); });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const { level, msg, url } = JSON.parse(line) as { level: number; msg: string; url?: string }; // pino's
      if (level >= 50) complaints.push(line);
      if (msg === 'listening' && url) resolve(url);
    });
    child.once('exit', () => reject(new Error(complaints.join('\n'))));
  });
  const kept = databaseUrl ? await signingKeyOf(databaseUrl) : readFileSync(join(directory, 'signing-key.json'), 'utf8');
  const key = await parseSigningKey(JSON.parse(kept));
  return {
    url, pid: child.pid!, complaints, // it is running
    token: ({ organizationId = 'org_fuzz', scopes = [], subject = 'fuzzer', applicationId }) => mintToken(key, { organizationId, scopes, subject, ttlMs: 7_200_000, audience: 'rollcall', ...(applicationId !== undefined && { applicationId }) }),
    settle: () => wait(6_000),
    memory: () => Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024),
    async stop() {
      stopping = true;
      child.kill('SIGTERM');
      await over;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function signingKeyOf(databaseUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<{ key: string }>('select key from signing_key')).rows[0]!.key; // the server has made it
  } finally {
    await client.end();
  }
}
