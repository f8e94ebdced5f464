// Conformance: connecting, external ids, reading one session, ending one.
import { describe, expect, it } from 'vitest';
import { createdAt } from '../../../server/store/id.ts';
import { bed, credential, HOUR, MINUTE, newSession, SECOND, statuses, times, unknownId, type Open } from './bed.ts';

export function connecting(open: Open): void {
  describe('connect', () => {
    const t = bed(open);

    it('makes a connected session of the current generation, which is there at once', async () => {
      const connected = await t.store.connect(t.tenant, newSession({ tokenExpiresAt: t.clock.now() + HOUR }));
      expect(connected).toMatchObject({ outcome: 'created', generation: 1, session: {
        generation: 1, disconnectReason: null, disconnectedAt: null, connectedAt: t.clock.now(), lastActiveAt: null, tokenExpiresAt: t.clock.now() + HOUR } });
      if (connected?.outcome !== 'created') throw new Error('unreachable');
      expect(await t.get(connected.session)).toEqual(connected.session);
      expect(createdAt(connected.session.id)).toBe(t.clock.now());
    });

    it('keeps what never changes as the members of a JSON object, in every alphabet', async () => {
      const clientInfo = { name: '"quoted" \\ 🦆', title: 'Entenhausen', nested: { list: [1, null, 'é'] } };
      const { facts } = await t.connect({ name: 'Über', userId: 'u', externalId: 'x', hostname: 'h', userAgent: null, clientInfo });
      expect(JSON.parse(`{${facts}}`)).toEqual({
        name: 'Über', agentId: t.tenant.applicationId, organizationId: t.tenant.organizationId, hostname: 'h', userAgent: null, clientInfo,
        createdAt: new Date(t.clock.now()).toISOString(), userId: 'u', externalId: 'x',
      });
    });

    it('makes another session every time where there is no external id', async () => {
      const [a, b] = [await t.connect(), await t.connect()];
      expect(await t.ids()).toEqual([b.id, a.id]);
    });

    it('answers undefined for an application that is not there', async () => {
      expect(await t.store.connect({ ...t.tenant, applicationId: unknownId() }, newSession())).toBeUndefined();
    });
  });

  describe('connect with an external id', () => {
    const t = bed(open);
    const again = (fields = {}) => t.store.connect(t.tenant, newSession({ externalId: 'x', ...fields }));

    it('finds the live session, refreshes its token and credential and nothing else', async () => {
      const first = await t.connect({ externalId: 'x', name: 'Old', userId: 'u1', hostname: 'h1', clientInfo: { name: 'c1' }, tokenExpiresAt: t.clock.now() + HOUR, credential: credential('c-old') });
      await t.beat(first, { lastActiveAt: t.clock.now() });
      t.clock.advance(MINUTE);
      const found = await again({ name: 'New', userId: 'u2', hostname: 'h2', clientInfo: { name: 'c2' }, tokenExpiresAt: t.clock.now() + 2 * HOUR, credential: credential('c-new') });
      const expected = { ...first, lastActiveAt: t.clock.now() - MINUTE, tokenExpiresAt: t.clock.now() + 2 * HOUR };
      expect(found).toEqual({ outcome: 'found', generation: 1, session: expected });
      expect(await t.get(first)).toEqual(expected);
      expect(await t.ids({ userId: 'u1', hostname: 'h1', clientName: 'c1' })).toEqual([first.id]);
      expect(await t.ids({ userId: 'u2' })).toEqual([]);
      await t.revoke(first);
      expect(Object.keys(await t.denied())).toEqual(['c-new', 'c-old']);
    });

    it('keeps the token it had where none is given', async () => {
      const first = await t.connect({ externalId: 'x', tokenExpiresAt: t.clock.now() + HOUR });
      await again();
      expect((await t.get(first))?.tokenExpiresAt).toBe(first.tokenExpiresAt);
    });

    it('finds an expired session, which a new token makes active', async () => {
      const first = await t.connect({ externalId: 'x', tokenExpiresAt: t.clock.now() + MINUTE });
      await t.pass(MINUTE);
      expect(await t.state(first)).toBe('expired');
      expect(await again()).toMatchObject({ outcome: 'found', session: { id: first.id } });
      expect(await t.state(first)).toBe('expired');
      expect(await again({ tokenExpiresAt: t.clock.now() + HOUR })).toMatchObject({ outcome: 'found', session: { id: first.id } });
      expect(await t.state(first)).toBe('active');
      expect(await t.ids(statuses('active'))).toEqual([first.id]);
    });

    it('takes a token that has expired already', async () => {
      const first = await t.connect({ externalId: 'x', tokenExpiresAt: t.clock.now() + HOUR });
      await again({ tokenExpiresAt: t.clock.now() });
      expect(await t.state(first)).toBe('expired');
      expect(await t.ids(statuses('expired'))).toEqual([first.id]);
    });

    it('reconnects a lost session: connected now, and no longer disconnected', async () => {
      const first = await t.connect({ externalId: 'x' });
      await t.silence();
      expect(await t.state(first)).toBe('lost');
      expect(await again()).toEqual({ outcome: 'found', generation: 1, session: { ...first, connectedAt: t.clock.now() } });
      expect(await t.state(first)).toBe('active');
      expect(await t.revokeAll()).toBe(1);
    });

    for (const [how, finish] of Object.entries({
      'an end': (session: { id: string }) => t.end(session),
      'a revoke of this one': (session: { id: string }) => t.revoke(session),
      'a filtered revoke': () => t.revokeMatching({ userId: 'u' }),
      'a revoke-all that is not settled': () => t.revokeAll(),
      'a revoke-all that is settled': async () => { await t.revokeAll(); await t.settle(); },
      'an end after it was lost': async (session: { id: string }) => { await t.silence(); await t.end(session); },
      'a revoke-all after it was lost': async (session: { id: string }) => { await t.silence(); await t.revokeAll(); },
    })) {
      it(`makes a new session after ${how}`, async () => {
        const first = await t.connect({ externalId: 'x', userId: 'u' });
        await finish(first);
        const second = await again();
        expect(second).toMatchObject({ outcome: 'created' });
        expect(await again()).toMatchObject({ outcome: 'found' });
        await t.settle();
        const all = await t.list();
        expect(all.map(({ disconnectReason }) => disconnectReason)).toEqual([null, expect.stringMatching(/^(ended|revoked)$/)]);
      });
    }

    it('knows the owner of each: the same id of two owners is two sessions', async () => {
      const mine = await t.connect({ externalId: 'x', owner: 'alice' }), theirs = await t.connect({ externalId: 'x', owner: 'bob' }), backend = await t.connect({ externalId: 'x' });
      expect(new Set([mine.id, theirs.id, backend.id]).size).toBe(3);
      expect(await again({ owner: 'alice' })).toMatchObject({ outcome: 'found', session: { id: mine.id } });
    });

    it('is exact and case-sensitive', async () => {
      const first = await t.connect({ externalId: 'x' });
      expect((await t.connect({ externalId: 'X' })).id).not.toBe(first.id);
    });

    it('makes one session of many calls at once', async () => {
      const all = await Promise.all(Array.from({ length: 20 }, () => again()));
      expect(all.filter((connected) => connected?.outcome === 'created')).toHaveLength(1);
      expect(await t.ids()).toHaveLength(1);
    });
  });

  describe('getSession', () => {
    const t = bed(open);

    it('answers undefined for an id that is not there, and for one of another application', async () => {
      const other = await t.application();
      const elsewhere = await t.connect({}, other);
      expect(await t.get({ id: unknownId() })).toBeUndefined();
      expect(await t.get(elsewhere)).toBeUndefined();
      expect(await t.get(elsewhere, other)).toEqual(elsewhere);
    });

    it('is active until it has been idle for exactly so long, counted from the connection where nothing was done', async () => {
      const session = await t.connect();
      await t.pass(times.idleAfter - 1, [session]);
      expect(await t.state(session)).toBe('active');
      t.clock.advance(1);
      expect(await t.state(session)).toBe('idle');
    });

    it('is idle counted from the last activity where there was one', async () => {
      const session = await t.connect();
      t.clock.advance(MINUTE);
      await t.beat(session, { lastActiveAt: t.clock.now() });
      t.clock.advance(times.idleAfter - 1);
      expect(await t.state(session)).toBe('active');
      t.clock.advance(1);
      expect(await t.state(session)).toBe('idle');
    });

    it('is expired from exactly tokenExpiresAt, idle or not, and before anything was swept', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() + HOUR });
      t.clock.advance(HOUR - 1);
      expect(await t.state(session)).toBe('idle');
      t.clock.advance(1);
      expect(await t.state(session)).toBe('expired');
      await t.store.maintain();
      expect(await t.state(session)).toBe('expired');
    });

    it('is disconnected before it is expired', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() });
      await t.end(session);
      expect(await t.state(session)).toBe('ended');
      expect(await t.ids(statuses('expired'))).toEqual([]);
    });
  });

  describe('endSession', () => {
    const t = bed(open);

    it('ends a session for good, and answers it as it is then', async () => {
      const session = await t.connect();
      t.clock.advance(SECOND);
      const ended = { ...session, disconnectReason: 'ended', disconnectedAt: t.clock.now() };
      expect(await t.end(session)).toEqual(ended);
      t.clock.advance(SECOND);
      expect(await t.end(session)).toEqual(ended);
      expect(await t.beat(session)).toEqual({ accepted: 0, ended: [{ sessionId: session.id, reason: 'ended' }] });
      expect(await t.revoke(session)).toBe(0);
      expect(await t.get(session)).toEqual(ended);
    });

    it('keeps the activity that was not written yet', async () => {
      const session = await t.connect();
      t.clock.advance(SECOND);
      await t.beat(session, { lastActiveAt: t.clock.now() });
      await t.end(session);
      await t.store.flush();
      expect(await t.get(session)).toMatchObject({ lastActiveAt: t.clock.now() });
    });

    it('makes a lost session final, with the time it was lost', async () => {
      const session = await t.connect();
      await t.silence();
      const lost = await t.get(session);
      await t.end(session);
      expect(await t.get(session)).toEqual({ ...lost, disconnectReason: 'ended' });
      expect(await t.beat(session)).toEqual({ accepted: 0, ended: [{ sessionId: session.id, reason: 'ended' }] });
    });

    it('leaves a revoked session as it is, settled or not', async () => {
      const session = await t.connect();
      await t.revokeAll();
      const revoked = await t.get(session);
      expect(revoked).toMatchObject({ disconnectReason: 'revoked', disconnectedAt: t.clock.now() });
      t.clock.advance(SECOND);
      expect(await t.end(session)).toEqual(revoked);
      await t.settle();
      expect(await t.end(session)).toEqual(revoked);
    });

    it('leaves its credentials welcome', async () => {
      const session = await t.connect({ credential: credential('c') });
      await t.end(session);
      await t.revokeAll();
      await t.settle();
      expect(await t.denied()).toEqual({});
      expect(await t.admits('c')).toBe(true);
    });

    it('finds only what the owner owns', async () => {
      const session = await t.connect({ owner: 'alice' });
      expect(await t.store.endSession(t.tenant, 'bob', session.id)).toBeUndefined();
      expect(await t.store.endSession(t.tenant, '', session.id)).toBeUndefined();
      expect(await t.state(session)).toBe('active');
      expect(await t.store.endSession(t.tenant, 'alice', session.id)).toMatchObject({ disconnectReason: 'ended' });
      expect(await t.store.endSession(t.tenant, undefined, unknownId())).toBeUndefined();
    });
  });
}
