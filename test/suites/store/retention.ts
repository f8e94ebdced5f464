// Conformance: what is forgotten, and when.
import { describe, expect, it } from 'vitest';
import { actor, bed, credential, DAY, everyPage, HOUR, SECOND, times, unknownId, type Open } from './bed.ts';

export function forgetting(open: Open): void {
  describe('forget', () => {
    const t = bed(open);

    it('forgets a disconnected session after the retention, counted from its end', async () => {
      const [ended, revoked, live] = [await t.connect(), await t.connect(), await t.connect()];
      t.clock.advance(HOUR);
      await t.end(ended);
      await t.revoke(revoked);
      t.clock.advance(times.retention);
      await t.store.forget();
      expect([await t.state(ended), await t.state(revoked)]).toEqual(['ended', 'revoked']);
      t.clock.advance(1);
      await t.store.forget();
      expect([await t.state(ended), await t.state(revoked), await t.state(live)]).toEqual(['absent', 'absent', 'idle']);
      expect(await t.ids()).toEqual([live.id]);
      expect(await t.beat(ended)).toEqual({ accepted: 0, ended: [{ sessionId: ended.id, reason: 'unknown' }] });
    });

    it('forgets the lost, and what a revoke-all has ended once it is settled', async () => {
      const lost = await t.connect();
      await t.silence();
      const revoked = await t.connect();
      await t.revokeAll();
      t.clock.advance(times.retention + 1);
      await t.store.forget();
      expect(await t.state(revoked)).toBe('revoked');
      await t.settle();
      await t.store.forget();
      expect([await t.state(lost), await t.state(revoked)]).toEqual(['absent', 'absent']);
    });

    it('does not forget the credentials of a lost session that a revoke-all has just ended', async () => {
      const end = t.clock.now() + 90 * DAY;
      await t.connect({ credential: credential('c', end) });
      await t.silence();
      t.clock.advance(times.retention);
      await t.revokeAll();
      await t.store.forget();
      expect(await t.denied()).toEqual({ c: end });
      await t.settle();
      await t.store.forget();
      expect(await t.denied()).toEqual({ c: end });
    });

    it('frees the external id of what it forgets', async () => {
      const lost = await t.connect({ externalId: 'x' });
      await t.silence();
      t.clock.advance(times.retention + 1);
      await t.store.forget();
      expect((await t.connect({ externalId: 'x' })).id).not.toBe(lost.id);
    });

    it('forgets more than a batch in one round', async () => {
      const sessions = await Promise.all(Array.from({ length: 700 }, (_, i) => t.connect({ userId: 'u', credential: credential(`c${i}`, t.clock.now() + HOUR) })));
      await t.revokeMatching({ userId: 'u' });
      expect(Object.keys(await t.denied())).toHaveLength(700);
      t.clock.advance(times.retention + 1);
      await t.store.forget();
      expect(await t.ids()).toEqual([]);
      expect(await t.events()).toEqual([]);
      t.clock.set(sessions[0]!.connectedAt); // what is not forgotten would be denied again
      expect(await t.denied()).toEqual({});
    });

    it('forgets the audit after its retention, but no revoke-all that is not settled', async () => {
      const session = await t.connect();
      for (let i = 0; i < 300; i++) await t.revoke(session);
      await t.connect();
      await t.revokeAll();
      const rows = async () => (await everyPage((page) => t.store.listRevocations(t.tenant, page))).length;
      t.clock.advance(times.auditRetention);
      await t.store.forget();
      expect(await rows()).toBe(301);
      t.clock.advance(SECOND);
      await t.store.forget();
      expect(await rows()).toBe(1);
      await t.settle();
      await t.store.forget();
      expect(await rows()).toBe(0);
    });

    it('forgets events after theirs', async () => {
      await t.connect();
      t.clock.advance(1);
      const second = await t.connect();
      t.clock.advance(times.eventRetention);
      await t.store.forget();
      expect(await t.events()).toMatchObject([{ type: 'session.connected', sessionId: second.id }]);
    });

    it('forgets the sessions of a deleted application at once', async () => {
      const session = await t.connect();
      await t.store.deleteApplication(t.tenant, actor);
      await t.store.maintain();
      await t.store.forget();
      expect((await t.events())[0]).toMatchObject({ type: 'session.connected', sessionId: session.id, session: undefined });
    });
  });

  describe('reopening', () => {
    const t = bed(open);

    it('finds everything as it was, and goes on settling', async () => {
      const one = await t.connect({ credential: credential('c') });
      await t.beat(one, { lastActiveAt: t.clock.now() });
      await t.revokeAll();
      const two = await t.connect({ externalId: 'x' });
      const before = [await t.list(), await t.denied(), await t.events()];
      await t.reopen();
      expect([await t.list(), await t.denied(), await t.events()]).toEqual(before);
      await t.store.maintain();
      expect([await t.list(), await t.denied()]).toEqual(before.slice(0, 2));
      expect(await t.connect({ externalId: 'x' })).toEqual(two);
      expect(await t.revokeAll()).toBe(1);
    });

    it('writes the beats in memory before it closes', async () => {
      const session = await t.connect();
      t.clock.advance(SECOND);
      await t.beat(session, { lastActiveAt: t.clock.now() });
      await t.reopen();
      expect(await t.get(session)).toMatchObject({ lastActiveAt: t.clock.now() });
    });
  });

  describe('onChange', () => {
    const t = bed(open);

    it('calls back with the application when something about it was committed, until stopped', async () => {
      const heard: string[] = [];
      const stop = t.store.onChange((applicationId) => heard.push(applicationId));
      const during = async (work: () => Promise<unknown>) => {
        heard.length = 0;
        await work();
        return [...new Set(heard)];
      };
      const id = t.tenant.applicationId;
      const session = await t.connect({ userId: 'u' });
      expect(heard).toEqual([id]);
      expect(await during(() => t.beat(session))).toEqual([]);
      expect(await during(() => t.beat(session, { tokenExpiresAt: t.clock.now() + HOUR }))).toEqual([id]);
      expect(await during(() => t.revokeMatching({ userId: 'u' }))).toEqual([id]);
      expect(await during(() => t.revokeAll({ dryRun: true }))).toEqual([]);
      expect(await during(() => t.revokeAll())).toEqual([id]);
      expect(await during(() => t.revoke({ id: unknownId() }))).toEqual([]);
      stop();
      expect(await during(() => t.connect())).toEqual([]);
    });
  });
}
