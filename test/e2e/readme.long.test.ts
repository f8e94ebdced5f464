// The README's first block, run as printed in a fresh clone, up to the line that it tells you to paste.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blockOf } from '../support/blocks.ts';
import { curlIsThere, gitIsThere } from '../support/needs.ts';
import { freePort } from '../support/postgres.ts';

const root = new URL('../..', import.meta.url).pathname;

it.runIf(curlIsThere("the README's block") && gitIsThere("the README's block"))('starts a server from nothing, and prints a line that works when pasted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-clone-'));
  const [block, ...others] = ['README.md', 'docs/index.md', 'docs/start.md'].map((document) => blockOf(document, 'npm ci && npm start'));
  for (const other of others) expect(other).toBe(block);
  try {
    execFileSync('git', ['clone', '--quiet', '--no-hardlinks', root, folder]);
    const port = await freePort();
    // The shell's own node, not the one that runs the tests.
    const path = process.env['PATH']!.split(':').filter((entry) => !entry.includes('node_modules')).join(':');
    const { DATABASE_URL: _, NODE_OPTIONS: __, ...environment } = process.env;
    const shell = spawn('bash', ['-c', block!], { cwd: folder, env: { ...environment, PATH: path, PORT: String(port) }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    shell.stdout.on('data', (chunk) => { printed += chunk; });
    shell.stderr.on('data', (chunk) => { printed += chunk; });
    try {
      while (!printed.includes('npm run seed')) await Promise.race([once(shell.stderr, 'data'), once(shell, 'exit').then(() => { throw new Error(printed); })]);
      const curl = /^ {2}(curl .*)$/m.exec(printed)![1]!;
      expect(JSON.parse(execFileSync('bash', ['-c', curl], { stdio: ['ignore', 'pipe', 'ignore'] }).toString())).toEqual({ items: [] });
      expect(execFileSync('curl', ['-sL', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:${port}/docs`]).toString()).toBe('200');

      const run = (...args: string[]) => execFileSync('npm', ['run', '-s', ...args], { cwd: folder, env: { ...environment, PATH: path, PORT: String(port) }, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
      expect(run('token', '--', '--org', 'demo')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
      const exported = [...printed.matchAll(/^ {2}(export .*)$/gm)].map(([, line]) => line);
      expect(exported).toHaveLength(3);
      const seeded = execFileSync('bash', ['-ec', [...exported, 'npm run -s seed'].join('\n')], { cwd: folder, env: { ...environment, PATH: path }, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
      expect(seeded).toContain('50 sessions were made');
      expect(JSON.parse(execFileSync('bash', ['-c', curl], { stdio: ['ignore', 'pipe', 'ignore'] }).toString()).items.length).toBeGreaterThan(10);
    } finally {
      process.kill(-shell.pid!, 'SIGTERM');
      if (shell.exitCode === null) await once(shell, 'exit');
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
