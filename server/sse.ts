// Open event streams: how many there may be, what keeps one alive, and what ends it.
import type { ServerResponse } from 'node:http';
import { setImmediate as breathe, setTimeout as wait } from 'node:timers/promises';
import type { Caller } from './auth.ts';
import { frame, jitteredRetry } from './frames.ts';
import { Problem } from './problem.ts';

/** What a handler answers instead of a body. */
export interface EventStream {
  readonly kind: 'session' | 'application';
  readonly applicationId: string;
  /** The server ends the stream, without an event, after about so long; ms. */
  readonly maxAgeMs?: number;
  /** Called about every `beatMs` while the stream is open, and once when it has closed. */
  readonly beat?: () => void;
  /** Resolves when nothing can be missed any more: only then, or at the first write, the reader is told that the stream is open. */
  readonly start: (sink: Sink) => Promise<void>;
}

/** Why a stream is over. `client_gone` is everything that was not our doing. */
export type EndReason = 'revoked' | 'ended' | 'lost' | 'token_expired' | 'server_shutdown' | 'application_deleted' | 'max_age' | 'slow_reader' | 'process_stopped' | 'failed' | 'client_gone';

/** The writing end of one stream. After it has closed everything is ignored. */
export interface Sink {
  write(frame: string | Buffer): void;
  /** Why, in a word: it is for the log. */
  end(reason: EndReason): void;
  /** Resolves when what was written has left; for writing much at once. */
  drained(): Promise<void>;
  readonly closed: boolean;
  /** Called once, when the stream is over, whoever ended it. */
  onClose(listener: () => void): void;
}

/** Hears once of each stream that was opened, and once that it is over. */
export interface StreamWatch { opened(): void; closed(reason: EndReason): void }

export interface StreamLimits {
  total: number; perApplication: number; perPrincipal: number;
  /** Of a principal whose token is for its own sessions only. */
  perClient: number;
}

export interface Streams {
  /** @throws Problem when there are too many */
  open(response: ServerResponse, stream: EventStream, caller: Caller, watch?: StreamWatch): Promise<void>;
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
  /** All moments by the clock that nobody sets. */
  readonly endsAt: number;
  keepAliveAt: number;
  beatAt: number;
  unsentSince: number | undefined;
  readonly watch: StreamWatch | undefined;
  opened: boolean;
  /** What ended it, where that was us. Of a process that had been stopped: whether anybody was there meanwhile, nobody knows. */
  reason: EndReason | undefined;
  /** Lets go of it. Any number of times. */
  readonly over: () => void;
}

export interface StreamOptions {
  readonly limits: StreamLimits;
  /** The clock by which tokens expire. */
  readonly now: () => number;
  /** A clock that nobody sets, for everything else. */
  readonly elapsed: () => number;
  readonly beatMs: number;
  readonly onError: (error: unknown) => void;
}

export function createStreams({ limits, now, elapsed, beatMs, onError }: StreamOptions): Streams {
  const all = new Set<Open>();
  const perApplication = new Map<string, number>(), perPrincipal = new Map<string, number>();
  let draining = false;
  let tickDue = Infinity; // by the monotonic clock
  const wasStopped = () => performance.now() > tickDue + STOPPED_MS;

  function admit(applicationId: string, principal: string, most: number): void {
    const busy = { headers: { 'Retry-After': String(Math.ceil(jitteredRetry() / 1000)) } };
    if (draining || all.size >= limits.total) throw new Problem('overloaded', busy);
    if ((perPrincipal.get(principal) ?? 0) >= most) throw new Problem('rate-limited', { ...busy, detail: `This caller has ${most} streams open, and may have no more.` });
    if ((perApplication.get(applicationId) ?? 0) >= limits.perApplication) throw new Problem('rate-limited', { ...busy, detail: `The application has ${limits.perApplication} streams open, and may have no more.` });
  }

  const open: Streams['open'] = async (response, stream, caller, watch) => {
    if (response.destroyed || response.req.socket.destroyed) return; // the client went while it was asked who it is
    const { applicationId, maxAgeMs = Infinity, beat } = stream, { principal } = caller;
    admit(applicationId, principal, caller.scopes.has('sessions:write') || caller.scopes.has('sessions:read') ? limits.perPrincipal : limits.perClient);
    const at = elapsed();
    const entry: Open = { response, stream, caller, endsAt: at + maxAgeMs * (0.8 + Math.random() * 0.4), keepAliveAt: at + KEEP_ALIVE_MS * Math.random(), beatAt: at + beatMs, unsentSince: undefined, watch, opened: false, reason: undefined, over };
    all.add(entry);
    count(perApplication, applicationId, 1);
    count(perPrincipal, principal, 1);
    const listeners: (() => void)[] = [];
    function over(): void {
      if (!all.delete(entry)) return;
      response.destroy();
      count(perApplication, applicationId, -1);
      count(perPrincipal, principal, -1);
      if (entry.reason !== 'process_stopped' && !wasStopped()) beat?.(); // else it may have closed long ago
      for (const listener of listeners) listener();
      if (entry.opened) watch?.closed(entry.reason ?? 'client_gone');
    }
    response.once('close', over);
    const sink: Sink = {
      write: (text) => write(entry, text),
      end: (reason) => finish(entry, reason),
      drained: () => drained(response),
      get closed() { return response.writableEnded || response.destroyed || wasStopped(); }, // that it was closed meanwhile is heard later
      onClose: (listener) => { if (response.destroyed) listener(); else listeners.push(listener); },
    };
    try {
      await stream.start(sink);
      if (!response.destroyed) begin(entry);
      slim(response);
    } catch (error) {
      if (!response.headersSent) throw error;
      onError(error);
      destroy(entry, 'failed'); // an honest end: the reader comes back and is told then
    }
  };

  function write(entry: Open, text: string | Buffer): void {
    const { response } = entry;
    if (response.writableEnded || response.destroyed) return;
    begin(entry);
    if (!response.write(text)) entry.unsentSince ??= elapsed();
    if (response.writableLength > MOST_UNSENT) destroy(entry, 'slow_reader');
  }

  function tick(nextInMs = Infinity): void {
    const at = elapsed(), time = now();
    if (wasStopped()) for (const entry of all) destroy(entry, 'process_stopped');
    tickDue = performance.now() + nextInMs;
    for (const entry of all) {
      const { response, caller, stream } = entry;
      if (response.req.socket.destroyed) entry.over(); // before Node 24.18, an answer that waits behind another on its connection was not told
      if (response.destroyed) continue;
      if (response.writableEnded) entry.unsentSince ??= at; // its end waits to be read
      else if (!response.writableNeedDrain) entry.unsentSince = undefined;
      if (entry.unsentSince !== undefined && at - entry.unsentSince > LONGEST_UNSENT_MS) { destroy(entry, 'slow_reader'); continue; }
      if (response.writableEnded) continue;
      if (caller.expiresAt <= time) { finish(entry, 'token_expired'); continue; }
      if (entry.endsAt <= at) { finish(entry, 'max_age'); continue; }
      if (entry.keepAliveAt <= at) { entry.keepAliveAt = at + KEEP_ALIVE_MS; write(entry, ':\n\n'); }
      if (stream.beat && entry.beatAt <= at) { entry.beatAt = at + beatMs; stream.beat(); }
    }
  }

  async function drain(ms: number): Promise<void> {
    draining = true;
    const entries = [...all];
    const rounds = Math.max(1, Math.ceil(entries.length / BATCH));
    for (let round = 0; round < rounds; round++) {
      for (const entry of entries.slice(round * BATCH, (round + 1) * BATCH)) finish(entry, 'server_shutdown');
      await (rounds > 1 ? wait(ms / rounds) : breathe());
    }
    for (const { response } of all) if (response.writableEnded) response.once('finish', () => response.destroy());
  }

  return { open, tick, drain, get count() { return all.size; } };
}

/** A stream is open for minutes: what was asked with, a long token among it, is not kept as long. */
function slim({ req }: ServerResponse): void {
  req.rawHeaders = [];
  req.headers = req.headersDistinct = {};
  // What Express has left there leads to all its middlewares.
  Object.assign(req, { next: undefined, body: undefined, params: undefined, route: undefined });
  Reflect.deleteProperty(req, 'query'); // a getter of Express's where no query was read
}

/** The head, once. */
function begin(entry: Open): void {
  const { response, watch } = entry;
  if (response.headersSent) return;
  entry.opened = true;
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no', Connection: 'close' });
  response.write(`retry: ${jitteredRetry()}\n:\n\n`);
  watch?.opened();
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

/** The end, once. Two of the reasons are events of their own; of others the reader has been told, or is to come back. */
function finish(entry: Open, reason: EndReason): void {
  const { response } = entry;
  if (response.writableEnded || response.destroyed) return;
  begin(entry);
  entry.reason = reason;
  response.end(reason === 'token_expired' || reason === 'server_shutdown' ? frame({ event: reason, data: {}, retryMs: jitteredRetry() }) : undefined);
}

function destroy(entry: Open, reason: EndReason): void {
  if (reason === 'process_stopped') entry.reason = reason; // whatever it was to be
  else entry.reason ??= reason;
  entry.response.destroy();
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}
