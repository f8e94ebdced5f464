// Conformance: revoking one, all, or what matches, and the audit of it.
import { setImmediate as breathe } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { connectedStatuses } from '../../../server/session.ts';
import { actor, bed, beatOf, credential, everyPage, HOUR, MINUTE, SECOND, statuses, times, unknownId, type Bed, type Open } from './bed.ts';

const audit = async (t: Bed) => everyPage((page) => t.store.listRevocations(t.tenant, page), 2);
/** Everything a revoke could leave behind. */
const traces = async (t: Bed) => JSON.stringify([await t.list(), await audit(t), await t.denied(), await t.events()]);

export function revoking(open: Open): void {
  describe('revokeSession', () => {
    const t = bed(open);

    it('ends one session for good, counts it once, and no other', async () => {
      const [one, other] = [await t.connect(), await t.connect()];
      t.clock.advance(SECOND);
      expect(await t.revoke(one)).toBe(1);
      expect(await t.revoke(one)).toBe(0);
      expect(await t.get(one)).toEqual({ ...one, disconnectReason: 'revoked', disconnectedAt: t.clock.now() });
      expect(await t.state(other)).toBe('active');
      expect(await t.revokeAll()).toBe(1);
    });

    it('counts an idle and an expired one', async () => {
      const idle = await t.connect(), expired = await t.connect({ tokenExpiresAt: t.clock.now() + SECOND });
      await t.pass(times.idleAfter, [idle, expired]);
      expect([await t.revoke(idle), await t.revoke(expired)]).toEqual([1, 1]);
    });

    it('makes a lost one final without counting it, and keeps when it was lost', async () => {
      const session = await t.connect();
      await t.silence();
      const lost = await t.get(session);
      t.clock.advance(MINUTE);
      expect(await t.revoke(session)).toBe(0);
      expect(await t.get(session)).toEqual({ ...lost, disconnectReason: 'revoked' });
      expect(await t.beat(session)).toEqual({ accepted: 0, ended: [{ sessionId: session.id, reason: 'revoked' }] });
    });

    it('counts nothing where a revoke-all was before', async () => {
      const session = await t.connect();
      expect(await t.revokeAll()).toBe(1);
      expect(await t.revoke(session)).toBe(0);
      await t.settle();
      expect(await t.revoke(session)).toBe(0);
    });

    it('answers undefined for an id that is not there', async () => {
      expect(await t.revoke({ id: unknownId() })).toBeUndefined();
      expect(await audit(t)).toEqual([]);
    });
  });

  describe('revokeAll', () => {
    const t = bed(open);

    it('ends all that are connected, idle and expired ones included, and counts them exactly', async () => {
      const idle = await t.connect(), expired = await t.connect({ tokenExpiresAt: t.clock.now() + SECOND });
      await t.pass(times.idleAfter, [idle, expired]);
      const late = await t.connect({ tokenExpiresAt: t.clock.now() }), active = await t.connect();
      await t.end(await t.connect());
      expect(await t.revokeAll()).toBe(4);
      expect(await t.revokeAll()).toBe(0);
      for (const session of [idle, expired, late, active]) {
        expect(await t.get(session)).toMatchObject({ disconnectReason: 'revoked', disconnectedAt: t.clock.now() });
      }
      expect(await t.ids({ statuses: connectedStatuses })).toEqual([]);
    });

    it('says when it was, settled long after or not', async () => {
      const session = await t.connect();
      await t.revokeAll();
      const revoked = await t.get(session);
      t.clock.advance(HOUR);
      expect(await t.get(session)).toEqual(revoked);
      await t.settle();
      expect(await t.get(session)).toEqual(revoked);
    });

    it('keeps activity that was not written yet', async () => {
      const session = await t.connect();
      t.clock.advance(SECOND);
      await t.beat(session, { lastActiveAt: t.clock.now() });
      await t.revokeAll();
      await Promise.all([t.store.flush(), t.settle()]);
      expect(await t.get(session)).toMatchObject({ disconnectReason: 'revoked', lastActiveAt: t.clock.now() });
    });

    it('leaves those who come afterwards', async () => {
      await t.connect();
      await t.revokeAll();
      const next = await t.connect();
      expect(next.generation).toBe(2);
      await t.settle();
      expect(await t.state(next)).toBe('active');
      expect(await t.revokeAll()).toBe(1);
    });

    it('makes the lost final without counting them', async () => {
      const lost = await t.connect();
      await t.silence();
      const before = await t.get(lost);
      expect(await t.revokeAll()).toBe(0);
      for (const _ of ['as it is', 'settled']) {
        expect(await t.get(lost)).toEqual({ ...before, disconnectReason: 'revoked' });
        expect(await t.beat(lost)).toEqual({ accepted: 0, ended: [{ sessionId: lost.id, reason: 'revoked' }] });
        await t.settle();
      }
    });

    it('refuses more than maxCount, and nothing changes then', async () => {
      for (let i = 0; i < 3; i++) await t.connect({ credential: credential(`c${i}`) });
      const before = await traces(t);
      expect(await t.revokeAll({ maxCount: 2 })).toBe('too-many');
      expect(await t.revokeAll({ maxCount: 2, dryRun: true })).toBe('too-many');
      expect(await traces(t)).toBe(before);
      expect(await t.revokeAll({ maxCount: 3 })).toBe(3);
    });

    it('counts and leaves nothing behind in a dry run', async () => {
      for (let i = 0; i < 3; i++) await t.connect({ credential: credential(`c${i}`) });
      const before = await traces(t);
      expect(await t.revokeAll({ dryRun: true })).toBe(3);
      expect(await traces(t)).toBe(before);
    });

    it('does not touch another application', async () => {
      const other = await t.application();
      const elsewhere = await t.connect({}, other);
      await t.connect();
      expect(await t.revokeAll()).toBe(1);
      expect(await t.state(elsewhere, other)).toBe('active');
    });

    it('leaves one event, whatever the number', async () => {
      for (let i = 0; i < 3; i++) await t.connect();
      await t.revokeAll();
      await t.settle();
      const events = (await t.events()).slice(3);
      expect(events).toMatchObject([{ type: 'sessions.revoked', generation: 1, count: 3, revocationId: (await audit(t))[0]!.id }]);
    });

    it('counts no session twice, and misses none, whatever runs beside it', async () => {
      let created = 0, over = 0;
      const sessions: { id: string }[] = [];
      const count = (ended: unknown) => { over += Number(ended ?? 0); };
      await Promise.all(Array.from({ length: 12 }, async (_, worker) => {
        for (let step = 0; step < 60; step++) {
          const choice = (worker * 7 + step * 13) % 12, known = sessions[step % (sessions.length || 1)];
          if (choice < 6) {
            sessions.push(await t.connect({ userId: `u${step % 3}` }));
            created++;
          } else if (choice < 8) count(known && await t.revoke(known));
          else if (choice < 9) count(await t.revokeAll());
          else if (choice < 11) count(await t.revokeMatching({ userId: `u${step % 3}` }));
          else await t.store.maintain();
        }
      }));
      expect((await t.ids({ statuses: connectedStatuses })).length).toBe(created - over);
      expect((await audit(t)).reduce((sum, { disconnectedCount }) => sum + disconnectedCount, 0)).toBe(over);
      expect(await t.revokeAll()).toBe(created - over);
    });
  });

  describe('revokeMatching', () => {
    const t = bed(open);

    it('ends what the list with the same filters shows', async () => {
      for (let i = 0; i < 24; i++) {
        await t.connect({ userId: `u${i % 2}`, hostname: `h${i % 3}`, clientInfo: { name: `c${i % 2}` }, tokenExpiresAt: i % 4 ? null : t.clock.now() });
        t.clock.advance(SECOND);
      }
      t.clock.advance(times.idleAfter - 6 * SECOND);
      const filters = [
        { userId: 'u0', hostname: 'h1' }, { clientName: 'c1', ...statuses('idle') }, statuses('expired'), { lastActiveBefore: t.clock.now() - times.idleAfter - 3 * SECOND },
        { userId: 'nobody' }, statuses('active'), { hostname: 'h2', ...statuses('idle', 'expired') },
      ];
      for (const filter of filters) {
        const expected = await t.ids({ statuses: connectedStatuses, ...filter });
        const others = (await t.ids({ statuses: connectedStatuses })).filter((id) => !expected.includes(id));
        expect(await t.revokeMatching(filter, { dryRun: true })).toBe(expected.length);
        expect(await t.revokeMatching(filter)).toBe(expected.length);
        expect(await t.ids({ statuses: connectedStatuses })).toEqual(others);
        for (const id of expected) expect(await t.get({ id })).toMatchObject({ disconnectReason: 'revoked', disconnectedAt: t.clock.now() });
        expect(await t.revokeMatching(filter)).toBe(0);
      }
    });

    it('ends more than a batch, and tells every one of them', async () => {
      const ids = await Promise.all(Array.from({ length: 600 }, async () => (await t.connect({ userId: 'u' })).id));
      const other = await t.connect();
      expect(await t.revokeMatching({ userId: 'u' })).toBe(600);
      expect(await t.ids({ statuses: connectedStatuses })).toEqual([other.id]);
      const told = (await t.events()).filter(({ type }) => type === 'session.disconnected');
      expect(told.map((event) => 'sessionId' in event && event.sessionId).sort()).toEqual(ids.sort());
      expect(told.every((event) => 'reason' in event && event.reason === 'revoked')).toBe(true);
    });

    it('makes the lost that match final without counting them, by what they would be if they came back', async () => {
      const make = (userId: string, tokenExpiresAt: number | null = null) => t.connect({ userId, tokenExpiresAt });
      const [mine, other, expired] = [await make('u'), await make('v'), await make('u', t.clock.now() + SECOND)];
      await t.silence();
      const before = await t.get(mine);
      expect(await t.revokeMatching({ userId: 'u', ...statuses('active') })).toBe(0);
      expect(await t.get(mine)).toEqual({ ...before, disconnectReason: 'revoked' });
      expect([await t.state(other), await t.state(expired)]).toEqual(['lost', 'lost']);
      expect(await t.revokeMatching({ userId: 'u', ...statuses('expired') })).toBe(0);
      expect([await t.state(other), await t.state(expired)]).toEqual(['lost', 'revoked']);
      expect(await t.beat(mine)).toEqual({ accepted: 0, ended: [{ sessionId: mine.id, reason: 'revoked' }] });
    });

    it('makes the lost that never reported activity final as idle, as they were, and as active, as they would come back', async () => {
      const [idle, active, old] = [await t.connect({ userId: 'idle' }), await t.connect({ userId: 'active' }), await t.connect({ userId: 'old' })];
      await t.silence();
      t.clock.advance(HOUR);
      await t.revokeMatching({ userId: 'idle', ...statuses('idle') });
      await t.revokeMatching({ userId: 'active', ...statuses('active') });
      await t.revokeMatching({ userId: 'old', lastActiveBefore: t.clock.now() });
      for (const session of [idle, active, old]) expect(await t.beat(session)).toEqual({ accepted: 0, ended: [{ sessionId: session.id, reason: 'revoked' }] });
    });

    it('does not let go of the lost in a dry run, or when it refuses', async () => {
      const lost = await t.connect({ userId: 'u' });
      await t.silence();
      await t.connect({ userId: 'u' });
      await t.revokeMatching({ userId: 'u' }, { dryRun: true });
      await t.revokeMatching({ userId: 'u' }, { maxCount: 0 });
      expect(await t.state(lost)).toBe('lost');
    });

    it('ends a lost session that comes back while it runs', async () => {
      const lost = await t.connect({ userId: 'u' });
      await t.silence();
      for (let i = 0; i < 300; i++) await t.connect({ userId: 'u' });
      t.clock.advance(1);
      const revoking = t.revokeMatching({ userId: 'u' });
      await t.beat(lost);
      const count = await revoking;
      const accepted = (await t.events()).some((event) => event.type === 'session.updated');
      expect(count).toBe(accepted ? 301 : 300);
      expect(await t.state(lost)).toBe('revoked');
    });

    it('refuses more than maxCount, and nothing changes then', async () => {
      for (let i = 0; i < 3; i++) await t.connect({ userId: 'u', credential: credential(`c${i}`) });
      const before = await traces(t);
      expect(await t.revokeMatching({ userId: 'u' }, { maxCount: 2 })).toBe('too-many');
      expect(await t.revokeMatching({ userId: 'u' }, { maxCount: 2, dryRun: true })).toBe('too-many');
      expect(await t.revokeMatching({ userId: 'u' }, { maxCount: 3, dryRun: true })).toBe(3);
      expect(await traces(t)).toBe(before);
      expect(await t.revokeMatching({ userId: 'u' }, { maxCount: 3 })).toBe(3);
    });

    it('leaves those who come while it runs', async () => {
      for (let i = 0; i < 600; i++) await t.connect({ userId: 'u' });
      const revoking = t.revokeMatching({ userId: 'u' });
      t.clock.advance(1);
      const late = await t.connect({ userId: 'u' });
      const count = await revoking;
      expect([count, await t.state(late)]).toEqual([600, 'active']);
    });

    it('counts none that a revoke-all beside it has counted', async () => {
      for (let i = 0; i < 1_000; i++) await t.connect({ userId: 'u' });
      const counts = await Promise.all([t.revokeMatching({ userId: 'u' }), (async () => {
        while ((await audit(t)).length === 0) await breathe();
        return t.revokeAll();
      })()]);
      expect(Number(counts[0]) + Number(counts[1])).toBe(1_000);
      expect(counts[1]).toBeGreaterThan(0);
      expect((await audit(t)).map(({ disconnectedCount }) => disconnectedCount)).toEqual(counts.reverse());
    });

    it('keeps activity that was not written yet', async () => {
      const session = await t.connect({ userId: 'u' });
      t.clock.advance(SECOND);
      await t.beat(session, { lastActiveAt: t.clock.now() });
      await t.revokeMatching({ userId: 'u' });
      await t.store.flush();
      expect(await t.get(session)).toMatchObject({ lastActiveAt: t.clock.now() });
    });
  });

  describe('listRevocations', () => {
    const t = bed(open);

    it('has a row for every revoke and every credential allowed again, newest first', async () => {
      const one = await t.connect({ userId: 'u', credential: credential('c') });
      await t.connect();
      await t.revoke(one);
      t.clock.advance(SECOND);
      await t.store.revokeMatching(t.tenant, { statuses: connectedStatuses, userId: 'u' }, { userId: 'u', derivedStatus: ['active'] }, {}, { subject: 'other', requestId: 'request-2' });
      await t.store.allowCredential(t.tenant, 'c', actor);
      await t.revokeAll();
      const row = { id: expect.any(String), createdAt: t.clock.now(), subject: 'operator', requestId: 'request-1', filter: {}, disconnectedCount: 0, state: 'done' };
      expect(await audit(t)).toEqual([
        { ...row, action: 'revokeSessions', disconnectedCount: 1 },
        { ...row, action: 'allowCredential', filter: { credentialId: 'c' } },
        { ...row, action: 'revokeSessions', subject: 'other', requestId: 'request-2', filter: { userId: 'u', derivedStatus: ['active'] } },
        { ...row, action: 'revokeSession', createdAt: t.clock.now() - SECOND, filter: { sessionId: one.id }, disconnectedCount: 1 },
      ]);
    });

    it('says `interrupted` of those whose process is gone before they were done, and repeating finishes them', async () => {
      await Promise.all(Array.from({ length: 1_000 }, () => t.connect({ userId: 'u' })));
      const revoking = t.revokeMatching({ userId: 'u' }).then(() => 'done', () => 'failed');
      while ((await audit(t)).length === 0) await breathe();
      await t.reopen(); // with the process goes the revoke
      expect(await revoking).toBe('failed');
      await t.store.interruptRevocations(t.clock.now()); // not those that were heard of just now
      expect((await audit(t))[0]?.state).toBe('running');
      await t.store.interruptRevocations(t.clock.now() + 1);
      const [{ state, disconnectedCount } = { state: '', disconnectedCount: NaN }] = await audit(t);
      expect(state).toBe('interrupted');
      expect(await t.revokeMatching({ userId: 'u' })).toBe(1_000 - disconnectedCount);
      await t.store.interruptRevocations(t.clock.now() + 1);
      expect((await audit(t)).map((row) => row.state).sort()).toEqual(['done', 'interrupted']);
    });
  });

  describe('deleteApplication', () => {
    const t = bed(open);

    it('revokes all, answers how many, and then finds nothing any more', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() });
      await t.connect();
      expect(await t.store.deleteApplication(t.tenant, actor)).toBe(2);
      expect((await t.events()).at(-1)).toMatchObject({ type: 'sessions.revoked', count: 2 });
      await everyVerb(t, session.id, undefined);
      expect((await t.store.listApplications(t.tenant.organizationId, undefined, { after: undefined, limit: 10 })).items).toEqual([]);
      await t.settle();
      await t.store.maintain();
      await t.store.forget();
    });
  });

  describe('tenancy', () => {
    const t = bed(open);

    it('answers undefined to every verb of another organization, of a token bound to another application, and for what was never made', async () => {
      const session = await t.connect();
      const other = await t.application();
      const before = await traces(t);
      for (const tenant of [
        { ...t.tenant, organizationId: 'org_other' },
        { ...t.tenant, boundTo: other.applicationId },
        { ...t.tenant, applicationId: unknownId() },
        { ...t.tenant, applicationId: unknownId(), boundTo: t.tenant.applicationId },
      ]) await everyVerb(t, session.id, tenant);
      expect(await traces(t)).toBe(before);
    });

    it('answers to a token that is bound to this application', async () => {
      const session = await t.connect();
      expect(await t.get(session, { ...t.tenant, boundTo: t.tenant.applicationId })).toEqual(session);
    });

    it('does not find a session under another application of the same organization', async () => {
      const session = await t.connect({ credential: credential('c') });
      const other = await t.application();
      expect(await t.store.revokeSession(other, session.id, actor)).toBeUndefined();
      expect(await t.store.endSession(other, undefined, session.id)).toBeUndefined();
      expect(await t.list({}, { tenant: other })).toEqual([]);
      await t.revokeAll();
      expect(await t.store.allowCredential(other, 'c', actor)).toBe(false);
      expect((await t.store.listRevokedCredentials(other, { after: undefined, limit: 10 }))?.items).toEqual([]);
      expect((await t.store.listRevocations(other, { after: undefined, limit: 10 }))?.items).toEqual([]);
    });
  });
}

async function everyVerb(t: Bed, sessionId: string, tenant = t.tenant): Promise<void> {
  const { store } = t, page = { after: undefined, limit: 10 }, filter = { statuses: connectedStatuses };
  const session = { name: 'n', userId: undefined, externalId: undefined, hostname: null, userAgent: null, clientInfo: null, credential: credential('c'), tokenExpiresAt: null, owner: '' };
  expect({
    get: await store.getApplication(tenant), connect: await store.connect(tenant, session), session: await store.getSession(tenant, sessionId),
    list: await store.pageSessions(tenant, filter, page), beat: await store.recordHeartbeats(tenant, undefined, [beatOf(sessionId)]),
    end: await store.endSession(tenant, undefined, sessionId), counts: await store.countSessions(tenant), revoke: await store.revokeSession(tenant, sessionId, actor),
    all: await store.revokeAll(tenant, {}, actor), matching: await store.revokeMatching(tenant, { ...filter, userId: 'u' }, {}, {}, actor),
    dry: await store.revokeAll(tenant, { dryRun: true }, actor), revocations: await store.listRevocations(tenant, page),
    credentials: await store.listRevokedCredentials(tenant, page), allow: await store.allowCredential(tenant, 'c', actor), delete: await store.deleteApplication(tenant, actor),
  }).toEqual({});
}
