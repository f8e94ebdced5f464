// Moments and spans in words. The server's clock counts: an operator's own may be wrong, and a countdown must not be.

let offset = 0;
const TOLERATED_MS = 10_000;

/** Now, by the server's clock as far as it is known. */
export const now = (): number => Date.now() + offset;

/** Takes the moment of an answer that is at most five seconds old. Small differences are that age, not the clock. */
export function learn(asOf: string): void {
  const difference = Date.parse(asOf) - Date.now();
  offset = Math.abs(difference) > TOLERATED_MS ? difference : 0;
}

const SECOND = 1_000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/** `now`, `12 s ago`, `4 min ago`, `3 h ago`, `2 d ago`. */
export function ago(moment: string | undefined, at = now()): string {
  if (moment === undefined) return '';
  const ms = at - Date.parse(moment);
  if (ms < 5 * SECOND) return 'now';
  return `${span(ms)} ago`;
}

export function span(ms: number): string {
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

/** What is left: `59:12`, `3 h 04 min`, `2 d`; `expired` when nothing is. */
export function left(moment: string | undefined, at = now()): string {
  if (moment === undefined) return '';
  const ms = Date.parse(moment) - at;
  if (ms <= 0) return 'expired';
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}:${two(ms % MINUTE / SECOND)}`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)} h ${two(ms % HOUR / MINUTE)} min`;
  return `${Math.floor(ms / DAY)} d`;
}

/** In the reader's own zone, to the second, and with its name: `2026-11-23 12:04:31 GMT+1`. */
export function absolute(moment: string | undefined): string {
  if (moment === undefined) return '';
  const parts = Object.fromEntries(format.formatToParts(Date.parse(moment)).map(({ type, value }) => [type, value]));
  return `${parts['year']}-${parts['month']}-${parts['day']} ${parts['hour']}:${parts['minute']}:${parts['second']} ${parts['timeZoneName']}`;
}

const format = new Intl.DateTimeFormat('en-GB', {
  year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'short',
});

/** Calls now and once a second while the page is looked at, and at once when it is again. */
export function everySecond(work: () => void, signal: AbortSignal): void {
  const tick = () => { if (!document.hidden) work(); };
  queueMicrotask(tick);
  const timer = setInterval(tick, SECOND);
  document.addEventListener('visibilitychange', tick, { signal });
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}
