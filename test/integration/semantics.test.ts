// The reference API and lists through HTTP: whole answers for each derived status, filters, previews and cursors.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestService, type TestService } from '../support/service.ts';

const MINUTE = 60_000;

let test: TestService;
beforeAll(async () => { test = await startTestService({ env: { LEASE: '1h', IDLE_AFTER: '5m' } }); });
afterAll(() => test.close());

const connect = async (app: string, body?: object) => (await test.call('POST', `/applications/${app}/sessions`, { body })).body.session;
const idsOf = async (app: string, query: string): Promise<string[]> => {
  const { status, body } = await test.call('GET', `/applications/${app}/sessions${query}`);
  expect([query, status]).toEqual([query, 200]);
  return body.items.map(({ id }: { id: string }) => id);
};

/** One session of each derived status; the clock stands ten minutes after they connected. */
async function oneOfEach() {
  const app = await test.application(), start = test.clock.now();
  const at = (ms: number) => new Date(start + ms).toISOString();
  const disconnected = await connect(app, { name: 'Over' });
  const expired = await connect(app, { tokenExpiresAt: at(MINUTE), clientInfo: null, hostname: null, userAgent: null });
  const idle = await connect(app, { clientInfo: { name: 'cursor', version: '1.1.6' }, userAgent: 'Cursor/1.1.6', tokenExpiresAt: at(60 * MINUTE) });
  const active = await connect(app, { clientInfo: { name: 'claude-code', title: 'Claude Code', extra: { a: [1] } }, hostname: 'build-07', userAgent: 'claude-code/2', userId: 'ada', externalId: 'x:1', credentialId: 'grant', tokenExpiresAt: at(60 * MINUTE) });
  test.clock.advance(MINUTE);
  await test.call('POST', `/applications/${app}/sessions/${disconnected.id}/end`);
  test.clock.advance(8 * MINUTE);
  await test.call('POST', `/applications/${app}/heartbeats`, { body: { heartbeats: [{ sessionId: active.id, lastActiveAt: at(9 * MINUTE) }, { sessionId: expired.id }, { sessionId: idle.id }] } });
  test.clock.advance(MINUTE);
  const common = { agentId: app, organizationId: 'org_test', connectedAt: at(0), createdAt: at(0), hostname: null, userAgent: null, clientInfo: null };
  return {
    app, start,
    disconnected: { ...common, id: disconnected.id, name: 'Over', status: 'disconnected', derivedStatus: 'disconnected', disconnectReason: 'ended', disconnectedAt: at(MINUTE) },
    expired: { ...common, id: expired.id, name: 'Unknown client', status: 'active', derivedStatus: 'expired', tokenExpiresAt: at(MINUTE) },
    idle: { ...common, id: idle.id, name: 'cursor', status: 'active', derivedStatus: 'idle', tokenExpiresAt: at(60 * MINUTE), clientInfo: { name: 'cursor', version: '1.1.6' }, userAgent: 'Cursor/1.1.6' },
    active: {
      ...common, id: active.id, name: 'Claude Code on build-07', status: 'active', derivedStatus: 'active', tokenExpiresAt: at(60 * MINUTE), lastActiveAt: at(9 * MINUTE),
      clientInfo: { name: 'claude-code', title: 'Claude Code', extra: { a: [1] } }, hostname: 'build-07', userAgent: 'claude-code/2', userId: 'ada', externalId: 'x:1',
    },
  };
}

describe('a session of each derived status', () => {
  it('getSession answers it whole: what is not known is absent, and only hostname, userAgent and clientInfo are null', async () => {
    const { app, start: _, ...each } = await oneOfEach();
    for (const session of Object.values(each)) {
      const { status, body } = await test.call('GET', `/applications/${app}/sessions/${session.id}`);
      expect([status, body]).toEqual([200, { session }]);
      expect(Object.keys(body.session).sort()).toEqual(Object.keys(session).sort()); // toEqual forgives undefined
    }
  });

  it('listSessions answers them whole, newest first, with nextCursor only where there is more', async () => {
    const { app, active, idle, expired, disconnected } = await oneOfEach();
    expect((await test.call('GET', `/applications/${app}/sessions?status=all`)).body).toEqual({ items: [active, idle, expired, disconnected] });
    expect((await test.call('GET', `/applications/${app}/sessions?status=all&limit=3`)).body).toEqual({ items: [active, idle, expired], nextCursor: expect.stringMatching(/^[\w-]+$/) });
    expect((await test.call('GET', `/applications/${app}/sessions?limit=2`)).body).toEqual({ items: [active, idle] });
  });

  it('revokeSessions ends those that are connected, idle and expired ones included, once', async () => {
    const { app, active, idle, expired, disconnected } = await oneOfEach();
    expect((await test.call('DELETE', `/applications/${app}/sessions`)).body).toEqual({ success: true, disconnectedCount: 3 });
    expect((await test.call('DELETE', `/applications/${app}/sessions`)).body).toEqual({ success: true, disconnectedCount: 0 });
    const over = { status: 'disconnected', derivedStatus: 'disconnected', disconnectReason: 'revoked', disconnectedAt: new Date(test.clock.now()).toISOString() };
    expect((await test.call('GET', `/applications/${app}/sessions?status=all`)).body).toEqual({ items: [{ ...active, ...over }, { ...idle, ...over }, { ...expired, ...over }, disconnected] });
  });

  it('revokeSession ends one, and counts it once', async () => {
    const { app, expired, disconnected, active } = await oneOfEach();
    for (const [{ id }, count] of [[expired, 1], [expired, 0], [disconnected, 0]] as const) {
      expect((await test.call('DELETE', `/applications/${app}/sessions/${id}`)).body).toEqual({ success: true, disconnectedCount: count });
    }
    expect((await test.call('GET', `/applications/${app}/sessions/${disconnected.id}`)).body.session.disconnectReason).toBe('ended');
    expect(await idsOf(app, '?derivedStatus=active')).toEqual([active.id]);
  });

  it('getSessionCounts counts each', async () => {
    const { app } = await oneOfEach();
    await test.service.store.flush(); // as the background does every second
    expect((await test.call('GET', `/applications/${app}/session-counts`)).body).toEqual({
      asOf: new Date(test.clock.now()).toISOString(), byDerivedStatus: { active: 1, idle: 1, expired: 1, disconnected: 1 },
      byClientName: { items: expect.arrayContaining([{ clientName: 'claude-code', count: 1 }, { clientName: 'cursor', count: 1 }, { clientName: null, count: 1 }]), other: 0 },
    });
  });
});

describe('which sessions listSessions answers', () => {
  let each: Awaited<ReturnType<typeof oneOfEach>>;
  beforeAll(async () => { each = await oneOfEach(); });

  it.each([
    ['', 'active idle'], ['?includeInactive=false', 'active idle'], ['?includeInactive=true', 'active idle expired disconnected'],
    ['?status=active', 'active idle'], ['?status=inactive', 'expired disconnected'], ['?status=all', 'active idle expired disconnected'],
    ['?status=active&includeInactive=true', 'active idle'], ['?status=inactive&includeInactive=false', 'expired disconnected'], ['?status=all&includeInactive=false', 'active idle expired disconnected'],
    ['?derivedStatus=active', 'active'], ['?derivedStatus=idle', 'idle'], ['?derivedStatus=expired', 'expired'], ['?derivedStatus=disconnected', 'disconnected'],
    ['?derivedStatus=disconnected,active', 'active disconnected'], ['?derivedStatus=idle&status=inactive', 'idle'], ['?derivedStatus=expired&includeInactive=false&status=active', 'expired'],
    ['?userId=ada', 'active'], ['?userId=Ada', ''], ['?userId=ad', ''], ['?clientName=cursor', 'idle'], ['?clientName=Claude%20Code', ''], ['?hostname=build-07', 'active'], ['?hostname=BUILD-07', ''],
    ['?userId=ada&clientName=cursor', ''], ['?userId=ada&clientName=claude-code&hostname=build-07&derivedStatus=active', 'active'], ['?userId=null&status=all', ''], ['?clientName=null&status=all', ''],
  ])('%s: %s', async (query, names) => {
    const wanted = names.split(' ').filter(Boolean).map((name) => each[name as 'active'].id);
    expect(await idsOf(each.app, query)).toEqual(wanted);
  });

  it('lastActiveBefore compares the last activity, or else when it connected', async () => {
    const at = (ms: number) => `lastActiveBefore=${new Date(each.start + ms).toISOString()}`;
    expect(await idsOf(each.app, `?status=all&${at(0)}`)).toEqual([]);
    expect(await idsOf(each.app, `?status=all&${at(1)}`)).toEqual([each.idle.id, each.expired.id, each.disconnected.id]);
    expect(await idsOf(each.app, `?status=all&${at(9 * MINUTE)}`)).toHaveLength(3);
    expect(await idsOf(each.app, `?status=all&${at(9 * MINUTE + 1)}`)).toHaveLength(4);
  });
});

describe('revokeSessions with filters', () => {
  it.each(['', '?derivedStatus=idle', '?derivedStatus=expired,active', '?userId=ada', '?clientName=cursor', '?hostname=build-07', '?hostname=elsewhere', '?userId=ada&derivedStatus=idle', 'lastActiveBefore'])('%s: the dry run, the list and the effect agree', async (filter) => {
    const { app, start } = await oneOfEach();
    const query = filter === 'lastActiveBefore' ? `?lastActiveBefore=${new Date(start + MINUTE).toISOString()}` : filter;
    const also = (more: string) => query ? `${query}&${more}` : `?${more}`;
    const preview = await idsOf(app, query.includes('derivedStatus') ? query : also('derivedStatus=active,idle,expired'));
    expect((await test.call('DELETE', `/applications/${app}/sessions${also('dryRun=true')}`)).body).toEqual({ success: true, disconnectedCount: 0, matchedCount: preview.length });
    expect((await test.call('GET', `/applications/${app}/revocations`)).body).toEqual({ items: [] });
    const before = await idsOf(app, '?derivedStatus=active,idle,expired');
    expect(before).toHaveLength(3);
    expect((await test.call('DELETE', `/applications/${app}/sessions${query}`)).body).toEqual({ success: true, disconnectedCount: preview.length });
    expect(await idsOf(app, '?derivedStatus=active,idle,expired')).toEqual(before.filter((id) => !preview.includes(id)));
  });

  it.each(['', '&clientName=claude-code', '&dryRun=true', '&clientName=claude-code&dryRun=true'])('maxCount refuses what is more, with 409 and no effect: %s', async (more) => {
    const { app } = await oneOfEach();
    const matching = more.includes('clientName') ? 1 : 3;
    const { status, body } = await test.call('DELETE', `/applications/${app}/sessions?maxCount=${matching - 1}${more}`);
    expect([status, body.type, body.detail]).toEqual([409, '/docs/errors#revocation-too-large', `More than ${matching - 1} sessions match; nothing was revoked.`]);
    expect(await idsOf(app, '?derivedStatus=active,idle,expired')).toHaveLength(3);
    expect((await test.call('GET', `/applications/${app}/revocations`)).body.items).toEqual([]);
    expect((await test.call('DELETE', `/applications/${app}/sessions?maxCount=${matching}${more}`)).status).toBe(200);
  });
});

describe('cursors', () => {
  const cursorOf = async (path: string, token?: string): Promise<string> => (await test.call('GET', path, { token })).body.nextCursor;
  const refused = { status: 400, body: { type: '/docs/errors#invalid-cursor', errors: [{ pointer: '/query/cursor', detail: 'does not belong to this list' }] } };

  it('go on under the same filters, in any order and with another limit, and under no others', async () => {
    const { app, idle, expired, disconnected } = await oneOfEach(), other = await oneOfEach();
    const cursor = await cursorOf(`/applications/${app}/sessions?status=all&limit=1`);
    for (const query of ['status=all', 'status=all&limit=1000', 'includeInactive=true', 'derivedStatus=disconnected,active,expired,idle', 'includeInactive=true&status=all']) {
      expect(await idsOf(app, `?cursor=${cursor}&${query}`)).toEqual([idle.id, expired.id, disconnected.id]);
    }
    for (const query of ['', 'status=active', 'status=all&userId=ada', 'status=all&clientName=cursor', 'status=all&hostname=a', 'status=all&lastActiveBefore=2030-01-01T00:00:00Z', 'derivedStatus=active,idle,expired']) {
      expect(await test.call('GET', `/applications/${app}/sessions?cursor=${cursor}&${query}`), query).toMatchObject(refused);
    }
    for (const path of [`/applications/${other.app}/sessions?status=all`, `/applications/${app}/revocations?`, `/applications/${app}/revoked-credentials?`, '/applications?']) {
      expect(await test.call('GET', `${path}&cursor=${cursor}`.replace('?&', '?')), path).toMatchObject(refused);
    }
  });

  it('go on after the longest credential there can be', async () => {
    const app = await test.application();
    const credentials = ['\u{10ffff}', '"', '\\', '😀'].map((letter) => letter.repeat(255)).sort();
    for (const credentialId of credentials) await test.call('POST', `/applications/${app}/sessions`, { body: { credentialId } });
    await test.call('DELETE', `/applications/${app}/sessions`);
    const seen: string[] = [];
    for (let cursor = ''; ;) {
      const { status, body } = await test.call('GET', `/applications/${app}/revoked-credentials?limit=1${cursor}`);
      expect(status).toBe(200);
      seen.push(...body.items.map(({ credentialId }: { credentialId: string }) => credentialId));
      if (body.nextCursor === undefined) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    expect(seen.sort()).toEqual(credentials);
  });

  it('of one organization are refused to another', async () => {
    const [mine, theirs] = await Promise.all(['org_cursor_a', 'org_cursor_b'].map((organizationId) => test.token({ organizationId })));
    for (const token of [mine, mine, theirs, theirs]) await test.call('POST', '/applications', { token, body: { name: 'x' } });
    const cursor = await cursorOf('/applications?limit=1', mine);
    expect((await test.call('GET', `/applications?cursor=${cursor}`, { token: mine })).body.items).toHaveLength(1);
    expect(await test.call('GET', `/applications?cursor=${cursor}`, { token: theirs })).toMatchObject(refused);
  });

  it('that were altered anywhere, or cut, or made up, are refused', async () => {
    const { app } = await oneOfEach();
    const cursor = await cursorOf(`/applications/${app}/sessions?status=all&limit=1`);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const altered = [...cursor].flatMap((character, at) => [1, 32].map((by) => cursor.slice(0, at) + alphabet[(alphabet.indexOf(character) + by) % 64] + cursor.slice(at + 1)));
    const cut = Array.from(cursor, (_, length) => cursor.slice(0, length)).slice(1);
    const madeUp = ['W10', 'bnVsbA', 'MQ', '-', 'null', `${cursor}A`, `A${cursor}`, cursor + cursor, ...['[]', '{}', '[1,2]', '["x","y"]', `["' or 1=1 --",""]`].map((text) => Buffer.from(text).toString('base64url'))];
    for (const odd of [...altered, ...cut, ...madeUp]) expect(await test.call('GET', `/applications/${app}/sessions?status=all&cursor=${odd}`), odd).toMatchObject(refused);
  });

  it('page through a thousand sessions, each once, while others come and go', async () => {
    const app = await test.application();
    const made = new Set<string>();
    for (let batch = 0; batch < 20; batch++) {
      test.clock.advance(1);
      for (const { id } of await Promise.all(Array.from({ length: 50 }, () => connect(app)))) made.add(id);
    }
    const seen: string[] = [], ended = new Set<string>();
    let cursor = '';
    for (const limit of [1, 7, 100, 33, 250, 1000, 1000]) {
      const { body } = await test.call('GET', `/applications/${app}/sessions?limit=${limit}${cursor}`);
      seen.push(...body.items.map(({ id }: { id: string }) => id));
      for (let newcomer = 0; newcomer < 10; newcomer++) await connect(app);
      const leaver = [...made].find((id) => !seen.includes(id));
      if (leaver) { ended.add(leaver); await test.call('POST', `/applications/${app}/sessions/${leaver}/end`); }
      if (!body.nextCursor) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    expect(seen).toEqual([...new Set(seen)].sort().reverse());
    expect(new Set(seen)).toEqual(new Set([...made].filter((id) => !ended.has(id))));
  });
});

it('a credential whose token expires with the year 9999 is denied until then: a later moment could not be written', async () => {
  const own = await startTestService();
  try {
    const applicationId = await own.application(), ends = Date.UTC(9999, 11, 31, 23, 59, 59);
    const token = await own.token({ scopes: ['sessions:connect'], ttlMs: ends - own.clock.now() });
    const { session } = (await own.call('POST', `/applications/${applicationId}/sessions`, { token, body: {} })).body;
    await own.call('DELETE', `/applications/${applicationId}/sessions/${session.id}`);
    expect(await own.call('GET', `/applications/${applicationId}/revoked-credentials`)).toMatchObject({ status: 200, body: { items: [{ deniedUntil: '9999-12-31T23:59:59.999Z' }] } });
  } finally {
    await own.close();
  }
});
