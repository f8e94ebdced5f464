// Many open streams and one revoke-all, on a server process of its own: the promises about it, at three times their bound.
import { expect, it } from 'vitest';
import { measureStreams } from '../bench/streams.ts';

it('tells 1,000 open streams of a revoke-all within 2 s, bounds what others feel, and gives the memory back', async () => {
  const measured = await measureStreams(1_000, 4);
  console.log(measured);
  expect(measured.disconnectedCount).toBe(1_000);
  expect(measured.last).toBeLessThan(3 * 2_000);
  expect(measured.duringP99).toBeLessThan(3 * 500);
  expect(measured.rss.open - measured.rss.before).toBeLessThan(3 * 40);
  const [, second, , fourth] = measured.rss.after;
  expect(fourth).toBeLessThan(second! * 1.25);
}, 120_000);
