// Stores in this process as the subject of a history, and the bugs that can be planted in them to see that the checks find them.
import { setTimeout as wait } from 'node:timers/promises';
import type { Database, Queries, Statement, Transaction } from '../../server/store/database.ts';
import { createStore } from '../../server/store/index.ts';
import { openPostgres } from '../../server/store/postgres.ts';
import { StoreUnavailable, type EventPosition, type Store, type StoredEvent, type Tenant } from '../../server/store/store.ts';
import { connectedStatuses, everyStatus, type Session } from '../../server/session.ts';
import { beatOf, everyPage, newSession, times } from '../suites/store/bed.ts';
import type { Answered, Api, State } from './record.ts';
import type { Subject } from './run.ts';

const ORGANIZATION = 'org_history';
const tenantOf = (applicationId: string): Tenant => ({ organizationId: ORGANIZATION, applicationId, boundTo: undefined });
const stateOf = ({ disconnectReason }: Session): State => disconnectReason ?? 'active';

/** Answers as the server would, without HTTP. */
function apiOf(store: Store): Api {
  const answer = async <Body>(status: number, work: () => Promise<Body | undefined>): Promise<Answered<Body>> => {
    try {
      const body = await work();
      return body === undefined ? { status: 404 } : { status, body };
    } catch (error) {
      return error instanceof StoreUnavailable ? { status: 503, hasRetryAfter: true } : { status: 500 };
    }
  };
  return {
    create: (app, userId) => answer(201, async () => {
      const connected = await store.connect(tenantOf(app), newSession({ userId }));
      return connected?.outcome === 'created' ? { id: connected.session.id } : undefined;
    }),
    beat: (app, ids) => answer(200, async () => {
      const result = await store.recordHeartbeats(tenantOf(app), undefined, ids.map((id) => beatOf(id, { lastActiveAt: store.now() })));
      return result && { ended: result.ended.map(({ sessionId }) => sessionId) };
    }),
    end: (app, id) => answer(200, () => store.endSession(tenantOf(app), undefined, id)),
    revoke: (app, target, requestId) => answer(200, async () => {
      const actor = { subject: 'operator', requestId };
      if (target !== 'all' && 'sessionId' in target) {
        const count = await store.revokeSession(tenantOf(app), target.sessionId, actor);
        return count === undefined ? undefined : { count };
      }
      const revoked = target === 'all' ? await store.revokeAll(tenantOf(app), {}, actor)
        : await store.revokeMatching(tenantOf(app), { statuses: connectedStatuses, userId: target.userId }, { userId: target.userId }, {}, actor);
      return revoked?.outcome === 'done' ? { count: revoked.count } : undefined;
    }),
    list: (app) => answer(200, async () => {
      const items = await everyPage((page) => store.pageSessions(tenantOf(app), { statuses: everyStatus }, page), 1_000);
      return { items: items.map((session) => ({ id: session.id, state: stateOf(session) })) };
    }),
    get: (app, id) => answer(200, async () => {
      const session = await store.getSession(tenantOf(app), id);
      return session && { state: stateOf(session) };
    }),
    audit: (app) => answer(200, async () => {
      const items = await everyPage((page) => store.listRevocations(tenantOf(app), page), 1_000);
      return { items: items.map(({ id, requestId, disconnectedCount, action, filter }) => ({ id, requestId, count: disconnectedCount, isAll: action === 'revokeSessions' && Object.keys(filter).length === 0 })) };
    }),
  };
}

const toldOf = (event: StoredEvent) => ({
  id: `${event.position.tx}.${event.position.seq}`, type: event.type,
  ...('sessionId' in event && { sessionId: event.sessionId }), ...('revocationId' in event && { revocationId: event.revocationId }),
});

/** What is planted: in what talks to the database, or in the store. */
export interface Seed { database?(db: Database): Database; store?(store: Store): Store }

const rewrite = (db: Database, change: (text: string) => string): Database => {
  const changed = new Map<Statement, Statement>();
  const other = (statement: Statement) => {
    if (!changed.has(statement)) changed.set(statement, { name: statement.name, text: change(statement.text) });
    return changed.get(statement)!;
  };
  const reading = ({ all, first }: Queries): Queries => ({ all: (statement, ...values) => all(other(statement), ...values), first: (statement, ...values) => first(other(statement), ...values) });
  return {
    ...db, ...reading(db),
    transaction: (work) => db.transaction((tx) => work({ ...tx, ...reading(tx), run: (statement, ...values) => tx.run(other(statement), ...values) })),
  };
};

export const seeds: Record<string, Seed> = {
  'a revoke that is kept in memory only': {
    store(store) {
      const revoked = new Map<string, Set<string>>();
      return {
        ...store,
        async revokeAll(tenant) {
          const items = await everyPage((page) => store.pageSessions(tenant, { statuses: connectedStatuses }, page), 1_000);
          revoked.set(tenant.applicationId, new Set([...revoked.get(tenant.applicationId) ?? [], ...items.map(({ id }) => id)]));
          return { outcome: 'done', count: items.length };
        },
        async getSession(tenant, id) {
          const session = await store.getSession(tenant, id);
          return session && revoked.get(tenant.applicationId)?.has(id) ? { ...session, disconnectReason: 'revoked', disconnectedAt: store.now() } : session;
        },
      };
    },
  },
  'a revoke that counts before it has the sessions to itself': {
    database: (db) => ({
      ...db,
      transaction: (work) => db.transaction((tx) => work({
        ...tx, lock: async () => {},
        async first<Row>(...query: Parameters<Transaction['first']>) {
          const row = await tx.first<Row>(...query);
          if (query[0].text.startsWith('select count(*)')) await wait(60); // others come meanwhile
          return row;
        },
      })),
    }),
  },
  'a heartbeat that does not look at the generation': {
    database: (db) => rewrite(db, (text) => text.replace('s.generation, a.generation as current, s.token_expires_at', 's.generation, s.generation as current, s.token_expires_at')),
  },
  'events read up to the highest number': {
    database(db) {
      const blind = rewrite(db, (text) => text.replaceAll('e.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint', 'true'));
      // Commits take their time, as they do on a disk.
      return { ...blind, transaction: (work) => blind.transaction(async (tx) => { const result = await work(tx); await wait(Math.random() * 8); return result; }) };
    },
  },
  'a store that shows nothing when it is away': {
    store: (store) => ({ ...store, pageSessions: (...call) => store.pageSessions(...call).catch(() => ({ items: [], next: undefined })) }),
  },
};

/** Two stores on one database. The database is away for a moment, now and then. */
export async function openStores(databaseUrl: string, { database: plantInDatabase = (db) => db, store: plantInStore = (store) => store }: Seed = {}): Promise<{ subject: Subject; close(): Promise<void> }> {
  let away = false, lists = 0;
  const failing = (db: Database): Database => {
    const unlessAway = <T>(work: () => Promise<T>) => away ? Promise.reject(new StoreUnavailable('away')) : work();
    return { ...db, all: (...query) => unlessAway(() => db.all(...query)), first: (...query) => unlessAway(() => db.first(...query)), transaction: (work) => unlessAway(() => db.transaction(work)) };
  };
  const stores = await Promise.all([0, 1].map(async () => {
    const postgres = await openPostgres(databaseUrl, () => {});
    return plantInStore(createStore(failing(plantInDatabase(postgres)), { ...times, now: postgres.now }));
  }));
  const apps = await Promise.all([0, 1].map(async () => (await stores[0]!.createApplication(ORGANIZATION, 'History')).id));
  const flushing = setInterval(() => { for (const store of stores) store.flush().catch(() => {}); }, 200);
  return {
    subject: {
      apis: stores.map(apiOf).map((api) => ({ ...api, list: (app) => { lists++; return api.list(app); } })), apps,
      async follow(app, reader, tell) {
        const store = stores[reader % stores.length]!;
        let position: EventPosition = await store.newestEvent(app), going = true;
        const reading = (async () => {
          while (going) {
            const events = await store.readEvents(app, position, 100).catch(() => []);
            for (const event of events) { position = event.position; tell(toldOf(event)); }
            if (events.length === 0) await wait(2);
          }
        })();
        return async () => { going = false; await reading; };
      },
      async nemesis(signal, wrong) {
        while (!signal.aborted) {
          await wait(500);
          await wrong('the database is away', async () => {
            away = true;
            // Until some have asked for a list, which clients seldom do.
            for (const before = lists, since = performance.now(); !signal.aborted && (performance.now() - since < 200 || lists < before + 3);) await wait(5);
            away = false;
          });
        }
      },
    },
    async close() {
      clearInterval(flushing);
      await Promise.all(stores.map((store) => store.close()));
    },
  };
}
