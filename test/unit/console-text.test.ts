// What the console makes of other people's text, of moments, and of the address.
import { describe, expect, it } from 'vitest';
import { readAccess } from '../../client/console/access.ts';
import { ago, left } from '../../client/console/clock.ts';
import { readPlace, revokeFilters, writePlace, type Filter } from '../../client/console/place.ts';
import { shown, shownLines } from '../../client/console/text.ts';

describe('text', () => {
  it.each([
    ['a\u202Egnp.exe', 'a⟨U+202E⟩gnp.exe'], ['\u0007\u001B[31m', '␇␛[31m'], ['pay\u200Bpal', 'pay⟨U+200B⟩pal'], ['   ', '(blank)'], ['', ''], ['Übung עברית 日本', 'Übung עברית 日本'],
    ['👩‍💻', '👩‍💻'], ['a\u200Db', 'a⟨U+200D⟩b'], ['\u{E0041}', '⟨U+E0041⟩'], ['\u2028', '⟨U+2028⟩'], ['\u00AD', '⟨U+00AD⟩'], ['\uD800', '⟨U+D800⟩'],
  ])('%j is shown as %j', (text, seen) => expect(shown(text)).toBe(seen));

  it('of several lines keeps its lines', () => expect(shownLines('{\n  "a": "\u202E"\n}')).toBe('{\n  "a": "⟨U+202E⟩"\n}'));
});

describe('moments', () => {
  const at = Date.UTC(2026, 10, 23, 12), from = (ms: number) => new Date(at + ms).toISOString();
  it.each([[0, 'now'], [12_000, '12 s ago'], [299_000, '4 min ago'], [3 * 3_600_000, '3 h ago'], [3 * 86_400_000, '3 d ago']])('%i ms before: %s', (ms, words) => expect(ago(from(-ms), at)).toBe(words));
  it.each([[-1, 'expired'], [0, 'expired'], [59_000, '0:59'], [3_552_000, '59:12'], [11_040_000, '3 h 04 min'], [3 * 86_400_000, '3 d']])('in %i ms: %s', (ms, words) => expect(left(from(ms), at)).toBe(words));
});

describe('the address', () => {
  it.each(['#/', '#/a/sessions', '#/a/audit', '#/a/sessions?status=idle,expired&userId=x%26y&session=s', '#/a/sessions?lastActiveBefore=2026-11-23T12:00:00.000Z'])('%s is read and written alike', (hash) =>
    expect(writePlace(readPlace(hash))).toBe(hash));

  it('with nonsense in it is a place all the same', () => expect(readPlace('#/a/nowhere?status=x&lastActiveBefore=never&userId=')).toEqual({
    applicationId: 'a', view: 'sessions', filter: { statuses: ['active', 'idle', 'expired'] }, sessionId: undefined,
  }));
});

describe('what a revoke of the filtered is called with', () => {
  it.each<[Filter, object | undefined]>([
    [{ statuses: ['active', 'idle', 'expired'] }, {}],
    [{ statuses: ['active', 'idle', 'expired', 'disconnected'] }, {}],
    [{ statuses: ['disconnected'] }, undefined],
    [{ statuses: ['idle', 'disconnected'], userId: 'u' }, { derivedStatus: ['idle'], userId: 'u' }],
    [{ statuses: ['active', 'idle', 'expired'], hostname: 'h' }, { hostname: 'h' }],
  ])('%j: %j', (filter, filters) => expect(revokeFilters(filter)).toEqual(filters));
});

describe('a token', () => {
  const token = (claims: object) => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.y`;
  it('tells who, what and how long, and is taken with what was copied around it', () => {
    const { bearer, subject, scopes, expiresAt, applicationId } = readAccess(`  Authorization: Bearer ${token({ sub: 'ü', scope: 'a b', exp: 5, application_id: 'app' })}\n`, 'http://x');
    expect({ bearer, subject, scopes: [...scopes ?? []], expiresAt, applicationId }).toEqual({ bearer: token({ sub: 'ü', scope: 'a b', exp: 5, application_id: 'app' }), subject: 'ü', scopes: ['a', 'b'], expiresAt: 5_000, applicationId: 'app' });
  });
  it.each(['opaque', 'a.b.c', token([]), ''])('that tells nothing may be tried: %s', (text) => expect(readAccess(text, 'http://x').may('sessions:revoke')).toBe(true));
});
