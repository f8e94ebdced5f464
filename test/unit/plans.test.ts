// How SQLite means to run each of the store's statements: none may walk a whole application where it is about a few rows.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, vi } from 'vitest';
import { connectedStatuses, everyStatus, type DerivedStatus } from '../../server/session.ts';
import { createStore } from '../../server/store/index.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { beatOf, credential, newSession } from '../suites/store/bed.ts';
import { createClock } from '../support/service.ts';
import { actor, DAY, HOUR, ORGANIZATION, SECOND, times } from '../support/store-times.ts';

/** Steps of a plan that read everything, or everything of an application. */
const walksAll = (detail: string) => /^SCAN (?!json_each|pragma_|[vxlw]\b)/.test(detail) || /\(application_id=\?( AND tx>\?)?\)( LEFT-JOIN)?$/.test(detail);
/** They end at a limit, or read a partial index of what is few. */
const mayWalk = [
  /^with named as materialized/, // the counts, of few sessions
  /^select 1 as one from sessions where application_id = \?1 order by id limit 1 offset/,
  /^select e\.tx, e\.seq\b.* from events e .* limit 1$/,
  /^delete from events .* order by tx, seq limit \d+\) x where/,
  /^select 1 as one from revocations where .* state = 'running'/,
  /^update service set sweeper = null/, // one row
  /^delete from applications where id/, // asks whether there is a row
];

it('every statement finds what it is about by an index', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-plans-'));
  const prepared = vi.spyOn(DatabaseSync.prototype, 'prepare');
  try {
    await useEverything(directory);
    const texts = new Set(prepared.mock.calls.map(([text]) => text).filter((text) => /^(select|insert|update|delete|with)\b/.test(text)));
    prepared.mockRestore();
    expect(texts.size).toBeGreaterThan(60);
    const db = new DatabaseSync(join(directory, 'rollcall.db'));
    const walks = [...texts].filter((text) => !mayWalk.some((exception) => exception.test(text))).flatMap((text) =>
      db.prepare(`explain query plan ${text}`).all().map(({ detail }) => String(detail)).filter(walksAll).map((detail) => `${detail}: ${text}`));
    db.close();
    expect(walks).toEqual([]);
  } finally {
    prepared.mockRestore();
    rmSync(directory, { recursive: true });
  }
});

/** A short history in which every statement is used. */
async function useEverything(directory: string): Promise<void> {
  const clock = createClock();
  const store = createStore(openSqlite(directory), { ...times, now: clock.now });
  const { id: applicationId } = await store.createApplication(ORGANIZATION, 'Plans');
  const tenant = { organizationId: ORGANIZATION, applicationId, boundTo: undefined }, page = { after: undefined, limit: 10 };
  const connect = async (n: number) => {
    const connected = await store.connect(tenant, newSession({ externalId: `x${n}`, userId: 'u', hostname: 'h', clientInfo: { name: 'c' }, credential: credential(`c${n}`), tokenExpiresAt: clock.now() + HOUR }));
    return connected?.outcome === 'created' || connected?.outcome === 'found' ? connected.session.id : '';
  };
  const lists = async () => {
    for (let mask = 1; mask < 16; mask++) {
      const statuses = new Set<DerivedStatus>([...everyStatus].filter((_, bit) => mask & 1 << bit));
      for (const filter of [{}, { userId: 'u' }, { hostname: 'h' }, { clientName: 'c' }, { userId: 'u', hostname: 'h', clientName: 'c' }]) await store.pageSessions(tenant, { statuses, ...filter }, page);
    }
  };
  const [a, b, lost] = [await connect(1), await connect(2), await connect(3)];
  for (let second = 0; second < 110; second++) {
    clock.advance(SECOND);
    await store.recordHeartbeats(tenant, undefined, [beatOf(a, { lastActiveAt: clock.now() }), beatOf(b)]);
    await store.maintain();
  }
  await store.recordHeartbeats(tenant, 'owner', [beatOf(lost)]);
  await store.recordHeartbeats(tenant, undefined, [beatOf(a, { tokenExpiresAt: clock.now() + HOUR, credential: credential('c4') })]);
  await store.recordHeartbeats(tenant, undefined, [beatOf(a, { tokenExpiresAt: clock.now() + 2 * HOUR })]);
  await lists();
  await store.getSession(tenant, a);
  await store.endSession(tenant, undefined, b);
  await store.countSessions(tenant);
  await store.revokeSession(tenant, a, actor);
  await connect(5);
  await store.revokeMatching(tenant, { statuses: connectedStatuses, userId: 'u' }, {}, {}, actor);
  await connect(6);
  await store.revokeAll(tenant, {}, actor);
  await lists();
  for (let n = 0; n < 60; n++) {
    await connect(100 + n);
    await store.revokeAll(tenant, {}, actor); // so many that lists walk otherwise
  }
  await lists();
  await connect(7);
  await store.listRevokedCredentials(tenant, page);
  await store.allowCredential(tenant, 'c6', actor);
  await store.listRevocations(tenant, page);
  await store.listApplications(ORGANIZATION, undefined, page);
  await store.readEvents(applicationId, { tx: 0, seq: 0 }, 10);
  await store.newestEvent(applicationId);
  await store.interruptRevocations(clock.now());
  clock.advance(times.auditRetention + DAY);
  await store.maintain();
  await store.forget();
  await store.deleteApplication(tenant, actor);
  await store.forget();
  await store.close();
}
