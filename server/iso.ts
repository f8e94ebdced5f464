// A moment as text.

/** 9999-12-31T23:59:59.999Z: what is later is no date-time (RFC 3339). */
export const LAST_MOMENT = 253_402_300_799_999;

const DAY = 86_400_000;
const digits = (number: number, length: number): string => String(number).padStart(length, '0');
const minutes = Array.from({ length: 1_440 }, (_, minute) => `${digits(Math.floor(minute / 60), 2)}:${digits(minute % 60, 2)}:`);
const seconds = Array.from({ length: 60 }, (_, second) => digits(second, 2));
const thousandths = Array.from({ length: 1_000 }, (_, thousandth) => `.${digits(thousandth, 3)}Z`);
/** Some days, as `2026-11-23T`: a page of sessions has few, and a list of a hundred names three hundred moments. */
const days = new Map<number, string>();
const DAYS = 1_000;

function dayOf(day: number): string {
  let text = days.get(day);
  if (text === undefined) {
    if (days.size === DAYS) days.clear();
    days.set(day, text = new Date(day * DAY).toISOString().slice(0, -13));
  }
  return text;
}

/** As `Date.prototype.toISOString` writes it, in a fraction of its time, and of few pieces: an answer of many moments is put together of all of them. */
export function iso(ms: number): string {
  const day = Math.floor(ms / DAY), left = ms - day * DAY, second = Math.floor(left / 1_000);
  return dayOf(day) + minutes[Math.floor(second / 60)]! + (seconds[second % 60]! + thousandths[left % 1_000]!);
}
