// UUIDv7: the order of ids is the order of creation, whatever the clock does.
import { describe, expect, it } from 'vitest';
import { createdAt, createIds, firstId } from '../../server/store/id.ts';

const START = Date.UTC(2026, 0, 1);
const inOrder = (ids: string[]) => ids.every((id, index) => index === 0 || ids[index - 1]! < id);

describe('createIds', () => {
  it('makes UUIDs of version 7 that carry their moment', () => {
    const id = createIds()(START);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(createdAt(id)).toBe(START);
  });

  it('keeps the order within a millisecond, for as many as there may be', () => {
    const next = createIds();
    const ids = Array.from({ length: 20_000 }, () => next(START));
    expect(inOrder(ids)).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    expect(createdAt(ids[3_000]!)).toBe(START);
    expect(createdAt(ids.at(-1)!)).toBeLessThan(START + 10);
  });

  it('keeps the order when the clock steps back, and takes the clock up again when it has caught up', () => {
    const next = createIds();
    const ids = [START, START + 5, START + 1, START - 3_600_000, START + 4, START + 5, START + 6, START + 1_000].map(next);
    expect(inOrder(ids)).toBe(true);
    expect(ids.map((id) => createdAt(id) - START)).toEqual([0, 5, 5, 5, 5, 5, 6, 1_000]);
  });

  it('keeps the order from one millisecond to the next after one that ran over', () => {
    const next = createIds();
    const ids = Array.from({ length: 5_000 }, () => next(START));
    ids.push(next(START + 1), next(START + 2));
    expect(inOrder(ids)).toBe(true);
  });

  it('does not make the same ids twice in two processes', () => {
    const [one, two] = [createIds(), createIds()];
    const ids = Array.from({ length: 1_000 }, () => [one(START), two(START)]).flat();
    expect(new Set(ids).size).toBe(2_000);
  });
});

describe('firstId', () => {
  it('lies between what was made before and what is made from then on', () => {
    const next = createIds();
    const [before, then] = [next(START - 1), next(START)];
    expect(inOrder([before, firstId(START), then])).toBe(true);
    expect(firstId(-1)).toBe('00000000-0000-7000-8000-000000000000');
  });
});
