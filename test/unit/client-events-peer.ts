// Event streams as scripted, and time that passes when a test says so.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SubscribeOptions } from '../../client/events.ts';
import type { StreamState } from '../../client/events.ts';
import type { Timing } from '../../client/request.ts';
import { APP } from './client-peer.ts';

export const SILENCE_MS = 45_000;

export const revoked = (generation: number, id = `e${generation}`): string =>
  `id: ${id}\nevent: sessions.revoked\ndata: {"revocationId":"r","generation":${generation},"count":0}\n\n`;

/** A stream that begins with this and stays open. */
export const stream =
  (text = '') =>
  (response: ServerResponse, _request?: IncomingMessage): void => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(text || ':\n\n');
  };

/** A stream that is nothing but this. */
export const ended =
  (text = '') =>
  (response: ServerResponse): void =>
    void response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).end(text);

/** A fetch whose one answer comes in exactly these chunks, and how many of them were asked for. */
export function inChunks(...chunks: Uint8Array[]): { fetch: SubscribeOptions['fetch']; asked: () => number } {
  let asked = 0;
  const body = () =>
    new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          const chunk = chunks[asked];
          asked += 1;
          if (chunk) controller.enqueue(chunk);
          else controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  const fetch = async () => new Response(body(), { headers: { 'content-type': 'text/event-stream' } });
  return { fetch, asked: () => asked };
}

/** Waits are written down and over at once, but for those of a stream's silence: they are over when the test says so. */
export function handTiming(): { timing: Timing; waits: number[]; states: StreamState[]; silences: (() => void)[] } {
  const waits: number[] = [];
  const silences: (() => void)[] = [];
  const sleep = async (ms: number, signal?: AbortSignal) => {
    signal?.throwIfAborted();
    if (ms !== SILENCE_MS) return void waits.push(ms);
    await new Promise<void>((resolve, reject) => {
      silences.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  };
  return { timing: { random: () => 0.5, sleep }, waits, states: [], silences };
}

export const optionsOf = ({ url }: { url: string }, more: Partial<SubscribeOptions> = {}): SubscribeOptions => ({
  baseUrl: url,
  token: 'secret',
  applicationId: APP,
  ...more,
});

/** The first so many items; then the loop is left. */
export async function take<Item>(items: AsyncIterable<Item>, count: number): Promise<Item[]> {
  const taken: Item[] = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

/** Resolves when the test has been called that often. */
export function countdown(times = 1): { done: Promise<void>; hit: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { done: promise, hit: () => void ((times -= 1) === 0 && resolve()) };
}
