// One caller with a connection of its own, who takes the time of each answer.
import { Agent, request } from 'node:http';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Server } from './processes.ts';

export interface Answered { ms: number; text: string }
export type Ask = (method: string, path: string, body?: string) => Promise<Answered>;

/** @throws Error by `Ask` when the answer is no success */
export function asking(url: string, token: string): Ask {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 }), { hostname, port } = new URL(url);
  return (method, path, body) => new Promise((resolve, reject) => {
    const started = performance.now();
    const sent = request({ agent, hostname, port, method, path: `/api/v1${path}`, headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }) } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('end', () => {
        if (response.statusCode! < 300) resolve({ ms: performance.now() - started, text }); // a response has one
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      }).on('error', reject);
    });
    sent.on('error', reject).end(body);
  });
}

/** Asks the same again and again until told to stop; answers how long each took. */
export function probing(ask: Ask, path: string, pauseMs = 3): () => Promise<number[]> {
  const times: number[] = [];
  let over = false;
  const done = (async () => {
    while (!over) {
      times.push((await ask('GET', path)).ms);
      await wait(pauseMs);
    }
  })();
  return async () => { over = true; await done; return times; };
}

/** The longest stall of a server's event loop since the last call, in ms, less what the machine gave to others meanwhile (`wall` is with it), and its heap, in MiB; the server was started with `stalls`. */
export async function look(server: Server, directory: string): Promise<{ max: number; wall: number; heap: number }> {
  const file = join(directory, 'stall.json');
  rmSync(file, { force: true });
  process.kill(server.pid, 'SIGUSR2');
  while (!existsSync(file)) await wait(5);
  return JSON.parse(readFileSync(file, 'utf8')) as { max: number; wall: number; heap: number };
}
export const longestStall = async (server: Server, directory: string): Promise<number> => (await look(server, directory)).max;
export const stalls = (directory: string) => ({ args: ['--import', './test/bench/stall.ts'], env: { STALL_FILE: join(directory, 'stall.json') } });
