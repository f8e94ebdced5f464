// What this process hears from the service: revokes as they happen, and the list of denied credentials whenever it may have changed.
import type { Denials } from './denials.ts';
import type { Registry } from './registry.ts';

export interface Watcher {
  /** Resolves when the denied credentials are known, or it has taken too long to find out. */
  readonly ready: Promise<void>;
  /** Events come as they happen; without them heartbeats are the way to learn of a revoke. */
  readonly isOpen: boolean;
  /** Whether this process would know by now of a revoke that happened some seconds ago. */
  isInformed(): boolean;
  /** Has the list of denied credentials read again, soon, once for many calls. */
  refreshSoon(): void;
  stop(): void;
}

export interface WatcherOptions {
  registry: Registry;
  denials: Denials;
  now(): number;
  onRevoked(sessionId: string): void;
  onRevokedAll(generation: number): void;
  /** Ended or lost, but not revoked. */
  onEnded(sessionId: string, reason: string): void;
  /** Events come from now on; before that some may have been missed. */
  onOpen(): void;
  onError(error: unknown): void;
}

/** How long the first requests wait to learn what is denied, in ms. */
const START_MS = 2_000;
/** How long an interruption may be before the process counts as uninformed, in ms: a restart of the service is shorter. */
const INFORMED_MS = 10_000;
/** Between two readings of the denied credentials, and after one that failed, in ms. */
const GAP_MS = 250;
const RETRY_MS = 1_000;
/** After the service refused the stream for good (a token without the scope), in ms: somebody may mend it. */
const REFUSED_MS = 15_000;

export function startWatcher({ registry, denials, now, ...on }: WatcherOptions): Watcher {
  const stopped = new AbortController();
  let isReady = () => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const patience = later(START_MS, isReady);
  let isOpen = false;
  let wasOpenAt = -Infinity;
  let isHydrated = false;
  let timer: NodeJS.Timeout | undefined;

  function refreshIn(ms: number): void {
    timer ??= later(ms, () => {
      timer = undefined;
      void refresh();
    });
  }

  async function refresh(): Promise<void> {
    try {
      await denials.refresh();
      isHydrated = true;
      isReady();
    } catch (error) {
      if (stopped.signal.aborted) return;
      on.onError(error);
      refreshIn(RETRY_MS);
    }
  }

  function onState(nowOpen: boolean): void {
    if (isOpen) wasOpenAt = now();
    isOpen = nowOpen;
    if (!nowOpen) return;
    // Only now: what is revoked after this list was read will come as an event.
    void refresh();
    on.onOpen();
  }

  async function watch(): Promise<void> {
    for await (const event of registry.events(stopped.signal, onState)) {
      if (event.type === 'revoked-all') on.onRevokedAll(event.generation);
      else if (event.type === 'reset') on.onOpen();
      else if (event.reason === 'revoked') on.onRevoked(event.sessionId);
      else on.onEnded(event.sessionId, event.reason);
      if (event.type !== 'ended' || event.reason === 'revoked') refreshIn(Math.max(0, denials.askedAt + GAP_MS - now()));
    }
  }

  async function watchOn(): Promise<void> {
    while (!stopped.signal.aborted) {
      await watch().catch((error: unknown) => {
        if (!stopped.signal.aborted) on.onError(error);
      });
      if (isOpen) onState(false);
      await new Promise<void>((resolve) => {
        const over = () => {
          clearTimeout(pause);
          stopped.signal.removeEventListener('abort', over);
          resolve();
        };
        const pause = later(REFUSED_MS, over);
        stopped.signal.addEventListener('abort', over);
      });
    }
  }

  // Not left to the stream, which may never open while the list can be read.
  void refresh();
  void watchOn();
  return {
    ready,
    get isOpen() {
      return isOpen;
    },
    isInformed: () => isHydrated && (isOpen || now() - wasOpenAt < INFORMED_MS),
    refreshSoon: () => refreshIn(Math.max(0, denials.askedAt + GAP_MS - now())),
    stop() {
      stopped.abort();
      clearTimeout(timer);
      clearTimeout(patience);
      isReady();
    },
  };
}

/** A timer that keeps no process alive. */
function later(ms: number, run: () => void): NodeJS.Timeout {
  return setTimeout(run, ms).unref();
}
