// Moments as they are written in answers.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { iso } from '../../server/iso.ts';

const LAST = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z, the last that a token or a body can name
const FIRST = -62_135_596_800_000; // 0001-01-01T00:00:00.000Z

describe('iso', () => {
  it('writes every moment as Date does', () => {
    fc.assert(fc.property(fc.integer({ min: FIRST, max: LAST }), (ms) => { expect(iso(ms)).toBe(new Date(ms).toISOString()); }), { numRuns: 3_000 });
  });

  it.each([0, 1, -1, 86_399_999, 86_400_000, -86_400_000, FIRST, LAST])('at the edge %i', (ms) => expect(iso(ms)).toBe(new Date(ms).toISOString()));
});
