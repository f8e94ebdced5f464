// Runs the Redocly CLI as a child process, with its telemetry and its update notice off; by itself it passes its arguments on.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(import.meta.resolve('@redocly/cli/bin/cli.js'));

export interface Ran { code: number; output: string }

/** Never rejects because of what the command found: its exit code and everything it printed are the answer. */
export function redocly(...args: string[]): Promise<Ran> {
  // For build-docs this variable outweighs the configuration: without it the page reports to its maker from the reader's browser.
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' };
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [CLI, ...args], { env, maxBuffer: 16_000_000 }, (error, stdout, stderr) => {
      if (error && child.exitCode === null) reject(error); // it was killed, or never ran
      else resolve({ code: child.exitCode ?? 0, output: stdout + stderr });
    });
  });
}

if (import.meta.main) {
  const { code, output } = await redocly(...process.argv.slice(2));
  process.stdout.write(output);
  process.exitCode = code;
}
