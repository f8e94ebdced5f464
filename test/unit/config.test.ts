// What the environment may say.
import { describe, expect, it } from 'vitest';
import { parseDuration, readConfig } from '../../server/config.ts';

describe('durations', () => {
  it.each([['250ms', 250], ['90s', 90_000], ['5m', 300_000], ['1h', 3_600_000], ['30d', 2_592_000_000], ['36500d', 3_153_600_000_000], ['876000h', 3_153_600_000_000]])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));
  it.each(['', '5', '5 m', '-5m', '1.5h', '1w', '5M', '36501d', '876001h', '99999999d', '9999999999ms'])('%j is none', (text) => expect(parseDuration(text)).toBeUndefined());

  it.each(['AUTH_STALE_KEYS', 'IDLE_AFTER', 'LEASE', 'RETENTION', 'EVENT_RETENTION', 'AUDIT_RETENTION'])('%s of ages is refused, in words that say what goes', (name) => {
    expect(() => readConfig({ [name]: '99999999d' })).toThrow(new RegExp(`^${name} must be a duration such as 90s, 5m, 1h or 30d, (at least 1s, )?at most 36500d \\(it is "99999999d"\\)$`));
    expect(readConfig({ [name]: '36500d' })[name as 'LEASE']).toBe(3_153_600_000_000);
  });
});
