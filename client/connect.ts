// What `@rollcall/client/connect` exports: a process that is a client itself, connected for as long as it runs.
/// <reference lib="esnext.disposable" preserve="true" />
import { createClientWith } from './client.ts';
import { type Disconnect, watchSession } from './events.ts';
import { ProblemError } from './problem.ts';
import { realTiming, type Timing } from './request.ts';
import { isTransient, statusOf, type StreamOptions } from './stream.ts';
import type { NewSession, Session } from './types.ts';

/** What {@link connect} takes. */
export interface ConnectOptions extends StreamOptions {
  /**
   * What is known about this process. With an `externalId` that outlives it, the next process is the same session again, unless that
   * is over for good; without one, each call of `connect` is a session of its own.
   */
  session?: Omit<NewSession, 'credentialId' | 'credentialExpiresAt' | 'tokenExpiresAt'> | undefined;
  /** How often creating the session is tried again while the service is out of reach. Default 2; `Infinity` waits for it. */
  retries?: number | undefined;
  /** Is told when the connection is over, unless `close` or the signal ended it. Must not throw. */
  onDisconnect?: ((end: Disconnected) => void) | undefined;
}

/** Why a connection is over. It does not come back: after `revoked`, authenticate again and connect anew. */
export interface Disconnected {
  /**
   * `revoked`: it was thrown out. `ended`: somebody ended the session. `closed`: you did, or your signal.
   * `failed`: the server refuses to go on, see `error`. May gain values.
   */
  reason: 'revoked' | 'ended' | 'closed' | 'failed' | (string & {});
  /** What happened or what to do, in a sentence. */
  detail: string;
  /** Milliseconds to wait before connecting again, so that not everybody comes back at once. */
  retryAfterMs: number;
  /** What the server answered, where an answer and not an event was the end. */
  error?: unknown;
}

/** One session that is kept alive. */
export interface Connection {
  /** The session as the server last answered it. */
  readonly session: Session;
  /** Resolves when the connection is over, and never rejects. */
  readonly disconnected: Promise<Disconnected>;
  /**
   * Says that the session is being used, without which it goes idle. Call it as often as you like: the first call is reported at once,
   * what follows within ten seconds in one report after them. A report that fails is not repeated.
   * @param at when it was used; default now
   */
  active(at?: Date): void;
  /** Ends the session. Resolves within five seconds even when the service is out of reach: it then notices by itself. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const ACTIVE_MS = 10_000;
const CLOSE_MS = 5_000;
/** Within so long, at random, a session that was lost is taken up again. */
const REJOIN_MS = 5_000;

/**
 * Connects this process to an application and keeps it connected: broken streams are opened again, an expiring token is
 * asked for anew, and a session that was lost meanwhile comes back as the same one. It is over when the session was revoked
 * or ended, which {@link Connection.disconnected} tells, or when you `close` it.
 *
 * ```ts
 * const connection = await connect({ baseUrl, token, applicationId, session: { hostname, clientInfo: { name: 'desk' } } });
 * connection.disconnected.then(({ reason }) => reason === 'revoked' && logIn());
 * ```
 *
 * Rejects as `sessions.create` does: a {@link ProblemError} with the code `credential-revoked` means that the token stems from a
 * login that was thrown out, so log in again. When the signal aborts later, the connection is over at once and
 * the session is left to expire; `close` still ends it.
 *
 * The scope `sessions:connect` is enough.
 */
export function connect(options: ConnectOptions): Promise<Connection>;
/** @internal With the time of a test. */
export function connect(options: ConnectOptions, timing: Timing): Promise<Connection>;
export async function connect(options: ConnectOptions, timing: Timing = realTiming): Promise<Connection> {
  const { applicationId, signal, onDisconnect } = options;
  const client = createClientWith(options, timing);
  const body = { ...options.session, externalId: options.session?.externalId ?? crypto.randomUUID() };
  const stop = new AbortController();
  const abort = () => stop.abort(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  const letGo = () => signal?.removeEventListener('abort', abort);

  const join = async () => {
    signal?.throwIfAborted();
    return (await client.sessions.create(applicationId, body, { signal: stop.signal })).session;
  };

  /** Until the session is over for good. */
  const keep = async (): Promise<Disconnect> => {
    for (let isKnown = true; ; isKnown = false) {
      try {
        if (!isKnown) {
          await timing.sleep(timing.random() * REJOIN_MS, stop.signal);
          session = await join();
          isKnown = true;
        }
        const end = await watchSession({ ...options, sessionId: session.id, signal: stop.signal }, timing);
        if (end.reason !== 'lost') return end;
      } catch (error) {
        // A session that is no longer retained; or the next token is somebody else's. Creating it says which, and what is next.
        const isGone = isKnown && statusOf(error) === 404;
        if (!isGone && (isKnown || !isTransient(error))) throw error;
      }
    }
  };

  let session = await join().catch((error: unknown) => {
    letGo();
    throw error;
  });
  const disconnected = keep().then(
    ({ reason, detail, retryAfterMs }): Disconnected => ({ reason, detail, retryAfterMs }),
    (error: unknown) => (stop.signal.aborted ? CLOSED : failure(error)),
  );
  disconnected.then((end) => {
    letGo();
    stop.abort(); // reports of activity have come to an end, too
    if (end !== CLOSED) onDisconnect?.(end);
  });

  let lastActiveAt: string | undefined;
  let isReporting = false;
  const report = async () => {
    isReporting = true;
    while (lastActiveAt !== undefined && !stop.signal.aborted) {
      const heartbeat = { sessionId: session.id, lastActiveAt };
      lastActiveAt = undefined;
      // Whatever is the matter, the stream meets it too, and decides.
      await client.sessions.heartbeat(applicationId, [heartbeat], { signal: stop.signal, retries: 0 }).catch(() => {});
      await timing.sleep(ACTIVE_MS, stop.signal).catch(() => {});
    }
    isReporting = false;
  };

  const goodbye = async () => {
    stop.abort();
    const { reason } = await disconnected;
    if (reason === 'revoked' || reason === 'ended') return;
    const bound = new AbortController();
    timing.sleep(CLOSE_MS, bound.signal).then(
      () => bound.abort(),
      () => {},
    );
    // Without it, the session is lost after a lease.
    await client.sessions.end(applicationId, session.id, { signal: bound.signal }).catch(() => {});
    bound.abort();
  };
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= goodbye());

  return {
    get session() {
      return session;
    },
    disconnected,
    active(at = new Date()) {
      const moment = at.toISOString();
      if (lastActiveAt === undefined || moment > lastActiveAt) lastActiveAt = moment;
      if (!isReporting) void report();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const CLOSED: Disconnected = { reason: 'closed', detail: 'The connection was closed here.', retryAfterMs: 0 };

function failure(error: unknown): Disconnected {
  const isRevoked = error instanceof ProblemError && error.code === 'credential-revoked';
  const detail = error instanceof Error ? error.message : String(error);
  return { reason: isRevoked ? 'revoked' : 'failed', detail, retryAfterMs: 0, error };
}

export { ConnectionError, ProblemError, ResponseError, RollcallError, TimeoutError } from './problem.ts';
export type { StreamOptions, StreamState } from './stream.ts';
export type { NewSession, Session } from './types.ts';
