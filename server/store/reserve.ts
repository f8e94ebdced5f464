// Room kept back on the embedded database's disk, so that a revoke can still be written when there is no other.
import { randomBytes } from 'node:crypto';
import { statSync, truncateSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

/** A revoke-all writes some 50 KB, a filtered revoke some 2 KB for each session. */
export const RESERVE_BYTES = 8 * 1024 * 1024;
const PART_BYTES = 1024 * 1024;
/** So much must be left beside it before others write again: a disk that is just full is not full and free by turns. */
const MARGIN_BYTES = 2 * 1024 * 1024;

export interface Reserve {
  /** Gives a part of the room up to whoever writes next: whoever filled the disk may be faster. False when there is none left. */
  release(): boolean;
  /** Takes as much of the room as there is. True when that is all of it, and some is left. */
  restore(): Promise<boolean>;
}

export function reserveIn(directory: string): Reserve {
  const path = join(directory, 'rollcall.reserve');
  return {
    release() {
      try {
        const { size } = statSync(path);
        truncateSync(path, Math.max(0, size - PART_BYTES));
        return size > 0;
      } catch {
        return false; // there is no such file, or the disk is broken: what the write itself said is what matters
      }
    },
    async restore() {
      const file = await open(path, 'a', 0o600);
      try {
        const some = randomBytes(256 * 1024); // what a file system could compress would take no room
        for (let { size } = await file.stat(); size < RESERVE_BYTES + MARGIN_BYTES;) {
          size += (await file.write(some, 0, Math.min(some.length, RESERVE_BYTES + MARGIN_BYTES - size))).bytesWritten;
        }
        await file.truncate(RESERVE_BYTES);
        return true;
      } catch (error) {
        if (['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) return false; // the file system throws nothing else
        throw error;
      } finally {
        await file.close();
      }
    },
  };
}
