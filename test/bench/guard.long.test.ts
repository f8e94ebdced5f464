// Nobody makes the service twice as slow without noticing: the cost of four operations to bare Express in the same run, against what was recorded.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { measureGuarded, type Guarded } from './guard.ts';

const recorded = JSON.parse(readFileSync(new URL('guard.json', import.meta.url), 'utf8')) as Guarded; // as guard.ts writes it
const names = Object.keys(recorded) as (keyof Guarded)[];

describe('CPU time per request', () => {
  it('is for no operation twice of what was recorded', { timeout: 120_000 }, async () => {
    const measured = await measureGuarded();
    console.log(names.map((name) => `${name}: ${measured[name]}x of Express, recorded ${recorded[name]}x`).join('\n'));
    expect(names.filter((name) => measured[name] > 2 * recorded[name])).toEqual([]);
  });
});
