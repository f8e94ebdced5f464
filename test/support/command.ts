// The rollcall command, run as a process of its own.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const root = new URL('../..', import.meta.url).pathname;

/** How package.json starts a program of the server's: what was compiled for the last process need not be for the next. */
export const STARTED = ['--import', './server/require-node.js'] as const;

export interface Ended { code: number; stdout: string; stderr: string }

/** @param env variables beside those of this process, without what would choose another database or issuer */
export async function rollcall(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const { DATABASE_URL: _, AUTH_ISSUER: __, ROLLCALL_URL: ___, ROLLCALL_TOKEN: ____, ROLLCALL_APPLICATION: _____, ...own } = process.env;
  try {
    return { code: 0, ...await promisify(execFile)(process.execPath, [...STARTED, 'server/cli.ts', ...args], { cwd: root, env: { ...own, ...env } }) };
  } catch (error) {
    return error as Ended; // execFile rejects with these
  }
}
