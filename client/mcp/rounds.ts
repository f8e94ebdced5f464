// When reports go out: one at a time, again and again, on timers that keep no process alive.

export interface Rounds {
  /** The next report is soon, and about everybody. */
  everybodySoon(): void;
  /** One last report, after the one in hand. */
  stop(): Promise<void>;
}

export interface RoundsOptions {
  everyMs: number;
  report(everybody: boolean): Promise<void>;
  /** While revokes come as events, quiet connections need a heartbeat only now and then. */
  isWatching(): boolean;
  onError(error: unknown): void;
}

/** Reports between two that are about everybody, that one included. */
const EVERYBODY_EVERY = 4;

export function startRounds({ everyMs, report, isWatching, onError }: RoundsOptions): Rounds {
  let count = 0;
  let isEverybodysTurn = false;
  let isStopped = false;
  let running: Promise<void> | undefined;
  let timer = arm(everyMs);

  function arm(ms: number): NodeJS.Timeout {
    return setTimeout(() => void round(), ms).unref();
  }

  async function round(): Promise<void> {
    count += 1;
    const everybody = isEverybodysTurn || count % EVERYBODY_EVERY === 0 || !isWatching();
    isEverybodysTurn = false;
    running = report(everybody).catch((error: unknown) => {
      if (everybody) isEverybodysTurn = true;
      onError(error);
    });
    await running;
    running = undefined;
    if (!isStopped) timer = arm(everyMs);
  }

  return {
    everybodySoon() {
      isEverybodysTurn = true;
      if (running || isStopped) return;
      clearTimeout(timer);
      timer = arm(0);
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
      await report(false).catch(onError);
    },
  };
}
