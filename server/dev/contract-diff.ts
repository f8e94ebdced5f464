// `npm run contract:diff [-- <file or git revision>]`: what changed in the contract since then or since the latest release, what that means for callers, and whether the version says so.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { redocly } from './redocly.ts';

const CONTRACT = fileURLToPath(new URL('../../openapi.yaml', import.meta.url));
const CONFIG = fileURLToPath(new URL('../../docs/redocly.yaml', import.meta.url));
const IMPACTS = ['major', 'minor', 'patch'] as const;

type Impact = (typeof IMPACTS)[number];
interface Side { pointer?: string; value?: unknown }
/** As far as Redocly's report is looked at. */
interface Change { path: string; kind: string; impact: Impact; property?: string; verdicts: { message: string }[]; base?: Side; revision?: Side }
interface Report { infoVersions: { base: string; revision: string }; changes: Change[] }

export interface Difference { impact: Impact | 'none'; from: string; to: string; lines: string[]; isAllowed: boolean }

/** Compares the contract, or `revision`, with what it was. */
export async function compare(base: string, revision = CONTRACT): Promise<Difference> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-diff-')), output = join(folder, 'report.json');
  try {
    const { output: said } = await redocly('diff', base, revision, '--config', CONFIG, '--format', 'json', '--fail-on', 'none', '--output', output);
    if (!existsSync(output)) throw new Error(said);
    const { infoVersions: { base: from, revision: to }, changes } = JSON.parse(readFileSync(output, 'utf8')) as Report; // the command's documented answer
    const rated = changes.filter(({ path }) => !path.startsWith('#/info')).map((change) => ({ impact: impactOf(change), text: textOf(change) }));
    const impact = IMPACTS.find((one) => rated.some((change) => change.impact === one)) ?? 'none';
    const lines = IMPACTS.flatMap((one) => rated.filter((change) => change.impact === one).map(({ text }) => `${one.padEnd(6)} ${text}`));
    return { impact, from, to, lines: [...new Set(lines)], isAllowed: impact !== 'major' || breaks(from, to) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Redocly's rating, but for what it cannot know: a default that changes alters what the same call does, and some enums are closed. */
function impactOf({ impact, property, kind, base }: Change): Impact {
  if (property === 'default' && kind === 'modified') return 'major';
  if (property === 'enum' && /\/Session\/properties\/status\/enum$/.test(base?.pointer ?? '')) return 'major';
  return impact;
}

function textOf({ path, kind, property, verdicts, base, revision }: Change): string {
  const where = path.replace(/^#\/(paths\/)?/, '').split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~')).join(' > ');
  if (verdicts.length) return `${where}: ${verdicts.map(({ message }) => message).join(' ')}`;
  const values = property === 'default' ? ` from ${JSON.stringify(base?.value)} to ${JSON.stringify(revision?.value)}` : '';
  return `${where}: ${property ? `${property} ` : ''}${kind}${values}`;
}

/** SemVer: what breaks needs a new major version, or below 1.0.0 a new minor one. */
function breaks(from: string, to: string): boolean {
  const [was, is] = [from, to].map((version) => version.split('.').map(Number)) as [number[], number[]]; // two in, two out
  return is[0]! > was[0]! || (was[0] === 0 && is[0] === 0 && is[1]! > was[1]!);
}

const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8', maxBuffer: 16_000_000, stdio: ['ignore', 'pipe', 'ignore'] });

/** The latest tag of a version, undefined where there is none, or no history. */
function latestRelease(): string | undefined {
  try {
    return git('tag', '--list', 'v*', '--sort=-version:refname').split('\n')[0] || undefined;
  } catch {
    return undefined;
  }
}

async function report(base: string): Promise<void> {
  const { impact, from, to, lines, isAllowed } = await compare(base);
  console.log([...lines, `\n${impact === 'none' ? 'Nothing has changed' : `The contract's changes since ${from} are ${impact}`}; its version is ${to} now.`].join('\n'));
  if (!isAllowed) throw new Error('This breaks callers: it needs a new major version, or below 1.0.0 a new minor one.');
}

if (import.meta.main) {
  const asked = process.argv[2] ?? latestRelease();
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-diff-')), copy = join(folder, 'openapi.yaml');
  try {
    if (asked === undefined) console.error('\nTHERE IS NO RELEASE YET, no tag such as v0.1.0 in this checkout: the contract was compared with nothing.\n');
    else if (existsSync(asked)) await report(asked);
    else {
      try { writeFileSync(copy, git('show', `${asked}:openapi.yaml`)); } catch { throw new Error(`${asked} is no file, and no git revision that has an openapi.yaml.`); }
      await report(copy);
    }
  } catch (error) {
    console.error((error as Error).message); // whatever was thrown has a message
    process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
