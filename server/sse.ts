// Open event streams: the frames of text/event-stream, how many there may be, and what ends one (RFC: WHATWG HTML, server-sent events).
import type { ServerResponse } from 'node:http';
import { setImmediate as breathe, setTimeout as wait } from 'node:timers/promises';
import type { Caller } from './auth.ts';
import { Problem } from './problem.ts';

/** What a handler answers instead of a body. */
export interface EventStream {
  readonly applicationId: string;
  /** The server ends the stream, without an event, after about so long; ms. */
  readonly maxAgeMs?: number;
  /** Called about every `beatMs` while the stream is open, and once when it has closed. */
  readonly beat?: () => void;
  /** Resolves when nothing can be missed any more: only then, or at the first write, the reader is told that the stream is open. */
  readonly start: (sink: Sink) => Promise<void>;
}

/** The writing end of one stream. After it has closed everything is ignored. */
export interface Sink {
  write(frame: string | Buffer): void;
  end(): void;
  /** Resolves when what was written has left; for writing much at once. */
  drained(): Promise<void>;
  readonly closed: boolean;
  /** Called once, when the stream is over, whoever ended it. */
  onClose(listener: () => void): void;
}

export interface Frame { id?: string; event: string; data: unknown; retryMs?: number }

/** JSON has no line breaks of its own, so one `data:` line is enough, whatever is in it. */
export const frame = ({ id, event, data, retryMs }: Frame): string =>
  `${retryMs === undefined ? '' : `retry: ${retryMs}\n`}${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/**
 * Says where the reader is, and is no event: by the standard, an empty `data:` changes nothing. It is there because
 * widespread parsers overlook an id that comes alone.
 */
export const positionFrame = (id: string): string => `id: ${id}\ndata:\n\n`;

/** A moment to come back, spread so that not everybody comes at once; ms. */
export const jitteredRetry = (from = 1_000, to = 5_000): number => Math.round(from + Math.random() * (to - from));

export interface StreamLimits { total: number; perApplication: number; perToken: number }

export interface Streams {
  /** @throws Problem when there are too many */
  open(response: ServerResponse, stream: EventStream, caller: Caller): Promise<void>;
  /**
   * Once a second: keeps alive, beats, cuts who does not read, ends what has run out. Who says when the next one comes lets us notice that
   * the process was stopped for a while: then an open stream is no sign of anybody, and all of them end, without a beat.
   */
  tick(nextInMs?: number): void;
  readonly count: number;
  /** Ends every stream with `server_shutdown`, spread over so many ms. */
  drain(ms: number): Promise<void>;
}

const KEEP_ALIVE_MS = 15_000;
/** A reader this far behind, in bytes or in time, is cut; it catches up when it resumes. */
const MOST_UNSENT = 256 * 1024;
const LONGEST_UNSENT_MS = 10_000;
/** A tick later than this means that the process, or its machine, was stopped. */
const STOPPED_MS = 6_000;
/** Streams written to without letting others in between. */
export const BATCH = 100;

interface Open {
  readonly response: ServerResponse;
  readonly stream: EventStream;
  readonly caller: Caller;
  /** All moments by the same clock as the tokens' expiry. */
  readonly endsAt: number;
  keepAliveAt: number;
  beatAt: number;
  unsentSince: number | undefined;
  /** Open when the process had been stopped: whether anybody was there meanwhile, nobody knows. */
  abandoned: boolean;
}

export function createStreams({ limits, now, beatMs, onError }: { limits: StreamLimits; now: () => number; beatMs: number; onError: (error: unknown) => void }): Streams {
  const all = new Set<Open>();
  const perApplication = new Map<string, number>(), perToken = new Map<string, number>();
  let draining = false;
  let tickDue = Infinity; // by the monotonic clock
  const wasStopped = () => performance.now() > tickDue + STOPPED_MS;

  function admit(applicationId: string, token: string): void {
    const busy = { headers: { 'Retry-After': String(Math.ceil(jitteredRetry() / 1000)) } };
    if (draining || all.size >= limits.total) throw new Problem('overloaded', busy);
    if ((perToken.get(token) ?? 0) >= limits.perToken) throw new Problem('rate-limited', { ...busy, detail: `This token has ${limits.perToken} streams open, and may have no more.` });
    if ((perApplication.get(applicationId) ?? 0) >= limits.perApplication) throw new Problem('rate-limited', { ...busy, detail: `The application has ${limits.perApplication} streams open, and may have no more.` });
  }

  const open: Streams['open'] = async (response, stream, caller) => {
    const { applicationId, maxAgeMs = Infinity, beat } = stream;
    admit(applicationId, caller.credentialId);
    const at = now();
    const entry: Open = { response, stream, caller, endsAt: at + maxAgeMs * (0.8 + Math.random() * 0.4), keepAliveAt: at + KEEP_ALIVE_MS * Math.random(), beatAt: at + beatMs, unsentSince: undefined, abandoned: false };
    all.add(entry);
    count(perApplication, applicationId, 1);
    count(perToken, caller.credentialId, 1);
    const listeners: (() => void)[] = [];
    response.once('close', () => {
      all.delete(entry);
      count(perApplication, applicationId, -1);
      count(perToken, caller.credentialId, -1);
      if (!entry.abandoned && !wasStopped()) beat?.(); // else it may have closed long ago
      for (const listener of listeners) listener();
    });
    const sink: Sink = {
      write: (text) => write(entry, text),
      end: () => finish(response),
      drained: () => drained(response),
      get closed() { return response.writableEnded || response.destroyed || wasStopped(); }, // that it was closed meanwhile is heard later
      onClose: (listener) => { if (response.destroyed) listener(); else listeners.push(listener); },
    };
    try {
      await stream.start(sink);
      if (!response.destroyed) begin(response);
    } catch (error) {
      if (!response.headersSent) throw error;
      onError(error);
      response.destroy(); // an honest end: the reader comes back and is told then
    }
  };

  function write(entry: Open, text: string | Buffer): void {
    const { response } = entry;
    if (response.writableEnded || response.destroyed) return;
    begin(response);
    if (!response.write(text)) entry.unsentSince ??= now();
    if (response.writableLength > MOST_UNSENT) response.destroy();
  }

  function tick(nextInMs = Infinity): void {
    const at = now();
    if (wasStopped()) for (const entry of all) { entry.abandoned = true; entry.response.destroy(); }
    tickDue = performance.now() + nextInMs;
    for (const entry of all) {
      const { response, caller, stream } = entry;
      if (response.destroyed) continue;
      if (response.writableEnded) entry.unsentSince ??= at; // its end waits to be read
      else if (!response.writableNeedDrain) entry.unsentSince = undefined;
      if (entry.unsentSince !== undefined && at - entry.unsentSince > LONGEST_UNSENT_MS) { response.destroy(); continue; }
      if (response.writableEnded) continue;
      if (caller.expiresAt <= at) { finish(response, 'token_expired'); continue; }
      if (entry.endsAt <= at) { finish(response); continue; }
      if (entry.keepAliveAt <= at) { entry.keepAliveAt = at + KEEP_ALIVE_MS; write(entry, ':\n\n'); }
      if (stream.beat && entry.beatAt <= at) { entry.beatAt = at + beatMs; stream.beat(); }
    }
  }

  async function drain(ms: number): Promise<void> {
    draining = true;
    const entries = [...all];
    const rounds = Math.max(1, Math.ceil(entries.length / BATCH));
    for (let round = 0; round < rounds; round++) {
      for (const { response } of entries.slice(round * BATCH, (round + 1) * BATCH)) {
        finish(response, 'server_shutdown');
      }
      await (rounds > 1 ? wait(ms / rounds) : breathe());
    }
    for (const { response } of all) if (response.writableEnded) response.once('finish', () => response.destroy());
  }

  return { open, tick, drain, get count() { return all.size; } };
}

/** The head, once. */
function begin(response: ServerResponse): void {
  if (response.headersSent) return;
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no', Connection: 'close' });
  response.write(`retry: ${jitteredRetry()}\n:\n\n`);
}

function drained(response: ServerResponse): Promise<void> {
  if (!response.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const over = () => {
      response.off('drain', over).off('close', over);
      resolve();
    };
    response.on('drain', over).on('close', over);
  });
}

/** The end, once. */
function finish(response: ServerResponse, event?: 'token_expired' | 'server_shutdown'): void {
  if (response.writableEnded || response.destroyed) return;
  begin(response);
  response.end(event && frame({ event, data: {}, retryMs: jitteredRetry() }));
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}
