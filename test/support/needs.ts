// What some tests need and npm does not bring: looked for on this machine, and named loudly where it is missing; in CI that is a failure.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @param tests what is left out otherwise @param help where it can be had */
export function have(isThere: boolean, what: string, tests: string, help: string): boolean {
  const message = `${what} IS NOT THERE: ${tests} cannot run. ${help}`;
  if (!isThere && process.env['CI']) throw new Error(message);
  if (!isThere) console.error(`\n${message}\n`);
  return isThere;
}

const onPath = (program: string): string[] => (process.env['PATH'] ?? '').split(delimiter).filter(Boolean).map((directory) => join(directory, program));
const says = (program: string, ...args: string[]): string => spawnSync(program, args, { encoding: 'utf8' }).stdout ?? ''; // none when it cannot be run

/** A browser of Chromium's family, under the names that systems give it; `CHROMIUM` names another. */
const browsers = [process.env['CHROMIUM'] ?? '', ...['chromium', 'chromium-browser', 'google-chrome'].flatMap(onPath), '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];
export const CHROMIUM = browsers.find((path) => existsSync(path)) ?? '';

export const browserIsThere = (tests: string): boolean => have(CHROMIUM !== '', 'CHROMIUM', tests, "Install Debian's package chromium, or say in CHROMIUM where one is.");

/** The documentation's calls are written for bash and a curl that knows `--json`. */
export function curlIsThere(tests: string): boolean {
  const [, major = 0, minor = 0] = /^curl (\d+)\.(\d+)/.exec(says('curl', '--version')) ?? [];
  const isNew = Number(major) > 7 || (Number(major) === 7 && Number(minor) >= 82);
  return have(isNew && says('bash', '-c', 'echo bash').startsWith('bash'), 'CURL 7.82, OR BASH,', tests, 'Install a newer curl.');
}

/** A terminal for a command, made by util-linux's `script`; the one of BSD and macOS is called in another way. */
export const terminalIsThere = (tests: string): boolean =>
  have(says('script', '--version').includes('util-linux'), 'A TERMINAL', tests, "Install util-linux's `script`, Debian's package bsdutils.");

/** The history of this checkout. */
export const gitIsThere = (tests: string): boolean => have(says('git', 'rev-parse', 'HEAD') !== '', 'A GIT REPOSITORY', tests, 'Run them in a clone.');

/** Files of another user can be made by root only. */
export const rootIsThere = (tests: string): boolean => have(process.getuid?.() === 0, 'ROOT', tests, 'Run them as root, in a container for instance.');
