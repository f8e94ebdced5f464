// What goes on between requests: the store's duties, again and again, until stopped.
import type { Logger } from 'pino';
import type { EventHub } from './events.ts';
import type { Streams } from './sse.ts';
import type { Store, Survey } from './store/store.ts';

const OFTEN_MS = 1_000;
const SELDOM_MS = 60_000;
/** Looking over everything costs time in proportion to what there is: no more of it than one part in so many. */
const SURVEY_MS = 30_000, SURVEY_SHARE = 50;

/** How a duty is going. */
export interface Duty {
  /** By the monotonic clock: when it was last done to its end, or first begun. */
  doneAt: number;
  failure: unknown;
  failingSince: number | undefined;
}
export type DutyName = 'streams' | 'events' | 'maintain' | 'forget' | 'survey';

export interface Background {
  readonly duties: ReadonlyMap<DutyName, Duty>;
  /** Stops everything, after the batch in hand. */
  stop(): Promise<void>;
}

export interface BackgroundOptions {
  readonly store: Store;
  readonly hub: EventHub;
  readonly streams: Streams;
  readonly log: Logger;
  /** Told of each round, with what went wrong. */
  readonly onRound?: (duty: DutyName, failure: unknown) => void;
  /** Told from time to time what there is in the store; without it nobody looks. */
  readonly onSurvey?: ((survey: Survey) => void) | undefined;
}

export function startBackground({ store, hub, streams, log, onRound = () => {}, onSurvey }: BackgroundOptions): Background {
  const duties = new Map<DutyName, Duty>();

  /** Repeats a duty, each time after a pause; a failure is logged when it begins and when it is over. Answers how to stop. */
  function repeat(name: DutyName, pauseMs: number, work: (signal: AbortSignal) => Promise<void>, { share = 0, isLeft = false } = {}): () => Promise<void> {
    const stopped = new AbortController();
    const duty: Duty = { doneAt: performance.now(), failure: undefined, failingSince: undefined };
    duties.set(name, duty);
    let timer: NodeJS.Timeout | undefined;
    const round = async () => {
      const began = performance.now();
      try {
        await work(stopped.signal);
        if (duty.failure !== undefined) log.info({ duty: name }, 'background work goes on again');
        Object.assign(duty, { doneAt: performance.now(), failure: undefined, failingSince: undefined });
      } catch (err) {
        if (isLeft && stopped.signal.aborted) return; // the store was closed beneath it
        if (duty.failure === undefined) log.error({ duty: name, err }, 'background work failed; it is tried again');
        duty.failure = err ?? 'unknown';
        duty.failingSince ??= performance.now();
      }
      onRound(name, duty.failure);
      if (!stopped.signal.aborted) timer = setTimeout(() => { running = round(); }, Math.max(pauseMs, share * (performance.now() - began))).unref();
    };
    let running = round();
    return async () => {
      stopped.abort();
      clearTimeout(timer);
      if (!isLeft) await running;
    };
  }

  const stops = [
    repeat('streams', OFTEN_MS, async () => streams.tick(OFTEN_MS)),
    repeat('events', OFTEN_MS, () => hub.poll()),
    repeat('maintain', OFTEN_MS, (signal) => store.maintain(signal)),
    repeat('forget', SELDOM_MS, (signal) => store.forget(signal)),
    ...(onSurvey ? [repeat('survey', SURVEY_MS, async (signal) => {
      const survey = await store.survey(signal);
      if (!signal.aborted) onSurvey(survey);
    }, { share: SURVEY_SHARE, isLeft: true })] : []), // it only reads, and may count for half a minute
  ];
  return { duties, async stop() { await Promise.all(stops.map((stop) => stop())); } };
}
