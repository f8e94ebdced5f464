// The domain at its edges.
import { describe, expect, it } from 'vitest';
import { connectedStatuses, derivedStatus, displayName, everyStatus, lastSeenActive, laterActivity, matches, meansLost, statusIfConnected, wantedStatuses, type Session } from '../../server/session.ts';

const NOW = 1_000_000, IDLE = 1_000;
const session = (fields: Partial<Session> = {}): Session =>
  ({ id: 'id', generation: 1, disconnectReason: null, disconnectedAt: null, connectedAt: NOW, tokenExpiresAt: null, lastActiveAt: null, facts: '', ...fields });

describe('derivedStatus', () => {
  it.each([
    ['just connected', {}, 'active'],
    ['connected one ms too short to be idle', { connectedAt: NOW - IDLE + 1 }, 'active'],
    ['connected for exactly the idle time', { connectedAt: NOW - IDLE }, 'idle'],
    ['active since, one ms too short to be idle', { connectedAt: 0, lastActiveAt: NOW - IDLE + 1 }, 'active'],
    ['last active for exactly the idle time', { lastActiveAt: NOW - IDLE }, 'idle'],
    ['connected again after its last activity', { connectedAt: NOW, lastActiveAt: NOW - IDLE }, 'idle'],
    ['active in the first ms of time', { connectedAt: NOW, lastActiveAt: 0 }, 'idle'],
    ['with a token that expires in a ms', { tokenExpiresAt: NOW + 1 }, 'active'],
    ['with a token that expires now', { tokenExpiresAt: NOW }, 'expired'],
    ['with a token that expired at the beginning of time', { tokenExpiresAt: 0 }, 'expired'],
    ['idle and expired', { connectedAt: 0, tokenExpiresAt: NOW - 1 }, 'expired'],
    ['ended', { disconnectReason: 'ended', disconnectedAt: NOW }, 'disconnected'],
    ['lost, idle and expired', { disconnectReason: 'lost', connectedAt: 0, tokenExpiresAt: 0 }, 'disconnected'],
    ['revoked', { disconnectReason: 'revoked' }, 'disconnected'],
  ] as const)('of a session %s', (_, fields, expected) => {
    expect(derivedStatus(session(fields), NOW, IDLE)).toBe(expected);
  });

  it('is what it would be without the end, for those that are lost', () => {
    expect(statusIfConnected(session({ disconnectReason: 'lost' }), NOW, IDLE)).toBe('active');
    expect(statusIfConnected(session({ disconnectReason: 'lost', connectedAt: 0 }), NOW, IDLE)).toBe('idle');
    expect(statusIfConnected(session({ disconnectReason: 'lost', connectedAt: 0, tokenExpiresAt: NOW }), NOW, IDLE)).toBe('expired');
  });
});

describe('matches', () => {
  it.each([
    ['its status is wanted', {}, 'active', { statuses: everyStatus }, true],
    ['its status is not wanted', {}, 'disconnected', { statuses: connectedStatuses }, false],
    ['it was last active at the moment itself', { lastActiveAt: 5 }, 'active', { statuses: everyStatus, lastActiveBefore: 5 }, false],
    ['it was last active before', { lastActiveAt: 4 }, 'active', { statuses: everyStatus, lastActiveBefore: 5 }, true],
    ['it was never active and connected at the moment', { connectedAt: 5 }, 'active', { statuses: everyStatus, lastActiveBefore: 5 }, false],
    ['it was never active and connected before', { connectedAt: 4 }, 'active', { statuses: everyStatus, lastActiveBefore: 5 }, true],
    ['it was active before, and connected again after', { connectedAt: 9, lastActiveAt: 4 }, 'active', { statuses: everyStatus, lastActiveBefore: 5 }, true],
    ['nothing was before the beginning of time', { connectedAt: 0 }, 'active', { statuses: everyStatus, lastActiveBefore: 0 }, false],
    ['it was before, in a status that is not wanted', { connectedAt: 4 }, 'idle', { statuses: new Set(['active'] as const), lastActiveBefore: 5 }, false],
  ] as const)('where %s', (_, fields, status, filter, expected) => {
    expect(matches(session(fields), status, filter)).toBe(expected);
  });

  it('compares the last activity, else the connection', () => {
    expect(lastSeenActive(session({ connectedAt: 7, lastActiveAt: 0 }))).toBe(0);
    expect(lastSeenActive(session({ connectedAt: 7 }))).toBe(7);
  });
});

describe('meansLost', () => {
  const only = (...statuses: ('active' | 'idle' | 'expired')[]) => ({ statuses: new Set(statuses) });
  it.each([
    ['it never reported activity and connected long ago, of the idle ones', { connectedAt: 0 }, only('idle'), true],
    ['it never reported activity and connected long ago, of the active ones', { connectedAt: 0 }, only('active'), true],
    ['it was active long ago, of the active ones', { lastActiveAt: 0 }, only('active'), false],
    ['it was active long ago, of the idle ones', { lastActiveAt: 0 }, only('idle'), true],
    ['it was active just now, of the idle ones', { connectedAt: 0, lastActiveAt: NOW }, only('idle'), false],
    ['its token has expired, of the active and idle ones', { connectedAt: 0, tokenExpiresAt: NOW }, only('active', 'idle'), false],
    ['its token has expired, of the expired ones', { connectedAt: 0, tokenExpiresAt: NOW }, only('expired'), true],
    ['it connected before the moment', { connectedAt: 4 }, { ...only('active', 'idle'), lastActiveBefore: 5 }, true],
    ['it connected at the moment', { connectedAt: 5 }, { ...only('active', 'idle'), lastActiveBefore: 5 }, false],
  ] as const)('where %s', (_, fields, filter, expected) => {
    expect(meansLost(session({ disconnectReason: 'lost', ...fields }), NOW, IDLE, filter)).toBe(expected);
  });
});

describe('wantedStatuses', () => {
  const live = ['active', 'idle'], over = ['disconnected', 'expired'], all = ['active', 'disconnected', 'expired', 'idle'];
  it.each([
    [{}, live],
    [{ includeInactive: false }, live],
    [{ includeInactive: true }, all],
    [{ status: 'active' }, live],
    [{ status: 'inactive' }, over],
    [{ status: 'all' }, all],
    [{ status: 'active', includeInactive: true }, live],
    [{ status: 'inactive', includeInactive: false }, over],
    [{ status: 'all', includeInactive: false }, all],
    [{ derivedStatus: ['expired'] }, ['expired']],
    [{ derivedStatus: ['idle', 'disconnected'], status: 'active', includeInactive: true }, ['disconnected', 'idle']],
  ] as const)('of %j', (query, expected) => {
    expect([...wantedStatuses(query)].sort()).toEqual(expected);
  });
});

describe('displayName', () => {
  it.each([
    [{}, 'Unknown client'],
    [{ name: 'Given', hostname: 'box', clientInfo: { title: 'Title' } }, 'Given'],
    [{ clientInfo: { title: 'Title', name: 'name' } }, 'Title'],
    [{ clientInfo: { name: 'name' } }, 'name'],
    [{ clientInfo: {} }, 'Unknown client'],
    [{ clientInfo: null, hostname: null }, 'Unknown client'],
    [{ hostname: 'box' }, 'Unknown client on box'],
    [{ clientInfo: { name: 'name' }, hostname: 'box' }, 'name on box'],
    [{ clientInfo: { title: 'Title', name: 'name' }, hostname: 'box' }, 'Title on box'],
  ])('of %j', (given, expected) => {
    expect(displayName(given)).toBe(expected);
  });
});

describe('laterActivity', () => {
  it.each([
    ['nothing known, nothing reported', null, undefined, null],
    ['nothing known', null, 5, 5],
    ['nothing reported', 5, undefined, 5],
    ['later', 5, 6, 6],
    ['earlier', 5, 4, 5],
    ['in the future', 5, NOW + 1, NOW],
    ['now', null, NOW, NOW],
    ['in the future, with nothing known', null, NOW + 1, NOW],
  ] as const)('%s', (_, known, reported, expected) => {
    expect(laterActivity(known, reported, NOW)).toBe(expected);
  });
});
