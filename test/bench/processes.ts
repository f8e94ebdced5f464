// Server processes under measurement: started on a core of their own, asked what CPU time and memory they have used.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from '../support/postgres.ts';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const TICK_US = 10_000; // of /proc/PID/stat

const running = new Set<ChildProcess>();
process.once('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/** With two cores and taskset, servers run on the first and whoever asks them on the second. */
const pins = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0;

/**
 * The process that makes the load stays off the servers' core, and its own core is kept from sleeping: to wake it would be the server's work, some 10 µs for
 * an answer on a virtual machine, and the more often the slower the server is.
 */
export function pinLoad(): void {
  if (!pins) return;
  execFileSync('taskset', ['-acp', '1', String(process.pid)], { stdio: 'ignore' });
  const busy = spawn('chrt', ['--idle', '0', 'taskset', '-c', '1', 'sh', '-c', `while kill -0 ${process.pid}; do for i in 1 2 3 4 5 6 7 8 9; do :; done; done`], { stdio: 'ignore' });
  busy.on('error', () => console.log('There is no chrt: waking the core that makes the load is measured too.'));
  running.add(busy);
}

export interface Server {
  readonly url: string;
  readonly pid: number;
  /** µs of CPU that the process has used, all threads, user and system. */
  cpu(): number;
  /** MiB */
  rss(): number;
  stop(): Promise<void>;
}

export interface Start {
  env?: Record<string, string>;
  args?: readonly string[];
  /** Where its standard output goes; nowhere, unless told. */
  log?: string;
  port?: number;
  /** How often it is asked whether it is there. */
  pollMs?: number;
}

/** Runs a file as a production server that is told its PORT, and waits until it answers. */
export async function startServer(file: string, { env = {}, args = [], log, port, pollMs = 20 }: Start = {}): Promise<Server> {
  const taken = port ?? await freePort(), url = `http://127.0.0.1:${taken}`;
  const output = log === undefined ? undefined : openSync(log, 'a');
  const [command, ...rest] = [...(pins ? ['taskset', '-c', '0'] : []), process.execPath, ...args, file];
  const child = spawn(command!, rest, { // there is one
    cwd: root, stdio: ['ignore', output ?? 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', HOST: '127.0.0.1', PORT: String(taken), ...env },
  });
  if (output !== undefined) closeSync(output);
  running.add(child);
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => { said = (said + chunk).slice(-5_000); }); // it is a pipe
  const exited = once(child, 'exit').then(() => { running.delete(child); });
  for (let tries = 0; !await fetch(`${url}/readyz`).then((response) => response.status < 500, () => false); tries++) {
    if (child.exitCode !== null || tries > 20_000 / pollMs) throw new Error(`${file} does not start\n${said}`);
    await wait(pollMs);
  }
  const pid = child.pid!; // it answers, so it runs
  return {
    url, pid, cpu: () => cpuOf(pid), rss: () => rssOf(pid),
    async stop() { child.kill('SIGKILL'); await exited; },
  };
}

export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8'), fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US; // utime, stime
}

export const rssOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

/** What a reader must know to judge the figures. */
export function machine(): Record<string, string | number | boolean> {
  const cpu = /model name\s*:\s*(.+)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  return { node: process.version, cpu, cores: availableParallelism(), pinned: pins, otherProcesses: readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length };
}
