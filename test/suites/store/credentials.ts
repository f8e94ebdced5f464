// Conformance: which credentials a revoke denies, until when, and how they are allowed again.
import { describe, expect, it } from 'vitest';
import { actor, bed, beatOf, credential, DAY, everyPage, HOUR, MINUTE, newSession, SECOND, times, type Open } from './bed.ts';

export function denying(open: Open): void {
  describe('the credentials of revoked sessions', () => {
    const t = bed(open);
    /** What ends a session for good and denies what it has used. */
    const revokes: Record<string, (session: { id: string }) => Promise<unknown>> = {
      'a revoke of one': (session) => t.revoke(session),
      'a revoke-all that is not settled': () => t.revokeAll(),
      'a revoke-all that is settled': async () => { await t.revokeAll(); await t.settle(); },
      'a filtered revoke': () => t.revokeMatching({ userId: 'u' }),
      'a revoke-all after it was lost': async () => { await t.silence(); await t.revokeAll(); },
      'a filtered revoke after it was lost': async () => { await t.silence(); await t.revokeMatching({ userId: 'u' }); },
      'a revoke of one after it was lost': async (session) => { await t.silence(); await t.revoke(session); },
    };

    for (const [how, revoke] of Object.entries(revokes)) {
      it(`are denied after ${how}: every one it has had, until each ends`, async () => {
        const start = t.clock.now();
        const session = await t.connect({ userId: 'u', externalId: 'x', credential: credential('c1', start + HOUR) });
        await t.beat(session, { credential: credential('c2', start + 2 * HOUR) });
        await t.store.connect(t.tenant, newSession({ externalId: 'x', credential: credential('c3', start + 3 * HOUR) }));
        expect(await t.denied()).toEqual({});
        await revoke(session);
        expect(await t.denied()).toEqual({ c1: start + HOUR, c2: start + 2 * HOUR, c3: start + 3 * HOUR });
        t.clock.set(start + HOUR - 1);
        expect(await t.admits('c1')).toBe(false);
        t.clock.set(start + HOUR);
        expect(await t.admits('c1')).toBe(true);
        expect([await t.admits('c2'), await t.admits('c3')]).toEqual([false, false]);
        expect(Object.keys(await t.denied())).toEqual(['c2', 'c3']);
      });

      it(`are denied after ${how} until the token expires where they have no end of their own, else for the retention`, async () => {
        const start = t.clock.now();
        const withToken = await t.connect({ userId: 'u', tokenExpiresAt: start + HOUR, credential: credential('c1') });
        const revokedAt = async () => (await t.get(withToken))!.disconnectReason === 'revoked' ? t.clock.now() : 0;
        const without = await t.connect({ userId: 'u', credential: credential('c2') });
        await revoke(withToken);
        if (how.startsWith('a revoke of one')) await t.revoke(without);
        expect(await t.denied()).toEqual({ c1: start + HOUR, c2: await revokedAt() + times.retention });
      });

      it(`are denied after ${how} until the latest end of the tokens they came with, whatever came after them`, async () => {
        const start = t.clock.now();
        const session = await t.connect({ userId: 'u', tokenExpiresAt: start + 2 * HOUR, credential: credential('long') });
        await t.beat(session, { tokenExpiresAt: start + HOUR, credential: credential('short') });
        await t.beat(session, { credential: credential('of the token that is there') });
        await revoke(session);
        expect(await t.denied()).toEqual({ long: start + 2 * HOUR, short: start + HOUR, 'of the token that is there': start + HOUR });
      });

      it(`are not denied after ${how} where they have expired`, async () => {
        const session = await t.connect({ userId: 'u', tokenExpiresAt: t.clock.now() + MINUTE, credential: credential('own', t.clock.now() + MINUTE) });
        await t.beat(session, { credential: credential('of the token') });
        await t.pass(MINUTE, [session]);
        await revoke(session);
        expect(await t.denied()).toEqual({});
        expect([await t.admits('own'), await t.admits('of the token')]).toEqual([true, true]);
      });

      it(`are welcome again after ${how} when they are allowed, and settling does not deny them again`, async () => {
        const session = await t.connect({ userId: 'u', credential: credential('c1') });
        await t.beat(session, { credential: credential('c2') });
        await revoke(session);
        expect(await t.store.allowCredential(t.tenant, 'c1', actor)).toBe(true);
        for (const _ of ['as it is', 'settled']) {
          expect(Object.keys(await t.denied())).toEqual(['c2']);
          expect(await t.store.allowCredential(t.tenant, 'c1', actor)).toBe(false);
          await t.settle();
        }
        expect(await t.admits('c1')).toBe(true);
        expect(await t.admits('c2')).toBe(false);
        expect(await t.state(session)).toBe('revoked');
      });
    }

    it('are denied whatever the external id', async () => {
      const session = await t.connect({ credential: credential('c') });
      const live = await t.connect({ externalId: 'x' });
      await t.revoke(session);
      for (const externalId of [undefined, 'x', 'new']) {
        expect(await t.store.connect(t.tenant, newSession({ externalId, credential: credential('c'), tokenExpiresAt: 1 }))).toEqual({ outcome: 'credential-revoked' });
      }
      expect(await t.get(live)).toEqual(live);
      expect(await t.ids()).toHaveLength(2);
    });

    it('end no other session with the same credential, and count none', async () => {
      const [one, other] = [await t.connect({ credential: credential('c') }), await t.connect({ credential: credential('c') })];
      expect(await t.revoke(one)).toBe(1);
      expect(await t.state(other)).toBe('active');
      expect(await t.beat(other)).toEqual({ accepted: 1, ended: [] });
      expect(await t.revokeAll()).toBe(1);
    });

    it('are denied until the latest of the ends they were given', async () => {
      const at = t.clock.now();
      const ends = [2, 3, 1].map((hours) => at + hours * HOUR);
      const [a, b] = [await t.connect({ credential: credential('c', ends[0]!) }), await t.connect({ credential: credential('c', ends[1]!) })];
      await t.connect({ credential: credential('c', ends[2]!) });
      await t.revoke(a);
      await t.revoke(b);
      expect(await t.denied()).toEqual({ c: at + 3 * HOUR });
      await t.revokeAll();
      expect(await t.denied()).toEqual({ c: at + 3 * HOUR });
      await t.settle();
      expect(await t.denied()).toEqual({ c: at + 3 * HOUR });
    });

    it('keep the end they had where a refresh gives none, and take a new one', async () => {
      const at = t.clock.now();
      const session = await t.connect({ credential: credential('c', at + HOUR) });
      await t.beat(session, { credential: credential('c') });
      expect(await t.revokeAll({ dryRun: true })).toBe(1);
      await t.beat(session, { credential: credential('c', at + 2 * HOUR) });
      await t.beat(session, { credential: credential('c') });
      await t.revoke(session);
      expect(await t.denied()).toEqual({ c: at + 2 * HOUR });
    });

    it('may each belong to a token that comes without one: they never end earlier than the longest', async () => {
      const at = t.clock.now();
      const session = await t.connect({ tokenExpiresAt: at + 2 * HOUR, credential: credential('c') });
      await t.beat(session, { tokenExpiresAt: at + HOUR });
      await t.connect({ externalId: 'x', tokenExpiresAt: at + HOUR, credential: credential('d') });
      await t.store.connect(t.tenant, newSession({ externalId: 'x', tokenExpiresAt: at + 3 * HOUR }));
      await t.revokeAll();
      expect(await t.denied()).toEqual({ c: at + 2 * HOUR, d: at + 3 * HOUR });
    });

    it('take the later end of a token that another came with before', async () => {
      const at = t.clock.now();
      const session = await t.connect();
      for (const [id, hours] of [['c', 1], ['d', 2], ['c', 1], ['c', 2], ['d', 1]] as const) await t.beat(session, { tokenExpiresAt: at + hours * HOUR, credential: credential(id) });
      await t.revoke(session);
      expect(await t.denied()).toEqual({ c: at + 2 * HOUR, d: at + 2 * HOUR });
    });

    it('are of one application only', async () => {
      const other = await t.application();
      await t.connect({ credential: credential('c') });
      await t.revokeAll();
      expect(await t.store.connect(other, newSession({ credential: credential('c') }))).toMatchObject({ outcome: 'created' });
    });

    it('are not denied where only the heartbeat of a session that is over brought them', async () => {
      const session = await t.connect();
      await t.revoke(session);
      await t.store.recordHeartbeats(t.tenant, undefined, [beatOf(session.id, { credential: credential('c') })]);
      expect(await t.admits('c')).toBe(true);
    });

    it('are allowed for a live session of the same credential as before: its own revoke denies it anew', async () => {
      const [one, other] = [await t.connect({ credential: credential('c') }), await t.connect({ credential: credential('c') })];
      await t.revoke(one);
      await t.store.allowCredential(t.tenant, 'c', actor);
      expect(await t.denied()).toEqual({});
      await t.revoke(other);
      expect(Object.keys(await t.denied())).toEqual(['c']);
    });
  });

  describe('listRevokedCredentials', () => {
    const t = bed(open);

    it('lists them in the order of their bytes, each once, page by page, unsettled and settled together', async () => {
      const names = ['a', 'Z', 'é', '\u{1f986}', '\uff5e', 'zz', '0', 'a b', 'a-b'];
      const order = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      for (const [index, name] of names.entries()) {
        const session = await t.connect({ credential: credential(name) });
        await t.connect({ credential: credential(name, t.clock.now() + DAY) });
        if (index % 3 === 0) await t.revoke(session);
        if (index % 3 === 1) await t.revokeAll();
        if (index === 4) await t.settle();
      }
      await t.revokeAll();
      for (const _ of ['as it is', 'settled']) {
        for (const limit of [1, 2, 100]) {
          expect((await everyPage((page) => t.store.listRevokedCredentials(t.tenant, page), limit)).map(({ credentialId }) => credentialId)).toEqual(order);
        }
        await t.settle();
      }
    });

    it('finds them all, with their ends, right after a revoke-all, while they settle, and afterwards', async () => {
      // Three sessions for each, of which the last ends last: the 2,000 rows that are read at once end in the middle of one.
      const end = t.clock.now() + HOUR, name = (i: number) => `c${String(i % 834).padStart(5, '0')}`;
      const sessions = await Promise.all(Array.from({ length: 2_502 }, (_, i) => t.connect({ credential: credential(name(i), end + i) })));
      for (const early of [17, 18]) await t.revoke(sessions[early]!);
      await t.revokeAll();
      const walk = () => everyPage((page) => t.store.listRevokedCredentials(t.tenant, page), 1_000);
      const expected = Array.from({ length: 834 }, (_, i) => ({ credentialId: name(i), deniedUntil: end + 2 * 834 + i }));
      expect(await walk()).toEqual(expected);
      const [during] = await Promise.all([walk(), t.settle()]);
      expect(during).toEqual(expected);
      expect(await walk()).toEqual(expected);
    });

    it('leaves out those whose end has come', async () => {
      await t.connect({ credential: credential('short', t.clock.now() + SECOND) });
      await t.connect({ credential: credential('long', t.clock.now() + HOUR) });
      await t.revokeAll();
      t.clock.advance(SECOND);
      expect(Object.keys(await t.denied())).toEqual(['long']);
      expect(await t.store.allowCredential(t.tenant, 'short', actor)).toBe(false);
    });
  });
}
