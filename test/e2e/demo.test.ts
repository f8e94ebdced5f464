// The demo runs as its reader runs it, and shows what it is there to show, and what README.md prints of it.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { blockOf } from '../support/blocks.ts';

const ROOT = new URL('../..', import.meta.url).pathname;

describe('npm run demo', () => {
  it('cuts one client, then all, and ends by itself', { timeout: 60_000 }, async () => {
    const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'demo'], { cwd: ROOT, timeout: 55_000 });
    for (const name of ['ada (SDK v1)', 'bob (SDK v2)', 'cleo (SDK v2, 2026-07-28)']) {
      const [, cut = ''] = stdout.split(`  ${name}\n`);
      const [inFlight = '', next = '', reconnect = ''] = cut.split('\n');
      expect(inFlight).toMatch(/call in flight +\d+ ms .*(Session revoked|\(401\))/);
      expect(next).toMatch(/next call +\d+ ms .*\(401\)/);
      expect(reconnect).toMatch(/reconnect +\d+ ms .*401\b/);
    }
    const timeless = (text: string) => text.replaceAll(/\d+ ms/g, '? ms');
    expect(timeless(stdout)).toContain(timeless(blockOf('README.md', 'Revoking ada')));
    expect(stdout.trim().split('\n').at(-1)).toBe('Everybody was cut.');
  });
});
