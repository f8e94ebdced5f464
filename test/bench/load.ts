// One run of load against one server: what it cost the server, and what those who asked have felt.
import autocannon from 'autocannon';
import { percentile } from './statistics.ts';
import type { Server } from './processes.ts';

export interface Requests {
  /** Asked in turn, on every connection. */
  readonly paths: readonly string[];
  readonly method?: string;
  /** One for each path, or one for all. */
  readonly bodies?: readonly string[];
  readonly headers?: readonly Record<string, string>[];
}

export interface Run { requests: number; cpu: number; rps: number; p50: number; p99: number }

const CONNECTIONS = 16;

/** To wake whoever waits for an answer would be the server's work, some 25 µs on a virtual machine, and the slower the server is the more often: this process looks instead of waiting. */
function neverSleep(): () => void {
  let next = setImmediate(look);
  function look() { next = setImmediate(look); }
  return () => clearImmediate(next);
}

/** @throws Error when any answer is not a success */
export async function load(server: Server, { paths, method = 'GET', bodies = [], headers = [] }: Requests, seconds: number, connections = CONNECTIONS): Promise<Run> {
  const requests = paths.map((path, index) => {
    const body = bodies[index % bodies.length], header = headers[index % headers.length];
    return { method, path, ...(header && { headers: header }), ...(body !== undefined && { body }) };
  });
  const stop = neverSleep();
  const times: number[] = [], started = performance.now(), before = server.cpu();
  const running = autocannon({ url: server.url, connections, duration: seconds, sampleInt: 50, requests });
  running.on('response', (_client, _status, _bytes, ms) => times.push(ms));
  const result = await running;
  stop();
  const cpu = server.cpu() - before, elapsed = (performance.now() - started) / 1000;
  if (result.non2xx + result.errors + result.timeouts > 0 || result['2xx'] === 0) {
    throw new Error(`${method} ${server.url}${paths[0]}: ${JSON.stringify(result.statusCodeStats)}, ${result.errors} errors, ${result.timeouts} timeouts`);
  }
  return { requests: times.length, cpu: cpu / times.length, rps: times.length / elapsed, p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}
