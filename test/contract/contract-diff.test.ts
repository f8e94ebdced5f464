// How changes of the contract are rated: what breaks callers is found, and what only adds is let through.
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { compare } from '../../server/dev/contract-diff.ts';
import { blockOf } from '../support/blocks.ts';
import { gitIsThere } from '../support/needs.ts';
import { contract, CONTRACT } from './contract.ts';

const run = promisify(execFile);
const ROOT = new URL('../..', import.meta.url).pathname;
const source = readFileSync(CONTRACT, 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'rollcall-versions-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The contract with something else in the place of something. */
function edited(...edits: [from: string, to: string][]): string {
  const text = edits.reduce((given, [from, to]) => {
    if (!given.includes(from)) throw new Error(`the contract has no ${from}`);
    return given.replace(from, to);
  }, source);
  const path = join(folder, `${Math.random()}.yaml`);
  writeFileSync(path, text);
  return path;
}

/** A field of a session. */
const AGENT_ID = '        agentId:\n          type: string\n          format: uuid\n          description: The application that created the session.\n';
/** One that is optional in a request. */
const LIMIT = '      name: limit\n      in: query\n';

describe('npm run contract:diff', () => {
  const major: [RegExp, ...[string, string][]][] = [
    [/`agentId`.* removed/, [AGENT_ID, '']],
    [/limit.* required/i, [LIMIT, `${LIMIT}      required: true\n`]],
    [/default modified from 100 to 50/, ['default: 100', 'default: 50']],
    [/gained values: 'paused'/, ['enum: [active, disconnected]', 'enum: [active, disconnected, paused]']],
  ];
  const minor: typeof major = [
    [/gained values: 'replaced'/, ['enum: [revoked, ended, lost]', 'enum: [revoked, ended, lost, replaced]']],
    [/region.* added/i, ['        agentId:\n', '        region:\n          type: string\n        agentId:\n']],
  ];

  it.each([['what breaks callers', 'major', major], ['what only adds', 'minor', minor]] as const)('finds %s', async (_what, impact, changes) => {
    const difference = await compare(CONTRACT, edited(...changes.flatMap(([, ...edits]) => edits)));
    expect(difference).toMatchObject({ impact, isAllowed: impact !== 'major' });
    const found = difference.lines.filter((line) => line.startsWith(impact));
    for (const [says] of changes) expect(found).toContainEqual(expect.stringMatching(says));
  }, 60_000);

  it('lets a break through with the version that announces it', async () => {
    const { version } = contract.info, [major, minor] = version.split('.').map(Number) as [number, number];
    const next = major === 0 ? `0.${minor + 1}.0` : `${major + 1}.0.0`;
    expect(await compare(CONTRACT, edited(['default: 100', 'default: 50'], [`version: ${version}`, `version: ${next}`]))).toMatchObject({ impact: 'major', isAllowed: true });
  }, 60_000);

  const diff = (base?: string, cwd = ROOT) => run(process.execPath, [join(ROOT, 'server/dev/contract-diff.ts'), ...(base === undefined ? [] : [base])], { cwd }).then(
    ({ stdout, stderr }) => ({ code: 0, text: stdout + stderr }),
    (failure: { code: number; stdout: string; stderr: string }) => ({ code: failure.code, text: failure.stdout + failure.stderr })); // how a process fails

  it('compares with a file, and exits with 1 when something breaks', async () => {
    expect(await diff(edited(['default: 100', 'default: 50']))).toMatchObject({ code: 1, text: expect.stringContaining('default modified from 50 to 100') });
  }, 60_000);

  it.runIf(gitIsThere('the comparison with a revision'))('compares with a revision', async () => {
    const [latest = '', revision = ''] = blockOf('docs/versioning.md', 'npm run contract:diff').split('\n');
    const paste = (command: string) => run('sh', ['-c', `${command}\nexit 0`.replace('#', '2>&1 #')], { cwd: ROOT });
    expect((await paste(latest)).stdout).toMatch(/its version is|THERE IS NO RELEASE YET/);
    expect((await paste(revision)).stdout).toContain('its version is');
    expect(await diff('no-such-tag')).toEqual({ code: 1, text: 'no-such-tag is no file, and no git revision that has an openapi.yaml.\n' });
  }, 60_000);

  it.runIf(gitIsThere('the comparison with the latest release'))('compares with the latest release, and says loudly when there is none', async () => {
    const place = mkdtempSync(join(folder, 'checkout-'));
    const git = (...args: string[]) => run('git', ['-c', 'user.name=Test', '-c', 'user.email=test@example.com', ...args], { cwd: place });
    await git('init', '-q');
    expect(await diff(undefined, place)).toMatchObject({ code: 0, text: expect.stringContaining('THERE IS NO RELEASE YET') });
    copyFileSync(edited(['default: 100', 'default: 50']), join(place, 'openapi.yaml'));
    await git('add', '.');
    await git('commit', '-qm', 'A release');
    for (const tag of ['v0.0.9', 'v0.0.10']) await git('tag', tag);
    expect(await diff(undefined, place)).toMatchObject({ code: 1, text: expect.stringContaining('default modified from 50 to 100') });
  }, 60_000);
});

describe('the version', () => {
  it('is the same in the contract, the server and the client', () => {
    const versions = ['package.json', 'client/package.json'].map((path) => JSON.parse(readFileSync(join(ROOT, path), 'utf8')).version);
    expect(new Set([...versions, contract.info.version]).size).toBe(1);
  });
});
