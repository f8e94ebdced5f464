// One request to the server: its token, its time limit, and when and how it is tried again.
import { ConnectionError, errorOf, ProblemError, ResponseError, RollcallError, TimeoutError } from './problem.ts';
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
  /** Whether the server answers a repetition as it would have answered the first. Only then is anything tried again. */
  idempotent: boolean;
}

/** An answer that was a success, read to its end. */
export interface Answer {
  response: Response;
  body: string;
}

const BASE_MS = 200;
const CAP_MS = 5_000;
const RETRY_AFTER_CAP_MS = 30_000;
/** A longer timer would fire at once, in Node and in browsers alike. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const realTiming: Timing = {
  random: Math.random,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
};

/** Milliseconds before attempt `attempt + 2`: full jitter under an exponential ceiling, unless the server named a time. */
export function waitMs(attempt: number, error: unknown, random: () => number): number {
  const asked = error instanceof ProblemError || error instanceof ResponseError ? error.retryAfterMs : undefined;
  if (asked !== undefined) return Math.min(asked, RETRY_AFTER_CAP_MS);
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt);
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
  // Called bare: as a method of our options a browser's own fetch would be an illegal invocation.
  const { fetch = (url: string, init: RequestInit) => globalThis.fetch(url, init) } = options;
  return within(timeoutMs, signal, async (cut) => {
    const headers = new Headers(request.headers);
    headers.set('authorization', `Bearer ${await currentToken(options.token)}`);
    try {
      // This API never redirects. Followed, a redirect turns a POST into a GET and takes the answer for the POST's.
      return await read(await fetch(request.url, { ...request, headers, signal: cut, redirect: 'manual' }));
    } catch (error) {
      if (error instanceof RollcallError || cut.aborted) throw error;
      throw new ConnectionError(`${request.method} ${request.url.split('?')[0]} got no complete answer.`, { cause: error });
    }
  });
}

/** Sends a request until it succeeds, fails for good, or has been repeated as often as it may. */
export async function send(
  options: Pick<ClientOptions, 'token' | 'fetch'>,
  request: Sendable,
  policy: Policy,
  timing: Timing,
): Promise<Answer> {
  const { signal, idempotent, retries = 0 } = policy;
  for (let repeated = 0; ; repeated += 1) {
    try {
      return await attempt(options, request, policy, readAll);
    } catch (error) {
      signal?.throwIfAborted();
      const again = idempotent && repeated < retries && error instanceof RollcallError && error.isRetryable;
      if (!again) throw error;
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
  if (!/^[\x21-\x7e]+$/.test(value)) throw new RollcallError('The token is empty or cannot be sent in a header.');
  return value;
}

/** Races the work against the time limit and the caller's signal, so that not even a fetch that ignores signals can hang it. */
async function within<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (cut: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let onAbort = () => {};
  const cut = new Promise<never>((_resolve, reject) => {
    const stop = (reason: unknown) => {
      reject(reason);
      controller.abort(reason);
    };
    onAbort = () => stop(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (timeoutMs > 0 && timeoutMs <= LONGEST_TIMER_MS) {
      timer = setTimeout(() => stop(new TimeoutError(timeoutMs)), timeoutMs);
    }
  });
  try {
    return await Promise.race([work(controller.signal), cut]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
