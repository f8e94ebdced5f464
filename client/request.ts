// One request to the server: its token, its time limit, and when and how it is tried again.
import { ConnectionError, errorOf, RollcallError, TimeoutError } from './problem.ts';
import type { CallOptions, ClientOptions } from './types.ts';

/** Where chance and time come from; tests bring their own. */
export interface Timing {
  /** From 0 (included) to 1 (excluded). */
  random(): number;
  /** Resolves after so many milliseconds; rejects with the signal's reason when that comes first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A request that can be sent any number of times. */
export interface Sendable {
  url: string;
  method: string;
  headers: Headers;
  body?: string;
}

/** How one call is sent. */
export interface Policy extends CallOptions {
  /** Whether a repetition does no more than the first did; only then is a call tried again. Default: all but POST. */
  idempotent?: boolean;
  /** The time limit for a call that takes longer than others, unless the caller set one. */
  defaultTimeoutMs?: number;
}

/** An answer that was a success, read to its end. */
export interface Answer {
  response: Response;
  body: string;
}

const TIMEOUT_MS = 10_000;
const RETRIES = 2;
const BASE_MS = 200;
const CAP_MS = 5_000;
/** The server's limits are counted by the minute. */
const LONGEST_RETRY_AFTER_MS = 60_000;
/** A longer timer would fire at once, in Node and in browsers alike. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const realTiming: Timing = {
  random: Math.random,
  sleep: (ms, signal) => new Promise((resolve, reject) => alarm(ms, signal, resolve, reject)),
};

/** Milliseconds before attempt `attempt + 2`: full jitter under an exponential ceiling, or the time that the server named and a little, so that not all come back at once. */
export function waitMs(attempt: number, { retryAfterMs }: RollcallError, random: () => number): number {
  if (retryAfterMs === undefined) return random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt);
  return Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS) + random() * Math.min(CAP_MS, BASE_MS + retryAfterMs / 4);
}

/**
 * One authorized attempt. `read` is inside the time limit: whatever it awaits of the response counts.
 * Rejects with a `RollcallError` or, once `signal` is aborted, with its reason.
 */
export async function attempt<T>(
  options: Pick<ClientOptions, 'token' | 'fetch'>,
  request: Sendable,
  { signal, timeoutMs = 0 }: CallOptions,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  // Taken out to be called bare: as a method of our options, a browser's own fetch is an illegal invocation.
  const { fetch = globalThis.fetch } = options;
  return within(timeoutMs, signal, async (cut) => {
    const headers = new Headers(request.headers);
    headers.set('authorization', `Bearer ${await currentToken(options.token)}`);
    try {
      // This API never redirects. Followed, a redirect turns a POST into a GET and takes the answer for the POST's.
      return await read(await fetch(request.url, { ...request, headers, signal: cut, redirect: 'manual' }));
    } catch (error) {
      if (error instanceof RollcallError) throw error;
      throw new ConnectionError(`${request.method} ${request.url.split('?')[0]} got no complete answer.`, { cause: error });
    }
  });
}

/** Sends a request until it succeeds, fails for good, or has been repeated as often as it may. */
export async function send(
  options: Pick<ClientOptions, 'token' | 'fetch' | 'timeoutMs' | 'retries'>,
  request: Sendable,
  policy: Policy,
  timing: Timing,
): Promise<Answer> {
  const { signal, idempotent = request.method !== 'POST', defaultTimeoutMs = TIMEOUT_MS } = policy;
  const timeoutMs = policy.timeoutMs ?? options.timeoutMs ?? defaultTimeoutMs;
  const retries = idempotent ? (policy.retries ?? options.retries ?? RETRIES) : 0;
  for (let repeated = 0; ; repeated += 1) {
    try {
      return await attempt(options, request, { signal, timeoutMs }, readAll);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RollcallError) || !error.isRetryable || !(repeated < retries)) throw error;
      if (Number(error.retryAfterMs) > LONGEST_RETRY_AFTER_MS) throw error; // sooner would be in vain, and nobody waits so long for a call
      await timing.sleep(waitMs(repeated, error, timing.random), signal);
    }
  }
}

/** Reading belongs to the attempt, so that a body that breaks off or never ends is tried again like any broken connection. */
async function readAll(response: Response): Promise<Answer> {
  const body = await response.text();
  if (!response.ok) throw errorOf(response, body);
  return { response, body };
}

async function currentToken(token: ClientOptions['token']): Promise<string> {
  let value: string;
  try {
    value = (typeof token === 'string' ? token : await token()).trim();
  } catch (cause) {
    throw new RollcallError('The token function failed.', { cause });
  }
  // Checked here because the platform's own complaint would quote the token.
  if (!/^[\x21-\x7e]+$/.test(value)) throw new RollcallError('The token is empty or not fit for a header.');
  return value;
}

/** Races the work against the time limit and the signal, so that not even a fetch that ignores its signal can hang it. */
async function within<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (cut: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  let cancel = () => {};
  const cut = new Promise<never>((_resolve, reject) => {
    const stop = (reason: unknown) => {
      reject(reason);
      controller.abort(reason);
    };
    cancel = alarm(timeoutMs || Infinity, signal, () => stop(new TimeoutError(timeoutMs)), stop);
  });
  try {
    return await Promise.race([work(controller.signal), cut]);
  } finally {
    cancel();
  }
}

/** Calls one of the two, once; the function it answers takes the alarm back and leaves no timer and no listener behind. */
function alarm(
  ms: number,
  signal: AbortSignal | undefined,
  timeIsUp: () => void,
  aborted: (reason: unknown) => void,
): () => void {
  const cancel = () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
  const onAbort = () => {
    cancel();
    aborted(signal?.reason);
  };
  const timer = setTimeout(() => {
    cancel();
    timeIsUp();
  }, Math.min(ms, LONGEST_TIMER_MS));
  signal?.addEventListener('abort', onAbort);
  // Of a signal that has been aborted before nothing is heard any more.
  if (signal?.aborted) onAbort();
  return cancel;
}
