// One event stream kept open for as long as somebody reads it: opened again after an end, given up after a refusal.
import { readFrames } from './frames.ts';
import { ConnectionError, errorOf, ResponseError, RollcallError } from './problem.ts';
import { attempt, type Timing, waitMs } from './request.ts';
import type { ClientOptions } from './types.ts';

/** Whether there is a stream right now. */
export type StreamState =
  /** Whatever happens from this moment on will come. */
  | { state: 'open' }
  /** There is none; in `retryInMs` milliseconds another is asked for. Without an `error`, the server ended the old one in order. */
  | { state: 'waiting'; retryInMs: number; error?: RollcallError };

/** What every stream takes. */
export interface StreamOptions extends Pick<ClientOptions, 'baseUrl' | 'token' | 'headers' | 'fetch'> {
  applicationId: string;
  /** Cuts the stream at once; what waits for it rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that the answer to a request for a stream may take; 0 is no limit. Default 10,000. */
  timeoutMs?: number | undefined;
  /** Milliseconds without a byte after which a stream is taken for dead and opened anew. Default 45,000: three keep-alives. */
  silenceMs?: number | undefined;
  /** Is told whenever the stream opens, and whenever it is gone. Must not throw. */
  onState?: ((state: StreamState) => void) | undefined;
}

/** One event of a stream. */
export interface StreamEvent {
  type: string;
  /** JSON. */
  data: string;
  /** The position after it; empty on a stream without positions. */
  id: string;
  /** Milliseconds after which the server wants to be asked again. */
  retryMs: number;
}

/** Which stream, and what to make of it. */
export interface Source<Item> {
  /** Segments of the path after the application's. */
  path: readonly string[];
  /** Where to begin; empty is "now", undefined a stream without positions. */
  lastEventId?: string;
  /** What the reader gets; undefined skips the event. A ConnectionError that it throws breaks the stream off, any other ends it. */
  read(event: StreamEvent): Item | undefined;
}

const TIMEOUT_MS = 10_000;
const SILENCE_MS = 45_000;
/** Until the server has said when to come back. */
const RETRY_MS = 1_000;
const LEAST_RETRY_MS = 100;
const MOST_RETRY_MS = 60_000;
/** Events after which the server ends the stream, though nothing is wrong. */
const ENDS = ['token_expired', 'server_shutdown'];
/** Why work was cut off that nobody waits for any more. */
const LEFT = Symbol('left');

/**
 * What comes on a stream that is opened again whenever it ends. Each loop over it begins anew, is read for no faster than
 * it asks, and lets go of everything when it is left.
 */
export function follow<Item>(options: StreamOptions, source: Source<Item>, timing: Timing): AsyncIterable<Item> {
  const url = urlOf(options, source.path);
  return {
    [Symbol.asyncIterator]() {
      const stop = new AbortController();
      const items = reopen(options, url, source, stop, timing);
      return {
        next: () => items.next(),
        // The generator alone would notice only when the next event has come.
        return() {
          stop.abort(LEFT);
          return items.return(undefined);
        },
      };
    },
  };
}

/** Whether time may mend it. A stream is worth another attempt after every failure of the server, a 500 included. */
export function isTransient(error: unknown): error is RollcallError {
  return error instanceof RollcallError && (error.isRetryable || (statusOf(error) ?? 0) >= 500);
}

/** The HTTP status behind an error, when there is one. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'status' in error ? Number(error.status) : undefined;
}

/** Where a reader is, and when the server wants it back. */
interface Position {
  lastEventId: string;
  retryMs: number;
}

async function* reopen<Item>(
  options: StreamOptions,
  url: string,
  source: Source<Item>,
  stop: AbortController,
  timing: Timing,
): AsyncGenerator<Item, undefined, undefined> {
  const { signal } = stop;
  const abort = () => stop.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', abort, { once: true });
  const position = { lastEventId: source.lastEventId ?? '', retryMs: timing.random() * RETRY_MS };
  let failures = 0;
  let mayRenew = false;
  try {
    options.signal?.throwIfAborted();
    for (;;) {
      let retryInMs: number | undefined;
      let error: RollcallError | undefined;
      try {
        const body = await open(options, url, position.lastEventId, signal);
        failures = 0;
        mayRenew = typeof options.token === 'function';
        error = yield* readItems(body, options, source, position, signal, timing);
      } catch (caught) {
        signal.throwIfAborted();
        // A token may have run out with the last stream, and a supplier of tokens may learn it only from this answer.
        const renews = mayRenew && statusOf(caught) === 401;
        if (renews) mayRenew = false;
        if (!(caught instanceof RollcallError) || !(renews || isTransient(caught))) throw caught;
        error = caught;
        retryInMs = waitMs(failures, caught, timing.random);
        failures += 1;
      }
      retryInMs ??= position.retryMs;
      options.onState?.({ state: 'waiting', retryInMs, ...(error && { error }) });
      await timing.sleep(retryInMs, signal);
    }
  } catch (error) {
    if (signal.reason === LEFT) return;
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

async function open(
  options: StreamOptions,
  url: string,
  lastEventId: string,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const headers = new Headers(options.headers);
  headers.set('accept', 'text/event-stream');
  if (lastEventId) headers.set('last-event-id', lastEventId);
  const { timeoutMs = TIMEOUT_MS } = options;
  return attempt(options, { url, method: 'GET', headers }, { signal, timeoutMs }, async (response) => {
    const isStream = /^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '');
    if (response.status === 200 && isStream && response.body) return response.body;
    const text = await response.text();
    throw response.ok ? new ResponseError(response, text) : errorOf(response, text);
  });
}

/** Hands on what one stream brings until it ends, and answers what was wrong with it, if anything was. */
async function* readItems<Item>(
  body: ReadableStream<Uint8Array>,
  { silenceMs = SILENCE_MS, onState }: StreamOptions,
  source: Source<Item>,
  position: Position,
  signal: AbortSignal,
  timing: Timing,
): AsyncGenerator<Item, RollcallError | undefined, undefined> {
  let isOpen = source.lastEventId === undefined;
  if (isOpen) onState?.({ state: 'open' });
  const onRetry = (ms: number) => void (position.retryMs = Math.min(Math.max(ms, LEAST_RETRY_MS), MOST_RETRY_MS));
  try {
    for await (const { id, event: type = '', data } of readFrames(body, { silenceMs, signal, onRetry }, timing)) {
      if (ENDS.includes(type)) return;
      const { lastEventId, retryMs } = position;
      const item = source.read({ type, data, id: id ?? lastEventId, retryMs });
      if (id !== undefined) position.lastEventId = id;
      // The first position, not the answer's 200, is the server's word that from here on nothing is missed.
      if (id && !isOpen) onState?.({ state: 'open' });
      isOpen ||= Boolean(id);
      if (item !== undefined) yield item;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ConnectionError) return error;
    throw error;
  }
}

/** @throws RollcallError for an id that would make another URL of it */
function urlOf({ baseUrl, applicationId }: StreamOptions, path: readonly string[]): string {
  const segments = [applicationId, ...path];
  for (const segment of segments) {
    // A URL parser resolves `.` and `..` however they are encoded.
    if (/^\.{0,2}$/.test(segment)) throw new RollcallError(`${JSON.stringify(segment)} is not an id.`);
  }
  return `${baseUrl.replace(/\/$/, '')}/api/v1/applications/${segments.map(encodeURIComponent).join('/')}`;
}
