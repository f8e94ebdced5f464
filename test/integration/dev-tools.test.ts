// The tools for development say how they are called, to whoever asks and to whoever is mistaken.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;
const { ROLLCALL_TOKEN: _, PORT: __, ...own } = process.env;

interface Ended { code: number; stdout: string; stderr: string }
const call = (tool: string, ...args: string[]): Promise<Ended> => promisify(execFile)(process.execPath, [`server/dev/${tool}.ts`, ...args], { cwd: root, env: own })
  .then((output) => ({ code: 0, ...output }), (failure: Ended) => failure); // how a process fails

describe.each<[string, string[], [string[], RegExp][]]>([
  ['mock', ['--port', '--delay'], [[['--prot', '1'], /Did you mean --port/], [['--delay', 'long'], /--delay .* whole number from 0 to 10000/]]],
  ['sandbox', ['--port', '--sessions', '--delay', '--code', '--drop', '--rate'], [[['--code', '999'], /--code .* must be one of 400, /], [['--sessions', '0'], /--sessions .* 1 to 99999/]]],
  ['walk', ['--server', '--token'], [[[], /required option '--token <token>'[^]*ROLLCALL_TOKEN/]]],
])('npm run %s', (tool, options, mistakes) => {
  it('has a help, and answers a mistake with what it is and with the same', { timeout: 60_000 }, async () => { // Prism takes its time to load
    const [help, ...refusals] = await Promise.all([call(tool, '--help'), ...mistakes.map(([args]) => call(tool, ...args))]);
    expect(help).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(`Usage: npm run ${tool} -- `) });
    for (const option of options) expect(help!.stdout).toContain(` ${option} <`);
    for (const [index, refusal] of refusals.entries()) {
      expect(refusal).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(mistakes[index]![1]) });
      expect(refusal.stderr).toContain(help!.stdout);
    }
  });
});
