// Conformance: heartbeats, activity, and the lease that ends the silent.
import { setImmediate as breathe } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { bed, beatOf, credential, HOUR, LATE, MINUTE, SECOND, statuses, times, unknownId, type Open } from './bed.ts';

export function beating(open: Open): void {
  describe('recordHeartbeats', () => {
    const t = bed(open);

    it('says of each session whether it is connected, and of those that are over, why', async () => {
      const [live, ended, revoked] = [await t.connect(), await t.connect(), await t.connect()];
      await t.end(ended);
      await t.revoke(revoked);
      const unknown = unknownId();
      expect(await t.store.recordHeartbeats(t.tenant, undefined, [live.id, ended.id, revoked.id, unknown].map((id) => beatOf(id)))).toEqual({
        accepted: 1, ended: [{ sessionId: ended.id, reason: 'ended' }, { sessionId: revoked.id, reason: 'revoked' }, { sessionId: unknown, reason: 'unknown' }] });
    });

    it.each(['plain', 'with a token'])('says `revoked` after a revoke-all, settled or not (%s)', async (kind) => {
      const session = await t.connect();
      const fields = kind === 'plain' ? {} : { tokenExpiresAt: t.clock.now() + HOUR };
      await t.revokeAll();
      const answer = { accepted: 0, ended: [{ sessionId: session.id, reason: 'revoked' }] };
      expect(await t.beat(session, fields)).toEqual(answer);
      await t.settle();
      expect(await t.beat(session, fields)).toEqual(answer);
      expect(await t.state(session)).toBe('revoked');
      expect(await t.ids(statuses('active', 'idle', 'expired'))).toEqual([]);
    });

    it('counts a session that is in the batch twice once', async () => {
      const [live, ended] = [await t.connect(), await t.connect()];
      await t.end(ended);
      expect(await t.store.recordHeartbeats(t.tenant, undefined, [beatOf(live.id), beatOf(ended.id), beatOf(live.id, { lastActiveAt: t.clock.now() }), beatOf(ended.id), beatOf(live.id, { tokenExpiresAt: t.clock.now() })]))
        .toEqual({ accepted: 1, ended: [{ sessionId: ended.id, reason: 'ended' }] });
    });

    it('takes a thousand, some of which carry tokens', async () => {
      const sessions = await Promise.all(Array.from({ length: 1_000 }, () => t.connect()));
      const result = await t.store.recordHeartbeats(t.tenant, undefined, sessions.map(({ id }, index) => beatOf(id, index % 2 ? { tokenExpiresAt: t.clock.now() + HOUR } : {})));
      expect(result).toEqual({ accepted: 1_000, ended: [] });
      expect((await t.list()).filter(({ tokenExpiresAt }) => tokenExpiresAt === t.clock.now() + HOUR)).toHaveLength(500);
    });

    it('does not find sessions of another application, and of another owner only where one is named', async () => {
      const other = await t.application();
      const elsewhere = await t.connect({}, other), mine = await t.connect({ owner: 'alice' });
      const reasonFor = async (owner: string | undefined, id: string) => (await t.store.recordHeartbeats(t.tenant, owner, [beatOf(id)]))?.ended[0]?.reason;
      expect(await reasonFor(undefined, elsewhere.id)).toBe('unknown');
      expect(await reasonFor('bob', mine.id)).toBe('unknown');
      expect(await reasonFor('alice', mine.id)).toBeUndefined();
      expect(await reasonFor(undefined, mine.id)).toBeUndefined();
    });

    it('does not find them where a token or a credential comes along either', async () => {
      const mine = await t.connect({ owner: 'alice' });
      const stolen = beatOf(mine.id, { tokenExpiresAt: t.clock.now() + HOUR, credential: credential('c') });
      expect(await t.store.recordHeartbeats(t.tenant, 'bob', [stolen])).toEqual({ accepted: 0, ended: [{ sessionId: mine.id, reason: 'unknown' }] });
      expect(await t.get(mine)).toEqual(mine);
    });

    it('says nothing about activity where lastActiveAt is absent', async () => {
      const session = await t.connect();
      await t.pass(times.idleAfter, [session]);
      await t.beat(session);
      expect(await t.state(session)).toBe('idle');
      expect(await t.get(session)).toEqual(session);
    });

    it('shows activity at once, while it is being written, and afterwards', async () => {
      const session = await t.connect();
      await t.pass(times.idleAfter, [session]);
      const active = t.clock.now() - SECOND;
      await t.beat(session, { lastActiveAt: active });
      let flushed = false;
      const flushing = t.store.flush().then(() => { flushed = true; });
      while (!flushed) {
        expect(await t.get(session)).toMatchObject({ lastActiveAt: active });
        await breathe();
      }
      await flushing;
      expect(await t.get(session)).toMatchObject({ lastActiveAt: active });
      expect(await t.ids(statuses('active'))).toEqual([session.id]);
    });

    it('clamps activity to now, and never moves it back', async () => {
      const session = await t.connect();
      t.clock.advance(MINUTE);
      const at = t.clock.now();
      const after = async (lastActiveAt: number) => {
        await t.beat(session, { lastActiveAt });
        const held = (await t.get(session))?.lastActiveAt;
        await t.store.flush();
        expect((await t.get(session))?.lastActiveAt).toBe(held);
        return held;
      };
      expect(await after(at - 10)).toBe(at - 10);
      expect(await after(at - 20)).toBe(at - 10);
      expect(await after(at + HOUR)).toBe(at);
      expect(await after(at - 1)).toBe(at);
      t.clock.advance(SECOND);
      expect(await after(at + 5)).toBe(at + 5);
    });

    it('gives a session a new token, which may bring it back from expired, or expire it', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() + MINUTE });
      await t.pass(MINUTE);
      expect(await t.state(session)).toBe('expired');
      expect(await t.beat(session)).toEqual({ accepted: 1, ended: [] });
      expect(await t.state(session)).toBe('expired');
      await t.beat(session, { tokenExpiresAt: t.clock.now() + HOUR });
      expect(await t.state(session)).toBe('active');
      await t.beat(session, { tokenExpiresAt: t.clock.now() });
      expect(await t.state(session)).toBe('expired');
      expect(await t.ids(statuses('expired'))).toEqual([session.id]);
    });

    it('takes the last of several tokens and credentials of a session, in one batch or in several', async () => {
      const at = t.clock.now(), first = { tokenExpiresAt: at + HOUR, credential: credential('c', at + HOUR) }, second = { tokenExpiresAt: at + MINUTE, credential: credential('c', at + 2 * HOUR) };
      const [together, apart] = [await t.connect(first), await t.connect({ ...first, credential: credential('d', at + HOUR) })];
      await t.store.recordHeartbeats(t.tenant, undefined, [first, second, first].map((fields) => beatOf(together.id, fields)));
      for (const fields of [first, second, first]) await t.beat(apart, { ...fields, credential: credential('d', fields.credential.expiresAt) });
      expect([await t.get(together), await t.get(apart)]).toMatchObject([{ tokenExpiresAt: at + HOUR }, { tokenExpiresAt: at + HOUR }]);
      await t.revokeAll();
      expect(await t.denied()).toEqual({ c: at + HOUR, d: at + HOUR });
    });

    it('keeps activity through an end by lease and a reconnection', async () => {
      const session = await t.connect();
      t.clock.advance(SECOND);
      await t.beat(session, { lastActiveAt: t.clock.now() });
      const active = t.clock.now();
      await t.silence();
      expect(await t.get(session)).toMatchObject({ disconnectReason: 'lost', lastActiveAt: active });
      await t.beat(session);
      expect(await t.get(session)).toMatchObject({ disconnectReason: null, lastActiveAt: active });
    });
  });

  describe('the lease', () => {
    const t = bed(open);

    it('ends a silent session, not before the lease and at most ten seconds late', async () => {
      const session = await t.connect();
      await t.pass(times.lease);
      expect(await t.state(session)).toBe('active');
      await t.pass(LATE);
      expect(await t.state(session)).toBe('lost');
      const { disconnectedAt } = (await t.get(session))!;
      expect(disconnectedAt! - session.connectedAt).toBeGreaterThan(times.lease);
      expect(disconnectedAt! - session.connectedAt).toBeLessThanOrEqual(times.lease + LATE);
    });

    it('counts from the last beat', async () => {
      const session = await t.connect();
      await t.pass(MINUTE);
      await t.beat(session);
      await t.pass(times.lease);
      expect(await t.state(session)).toBe('active');
      await t.pass(LATE);
      expect(await t.state(session)).toBe('lost');
    });

    it('ends an expired one too', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() + SECOND });
      await t.silence();
      expect(await t.state(session)).toBe('lost');
    });

    it('spares those that beat, or whose stream does', async () => {
      const [one, two] = [await t.connect(), await t.connect()];
      for (let round = 0; round < 20; round++) {
        await t.pass(10 * SECOND, [one]);
        t.store.beat(t.tenant.applicationId, two.id);
      }
      expect([await t.state(one), await t.state(two)]).toEqual(['active', 'active']);
    });

    it('is soft: the next heartbeat reconnects the same session', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() + HOUR });
      await t.silence();
      expect(await t.beat(session)).toEqual({ accepted: 1, ended: [] });
      expect(await t.get(session)).toEqual({ ...session, connectedAt: t.clock.now() });
      expect(await t.revokeAll()).toBe(1);
    });

    it('reconnects a session whose token has expired as expired', async () => {
      const session = await t.connect({ tokenExpiresAt: t.clock.now() + HOUR });
      await t.silence();
      t.clock.advance(HOUR);
      await t.beat(session);
      expect(await t.state(session)).toBe('expired');
    });

    it('ends nobody for the silence of an outage: it counts from when the service was there again', async () => {
      const session = await t.connect();
      t.clock.advance(HOUR);
      await t.store.maintain();
      await t.pass(times.lease);
      expect(await t.state(session)).toBe('idle');
      await t.pass(LATE);
      expect(await t.state(session)).toBe('lost');
    });

    it('ends nobody who beats again after an outage', async () => {
      const session = await t.connect();
      t.clock.advance(HOUR);
      await t.pass(30 * SECOND);
      await t.pass(HOUR / 10, [session]);
      expect(await t.state(session)).toBe('idle');
    });

    it('ends nobody who beats while the others are being ended', async () => {
      const sessions = await Promise.all(Array.from({ length: 1_000 }, () => t.connect()));
      const [first, last] = [sessions[0]!, sessions.at(-1)!];
      await t.pass(times.lease);
      for (let lost = false; !lost;) {
        t.clock.advance(SECOND);
        let over = false;
        const maintaining = t.store.maintain().then(() => { over = true; });
        while (!over && !lost) {
          await breathe();
          lost = await t.state(first) === 'lost';
        }
        if (lost) expect(await t.beat(last)).toEqual({ accepted: 1, ended: [] });
        await maintaining;
      }
      await t.store.flush();
      expect(await t.get(last)).toEqual(last);
      expect(await t.ids(statuses('active'))).toEqual([last.id]);
      expect((await t.events()).filter((event) => 'sessionId' in event && event.sessionId === last.id).map(({ type }) => type)).toEqual(['session.connected']);
    });

    it('ends thousands in one round', async () => {
      const sessions = await Promise.all(Array.from({ length: 6_000 }, () => t.connect()));
      await t.pass(80 * SECOND);
      await t.beat(sessions[3_000]!);
      await t.pass(20 * SECOND);
      expect(await t.ids(statuses('active'))).toEqual([sessions[3_000]!.id]);
      expect(await t.revokeAll()).toBe(1);
    });

    it('does not end what a revoke-all has ended', async () => {
      const session = await t.connect();
      await t.revokeAll();
      const revoked = await t.get(session);
      await t.silence();
      expect(await t.get(session)).toEqual(revoked);
      expect((await t.events()).map(({ type }) => type)).toEqual(['session.connected', 'sessions.revoked']);
    });
  });
}
