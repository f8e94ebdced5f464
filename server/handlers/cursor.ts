// Opaque cursors: the last id, and a hash of what the list was asked for, so that one list's cursor is refused by another.
import { createHash } from 'node:crypto';
import { Problem } from '../problem.ts';

/** @param list whose list it is and with which filters; everything but `limit` and `cursor`. */
const fingerprint = (list: readonly unknown[]): string => createHash('sha256').update(JSON.stringify(list)).digest('base64url').slice(0, 16);

export function encodeCursor(last: string | undefined, list: readonly unknown[]): { nextCursor?: string } {
  return last === undefined ? {} : { nextCursor: Buffer.from(JSON.stringify([last, fingerprint(list)])).toString('base64url') };
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws Problem invalid-cursor, for one that was made up, cut, or made by another list. */
export function decodeCursor(cursor: string | undefined, list: readonly unknown[], form: RegExp = UUID): string | undefined {
  if (cursor === undefined) return undefined;
  try {
    const [last, print, ...rest] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]; // anything else throws below
    if (typeof last === 'string' && form.test(last) && print === fingerprint(list) && rest.length === 0) return last;
  } catch { /* refused below */ }
  throw new Problem('invalid-cursor', {
    detail: 'Start again without a cursor, or repeat the filters the cursor was made with.',
    errors: [{ pointer: '/query/cursor', detail: 'does not belong to this list' }],
  });
}
