// Conformance: lists, their filters and their paging, and counts.
import { describe, expect, it } from 'vitest';
import { connectedStatuses, derivedStatus, everyStatus, wantedStatuses, type DerivedStatus, type Session } from '../../../server/session.ts';
import { abortedAfter, actor, bed, everyPage, HOUR, MINUTE, SECOND, statuses, times, type Bed, type Open } from './bed.ts';

/** One session in every state there is. */
async function oneOfEach(t: Bed) {
  const connect = async (name: string, tokenExpiresAt: number | null = null) => t.connect({ clientInfo: { name }, tokenExpiresAt });
  const unsettled = await connect('unsettled'), unsettledLost = await connect('unsettledLost'), lostLong = await t.connect();
  await t.silence([unsettled, lostLong]);
  await t.end(lostLong);
  await t.revokeAll();
  const lost = await connect('lost');
  const idle = await connect('idle'), expired = await connect('expired', t.clock.now() + MINUTE);
  await t.pass(times.idleAfter, [idle, expired]);
  const [late, ended, revoked, active] = [await connect('late', t.clock.now() + SECOND), await connect('ended'), await connect('revoked'), await connect('active')];
  await t.end(ended);
  await t.revoke(revoked);
  t.clock.advance(SECOND); // `late` has expired and nobody has noticed
  return { unsettled, unsettledLost, lostLong, lost, idle, expired, late, ended, revoked, active };
}

export function listing(open: Open): void {
  describe('pageSessions by status', () => {
    const t = bed(open);

    it('finds every combination of derived statuses, newest first, settled or not', async () => {
      const all = await oneOfEach(t);
      const kinds: Record<DerivedStatus, Session[]> = {
        active: [all.active], idle: [all.idle], expired: [all.expired, all.late],
        disconnected: [all.unsettled, all.unsettledLost, all.lostLong, all.lost, all.ended, all.revoked],
      };
      for (const round of ['as it is', 'settled']) {
        for (let mask = 1; mask < 16; mask++) {
          const wanted = ([...everyStatus]).filter((_, bit) => mask & 1 << bit);
          const expected = wanted.flatMap((status) => kinds[status]).map(({ id }) => id).sort().reverse();
          for (const limit of [1, 3, 100]) {
            const found = await t.list({ statuses: new Set(wanted) }, { limit });
            expect(found.map(({ id }) => id), `${round}: ${wanted.join()} by ${limit}`).toEqual(expected);
            for (const session of found) {
              expect(session).toEqual(await t.get(session));
              expect(kinds[derivedStatus(session, t.clock.now(), times.idleAfter)].some(({ id }) => id === session.id)).toBe(true);
            }
          }
        }
        await t.settle();
      }
    });

    it('shows why and since when each is disconnected', async () => {
      const all = await oneOfEach(t);
      const revokedAt = all.lost.connectedAt;
      for (const _ of ['as it is', 'settled']) {
        expect(await t.get(all.unsettled)).toMatchObject({ disconnectReason: 'revoked', disconnectedAt: revokedAt });
        expect(await t.get(all.unsettledLost)).toMatchObject({ disconnectReason: 'revoked' });
        expect((await t.get(all.unsettledLost))!.disconnectedAt).toBeLessThan(revokedAt);
        expect(await t.state(all.lost)).toBe('lost');
        expect(await t.state(all.lostLong)).toBe('ended');
        await t.settle();
      }
    });

    it('takes status and includeInactive as the reference has them', async () => {
      const all = await oneOfEach(t);
      const names = async (query: Parameters<typeof wantedStatuses>[0]) => (await t.list({ statuses: wantedStatuses(query) })).length;
      expect(await names({})).toBe(2);
      expect(await names({ includeInactive: true })).toBe(Object.keys(all).length);
      expect(await names({ status: 'inactive' })).toBe(8);
      expect(await names({ status: 'active', includeInactive: true })).toBe(2);
      expect(await names({ derivedStatus: ['expired'], status: 'active' })).toBe(2);
    });

    it('walks what several revoke-alls have ended before any of it is settled', async () => {
      const ended: string[] = [];
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 30; i++) ended.push((await t.connect({ tokenExpiresAt: i % 3 ? null : t.clock.now(), hostname: `h${i % 2}` })).id);
        await t.store.maintain();
        expect(await t.revokeAll()).toBe(30);
      }
      const live = await t.connect();
      const [inactive, expected] = [statuses('expired', 'disconnected'), ended.reverse()];
      for (const limit of [1, 7, 1_000]) {
        expect((await t.list(inactive, { limit })).map(({ id }) => id)).toEqual(expected);
        expect((await t.list({}, { limit })).map(({ id }) => id)).toEqual([live.id, ...expected]);
        expect(await t.list({ ...inactive, hostname: 'h1' }, { limit })).toHaveLength(60);
      }
      expect(await t.ids(statuses('active', 'idle', 'expired'))).toEqual([live.id]);
    });
  });

  describe('pageSessions by filter', () => {
    const t = bed(open);

    it('is exact, case-sensitive, and all of it must hold', async () => {
      const made = new Map<string, string>();
      for (const userId of ['u', 'U']) for (const hostname of ['h', 'h2']) for (const name of ['c', 'c ']) {
        made.set([userId, hostname, name].join(), (await t.connect({ userId, hostname, clientInfo: { name } })).id);
      }
      await t.connect();
      const found = async (filter: Parameters<typeof t.ids>[0]) => (await t.ids(filter)).length;
      expect(await found({ userId: 'u' })).toBe(4);
      expect(await found({ hostname: 'h' })).toBe(4);
      expect(await found({ clientName: 'c' })).toBe(4);
      expect(await found({ userId: 'u', hostname: 'h' })).toBe(2);
      expect(await found({ userId: 'u', clientName: 'c' })).toBe(2);
      expect(await t.ids({ userId: 'U', hostname: 'h2', clientName: 'c ' })).toEqual([made.get('U,h2,c ')]);
      expect(await found({ userId: 'u', hostname: 'nowhere' })).toBe(0);
      expect(await found({ userId: "u' or '1'='1" })).toBe(0);
    });

    it('combines with every status, also right after a revoke-all', async () => {
      const live = await t.connect({ userId: 'u', tokenExpiresAt: t.clock.now() + HOUR }), other = await t.connect({ userId: 'v' });
      expect(await t.ids({ userId: 'u', ...statuses('active') })).toEqual([live.id]);
      expect(await t.ids({ userId: 'u', ...statuses('idle', 'expired', 'disconnected') })).toEqual([]);
      t.clock.advance(HOUR);
      expect(await t.ids({ userId: 'u', ...statuses('expired') })).toEqual([live.id]);
      await t.revokeAll();
      expect(await t.ids({ userId: 'u', ...statuses('disconnected') })).toEqual([live.id]);
      expect(await t.ids({ userId: 'u' })).toEqual([live.id]);
      expect(await t.ids({ userId: 'v', statuses: connectedStatuses })).toEqual([]);
      expect(await t.ids({ userId: 'v' })).toEqual([other.id]);
    });

    it('compares lastActiveBefore with the last activity, else with the connection; the moment itself is not before it', async () => {
      const quiet = await t.connect();
      t.clock.advance(MINUTE);
      const busy = await t.connect();
      t.clock.advance(MINUTE);
      const at = t.clock.now();
      await t.beat(busy, { lastActiveAt: at });
      const before = (lastActiveBefore: number) => t.ids({ lastActiveBefore });
      expect(await before(quiet.connectedAt)).toEqual([]);
      expect(await before(quiet.connectedAt + 1)).toEqual([quiet.id]);
      expect(await before(at)).toEqual([quiet.id]);
      expect(await before(at + 1)).toEqual([busy.id, quiet.id]);
      await t.store.flush();
      expect(await before(at)).toEqual([quiet.id]);
    });
  });

  describe('pageSessions by pages', () => {
    const t = bed(open);

    it('ends with a page that has no next, also where the limit divides the number', async () => {
      for (let i = 0; i < 4; i++) await t.connect();
      const first = await t.store.pageSessions(t.tenant, { statuses: everyStatus }, { after: undefined, limit: 2 });
      const second = await t.store.pageSessions(t.tenant, { statuses: everyStatus }, { after: first!.next, limit: 2 });
      expect([first!.items.length, second!.items.length, second!.next]).toEqual([2, 2, undefined]);
      expect(await t.store.pageSessions(t.tenant, { statuses: statuses('expired').statuses }, { after: undefined, limit: 2 })).toEqual({ items: [], next: undefined });
    });

    it('may change its limit from page to page', async () => {
      const ids: string[] = [];
      for (let i = 0; i < 30; i++) ids.unshift((await t.connect()).id);
      const seen: string[] = [];
      let after: string | undefined, limit = 1;
      do {
        const page = await t.store.pageSessions(t.tenant, { statuses: everyStatus }, { after, limit: limit++ });
        seen.push(...page!.items.map(({ id }) => id));
        after = page!.next;
      } while (after);
      expect(seen).toEqual(ids);
    });

    it('finds the few among the many, by short pages if need be', async () => {
      const rare: string[] = [];
      for (let i = 0; i < 3; i++) {
        const few = await t.connect({ hostname: 'h' });
        rare.unshift(few.id);
        await t.beat(few, { lastActiveAt: t.clock.now() - HOUR });
        await Promise.all(Array.from({ length: 2_000 }, () => t.connect({ hostname: 'h' })));
      }
      for (const limit of [1, 2, 500]) {
        expect((await t.list({ lastActiveBefore: t.clock.now() - MINUTE }, { limit })).map(({ id }) => id)).toEqual(rare);
      }
    });

    it('shows what matched throughout exactly once, while others come, go, expire, are lost and settle', async () => {
      const steady: string[] = [], wavering: Session[] = [];
      for (let i = 0; i < 1_000; i++) {
        if (i === 300 || i === 600) await t.revokeAll(); // a third is unsettled in two generations
        const session = await t.connect({ tokenExpiresAt: i % 3 === 1 ? t.clock.now() + 20 * SECOND : null, userId: 'u' });
        if (i >= 600 && i % 2) wavering.push(session);
        else steady.unshift(session.id);
      }
      const walks = Object.fromEntries(([['all', {}], ['all of a user', { userId: 'u' }], ['disconnected', statuses('disconnected')], ['inactive', statuses('expired', 'disconnected')]] as const).map(([name, filter]) =>
        [name, { filter: { statuses: everyStatus, ...filter }, seen: [] as string[], after: undefined as string | undefined, done: false }]));
      const matchesThroughout = { all: steady, 'all of a user': steady, disconnected: steady.slice(-600), inactive: steady.slice(-600) };
      for (let step = 0; Object.values(walks).some(({ done }) => !done); step++) {
        for (const walk of Object.values(walks)) {
          if (walk.done) continue;
          const page = await t.store.pageSessions(t.tenant, walk.filter, { after: walk.after, limit: 13 });
          walk.seen.push(...page!.items.map(({ id }) => id));
          walk.after = page!.next;
          walk.done = walk.after === undefined;
        }
        await t.connect();
        const changing = wavering[step * 3 % wavering.length]!;
        await (step % 2 ? t.end(changing) : t.revoke(changing));
        if (step === 3) {
          await t.store.settleRevocations(t.tenant.applicationId, abortedAfter(3)); // two batches of six
          expect((await t.store.survey()).oldestDueAt).toBeDefined();
        }
        if (step > 6) await t.pass(2 * SECOND); // expires, settles and, late in the walk, loses
      }
      for (const [name, { seen }] of Object.entries(walks)) {
        expect(new Set(seen).size, `${name}: nothing twice`).toBe(seen.length);
        const once = new Set(seen);
        expect(matchesThroughout[name as keyof typeof matchesThroughout].filter((id) => !once.has(id)), `${name}: nothing missed`).toEqual([]);
      }
    });

    it('lists what hundreds of revoke-alls have ended and nobody has settled', async () => {
      const made: { id: string; userId: string }[] = [];
      for (let i = 0; i < 260; i++) {
        const userId = `u${i % 3}`;
        made.unshift({ id: (await t.connect({ userId, hostname: 'h' })).id, userId });
        await t.revokeAll();
      }
      const live = await t.connect({ userId: 'u1', hostname: 'h' });
      const over = made.map(({ id }) => id), users = made.filter(({ userId }) => userId === 'u1').map(({ id }) => id);
      expect(await t.ids()).toEqual([live.id, ...over]);
      expect(await t.ids(statuses('disconnected'))).toEqual(over);
      expect((await t.list({ hostname: 'h', userId: 'u1' }, { limit: 7 })).map(({ id }) => id)).toEqual([live.id, ...users]);
      expect((await t.list({ userId: 'u1', ...statuses('expired', 'disconnected') }, { limit: 7 })).map(({ id }) => id)).toEqual(users);
      expect(await t.ids({ userId: 'u1', lastActiveBefore: t.clock.now() })).toEqual([]);
      expect(await t.ids({ userId: 'u1', lastActiveBefore: t.clock.now() + 1 })).toEqual([live.id, ...users]);
      expect(await t.ids({ userId: 'nobody' })).toEqual([]);
    });
  });

  describe('listApplications', () => {
    const t = bed(open);

    it('lists the organization\'s, newest first, page by page', async () => {
      const made = [t.tenant.applicationId];
      for (let i = 0; i < 5; i++) made.unshift((await t.application()).applicationId);
      await t.application('org_other');
      const ids = async (limit: number) => (await everyPage((page) => t.store.listApplications(t.tenant.organizationId, undefined, page), limit)).map(({ id }) => id);
      expect(await ids(1)).toEqual(made);
      expect(await ids(4)).toEqual(made);
      expect((await t.store.listApplications(t.tenant.organizationId, made[2], { after: undefined, limit: 10 })).items.map(({ id }) => id)).toEqual([made[2]]);
      expect((await t.store.listApplications('org_none', undefined, { after: undefined, limit: 10 })).items).toEqual([]);
    });
  });

  describe('survey', () => {
    const t = bed(open);

    it('counts what all applications have together, but for deleted ones', async () => {
      await oneOfEach(t);
      await t.store.flush();
      const [other, gone] = [await t.application('org_other'), await t.application()];
      for (let i = 0; i < 3; i++) await t.connect({}, other);
      await t.connect({}, gone);
      await t.store.deleteApplication(gone, actor);
      const here = (await t.store.countSessions(t.tenant))!.byDerivedStatus;
      const before = (await t.store.survey()).byDerivedStatus;
      expect(before).toMatchObject({ idle: here.idle, expired: here.expired, disconnected: here.disconnected });
      expect(before.active).toBe(here.active + 3);
    });

    it('knows since when something waits to be written down: a revoke-all, an expiry; and when nothing does', async () => {
      const due = async () => (await t.store.survey()).oldestDueAt;
      expect(await due()).toBeUndefined();
      const expiresAt = t.clock.now() + MINUTE;
      await t.connect({ tokenExpiresAt: expiresAt });
      expect(await due()).toBeUndefined();
      t.clock.advance(HOUR);
      expect(await due()).toBe(expiresAt);
      await t.connect();
      const revokedAt = t.clock.now();
      await t.revokeAll();
      t.clock.advance(MINUTE);
      expect(await due()).toBe(revokedAt); // its session is over, so its expiry is nothing to be noted any more
      await t.settle();
      expect(await due()).toBeUndefined();
    });

    it('has nothing to write down of a revoke-all that ended nothing, but of one that met a lost session', async () => {
      await t.end(await t.connect());
      await t.revokeAll();
      expect((await t.store.survey()).oldestDueAt).toBeUndefined();
      await t.connect();
      await t.silence();
      await t.revokeAll();
      expect((await t.store.survey()).oldestDueAt).toBe(t.clock.now());
    });
  });

  describe('countSessions', () => {
    const t = bed(open);

    it('counts by derived status and by client name, as the list does', async () => {
      await oneOfEach(t);
      await t.store.flush();
      expect(await t.store.countSessions(t.tenant)).toEqual({
        asOf: t.clock.now(),
        byDerivedStatus: { active: 1, idle: 1, expired: 2, disconnected: 6 },
        byClientName: { items: ['active', 'expired', 'idle', 'late'].map((clientName) => ({ clientName, count: 1 })), other: 0 },
      });
    });

    it('names the fifty most frequent clients, and those without a name as null', async () => {
      for (let i = 0; i < 60; i++) for (let n = 0; n < (i < 50 ? 2 : 1); n++) await t.connect({ clientInfo: i === 0 ? {} : { name: `c${i}` } });
      const counts = await t.store.countSessions(t.tenant);
      expect(counts!.byClientName.items).toHaveLength(50);
      expect(counts!.byClientName.items.every(({ count }) => count === 2)).toBe(true);
      expect(counts!.byClientName.items.filter(({ clientName }) => clientName === null)).toHaveLength(1);
      expect(counts!.byClientName.other).toBe(10);
    });

    it('is at most five seconds old, and sees a revoke-all at once', async () => {
      await t.connect();
      const active = async () => (await t.store.countSessions(t.tenant))!.byDerivedStatus.active;
      expect(await active()).toBe(1);
      await t.connect();
      t.clock.advance(5 * SECOND);
      expect(await active()).toBe(2);
      await t.revokeAll();
      expect((await t.store.countSessions(t.tenant))!.byDerivedStatus).toEqual({ active: 0, idle: 0, expired: 0, disconnected: 2 });
    });
  });
}
