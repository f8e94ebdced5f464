// Opaque positions: cursors of lists, with a hash of what the list was asked for so that another list refuses them, and ids of events.
import { createHash } from 'node:crypto';
import { Problem } from '../problem.ts';
import type { EventPosition } from '../store/store.ts';
import { UUID } from '../uuid.ts';

/** @param list whose list it is and with which filters; everything but `limit` and `cursor`. */
const fingerprint = (list: readonly unknown[]): string => createHash('sha256').update(JSON.stringify(list)).digest('base64url').slice(0, 16);

const encode = (last: string, list: readonly unknown[]): string => Buffer.from(JSON.stringify([last, fingerprint([last, ...list])])).toString('base64url');

export function encodeCursor(last: string | undefined, list: readonly unknown[]): { nextCursor?: string } {
  return last === undefined ? {} : { nextCursor: encode(last, list) };
}

/** @throws Problem invalid-cursor, for one that was made up, cut, or made by another list. */
export function decodeCursor(cursor: string | undefined, list: readonly unknown[], form: RegExp = UUID): string | undefined {
  if (cursor === undefined) return undefined;
  try {
    const [last] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]; // anything else throws below
    if (typeof last === 'string' && form.test(last) && cursor === encode(last, list)) return last;
  } catch { /* refused below */ }
  throw new Problem('invalid-cursor', {
    detail: 'Start again without a cursor, or repeat the filters the cursor was made with.',
    errors: [{ pointer: '/query/cursor', detail: 'does not belong to this list' }],
  });
}

/** An event's id: when, where in the log, and whose log. */
export function encodeEventId(at: number, { tx, seq }: EventPosition, applicationId: string): string {
  return [at, tx, seq].map((number) => number.toString(36)).join('.') + `.${applicationId.slice(-6)}`;
}

/** Undefined for an id that is malformed, of another application, or from before `oldest`. */
export function decodeEventId(id: string, applicationId: string, oldest: number): EventPosition | undefined {
  const [, at, tx, seq, whose] = /^([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([0-9a-f]{6})$/.exec(id) ?? [];
  if (at === undefined || tx === undefined || seq === undefined || whose !== applicationId.slice(-6)) return undefined;
  return parseInt(at, 36) >= oldest ? { tx: parseInt(tx, 36), seq: parseInt(seq, 36) } : undefined;
}
