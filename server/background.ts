// What goes on between requests: the store's duties, again and again, until stopped.
import type { Logger } from 'pino';
import type { EventHub } from './events.ts';
import type { Streams } from './sse.ts';
import type { Store } from './store/store.ts';

const OFTEN_MS = 1_000;
const SELDOM_MS = 60_000;

/** Repeats a duty, each time after a pause; a failure is logged when it begins and when it is over. */
function repeat(name: string, pauseMs: number, log: Logger, duty: (signal: AbortSignal) => Promise<void>): () => Promise<void> {
  const stopped = new AbortController();
  let failing = false;
  let timer: NodeJS.Timeout | undefined;
  let running = Promise.resolve();
  const round = async () => {
    try {
      await duty(stopped.signal);
      if (failing) log.info({ duty: name }, 'background work goes on again');
      failing = false;
    } catch (err) {
      if (!failing) log.error({ duty: name, err }, 'background work failed; it is tried again');
      failing = true;
    }
    next();
  };
  const next = () => {
    if (!stopped.signal.aborted) timer = setTimeout(() => { running = round(); }, pauseMs).unref();
  };
  running = round();
  return async () => {
    stopped.abort();
    clearTimeout(timer);
    await running;
  };
}

/** @returns stops everything, after the batch in hand. */
export function startBackground({ store, hub, streams, log }: { store: Store; hub: EventHub; streams: Streams; log: Logger }): () => Promise<void> {
  const stops = [
    repeat('streams', OFTEN_MS, log, async () => streams.tick(OFTEN_MS)),
    repeat('events', OFTEN_MS, log, () => hub.poll()),
    repeat('maintain', OFTEN_MS, log, (signal) => store.maintain(signal)),
    repeat('forget', SELDOM_MS, log, (signal) => store.forget(signal)),
  ];
  return async () => { await Promise.all(stops.map((stop) => stop())); };
}
