// The contract's walk-through, docs/walk.arazzo.yaml: the mock, the sandbox and a server all pass it, and one that misbehaves does not.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { startFront } from '../../server/dev/front.ts';
import { startMock } from '../../server/dev/mock.ts';
import { startSandbox } from '../../server/dev/sandbox.ts';
import type { Ran } from '../../server/dev/redocly.ts';
import { walk } from '../../server/dev/walk.ts';
import { blockOf } from '../support/blocks.ts';
import { startTestService } from '../support/service.ts';

const PASSED = /Steps: 14 passed, 14 total/, ROOT = new URL('../..', import.meta.url).pathname;
/** As docs/frontend.md has it: for what the environment names, and for the mock. */
const [usual = '', forMock = ''] = blockOf('docs/frontend.md', 'npm run walk').split('\n');

/** What a shell makes of it. */
const paste = (command: string, env: Record<string, string> = {}): Promise<Ran> => promisify(execFile)('sh', ['-ec', command], { cwd: ROOT, env: { ...process.env, ...env } }).then(
  ({ stdout }) => ({ code: 0, output: stdout }), (failure: { code: number; stdout: string; stderr: string }) => ({ code: failure.code, output: failure.stdout + failure.stderr })); // how a process fails

async function service() {
  const test = await startTestService();
  onTestFinished(() => test.close());
  return { url: test.url, token: await test.token() };
}

it.each<[string, () => Promise<Ran>]>([
  ['the mock', async () => {
    const { url, close } = await startMock();
    onTestFinished(close);
    return paste(forMock.replace('http://127.0.0.1:4010', url));
  }],
  ['the sandbox', async () => {
    const sandbox = await startSandbox({ sessions: 3 });
    onTestFinished(() => sandbox.close());
    return paste(usual, { ROLLCALL_URL: sandbox.url, ROLLCALL_TOKEN: sandbox.token });
  }],
  ['a server', async () => {
    const { url, token } = await service();
    return walk(url, token);
  }],
])('is passed by %s', async (_what, passing) => {
  const { code, output } = await passing();
  expect(output).toMatch(PASSED);
  expect(code).toBe(0);
}, 60_000);

it('does not set out with a token that is refused, and says why', async () => {
  const { url } = await service();
  const { code, output } = await paste(usual, { ROLLCALL_URL: url, ROLLCALL_TOKEN: 'nonsense' });
  expect([code, output]).toEqual([1, expect.stringContaining(`${url} answers 401: {"type":"/docs/errors#unauthorized"`)]);
});

it('is not passed by a server that fails', async () => {
  const { url, token } = await service();
  const front = await startFront(url, { faults: { code: 500 } });
  onTestFinished(() => front.close());
  const { code, output } = await walk(front.url, token);
  expect(code).toBe(1);
  expect(output).not.toMatch(PASSED);
}, 60_000);
