// UUIDv7 (RFC 9562): the order of ids is the order of creation, also within a millisecond.
import { randomBytes } from 'node:crypto';

/**
 * Makes ids from a given time, because the store's clock and not the process's decides. The 12 bits after the time count up within
 * a millisecond (method 1 of section 6.2); where they run over, or time steps back, the last time is kept on counting.
 */
export function createIds(): (now: number) => string {
  let last = 0, count = 0;
  return (now) => {
    if (now > last) {
      last = now;
      count = randomBytes(2).readUInt16BE() & 0x3ff; // room to count: at least 3,072 in the same millisecond
    } else if (++count > 0xfff) {
      last++;
      count = 0;
    }
    const bytes = randomBytes(16);
    bytes.writeUIntBE(last, 0, 6);
    bytes.writeUInt16BE(0x7000 | count, 6);
    bytes[8] = 0x80 | (bytes[8]! & 0x3f);
    const hex = bytes.toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  };
}

/** The moment a UUIDv7 was made, in ms since the epoch. */
export const createdAt = (id: string): number => parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

/** Sorts before every UUIDv7 made at that moment or later, and after every one made before it. */
export const firstId = (ms: number): string => Math.max(0, ms).toString(16).padStart(12, '0').replace(/^(.{8})(.{4})$/, '$1-$2-7000-8000-000000000000');
