// What SQLite's errors mean to the store.
import { StoreUnavailable } from './store.ts';

const BUSY = 5, LOCKED = 6, READONLY = 8, IOERR = 10, CORRUPT = 11, FULL = 13, CANTOPEN = 14, NOTADB = 26;
const damaged = new Set([CORRUPT, NOTADB]);
const unavailable = new Set([BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, ...damaged]);

/** SQLite's own code, less what extends it. */
const primaryCode = (error: unknown): number => ((error as { errcode?: number } | undefined)?.errcode ?? 0) & 0xff;
const isClosed = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ERR_INVALID_STATE';

export const isBusy = (error: unknown): boolean => primaryCode(error) === BUSY;
export const isDamage = (error: unknown): boolean => damaged.has(primaryCode(error));
/** The database's or the disk's, and not a mistake of ours. */
export const isTrouble = (error: unknown): boolean => unavailable.has(primaryCode(error));

export function asUnavailable(error: unknown): unknown {
  if (!isTrouble(error) && !isClosed(error)) return error;
  return new StoreUnavailable((error as Error).message, { cause: error, trouble: primaryCode(error) === FULL ? 'full' : isDamage(error) ? 'damaged' : 'away' });
}

/** A used-up quota is an input/output error to SQLite. */
export const isLackOfRoom = (error: unknown): boolean => error instanceof StoreUnavailable && [FULL, IOERR].includes(primaryCode(error.cause));
