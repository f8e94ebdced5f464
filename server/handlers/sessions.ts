// See who is connected, and cut them off.
import { connectedStatuses, wantedStatuses, type DerivedStatus, type SessionFilter } from '../session.ts';
import { iso } from '../iso.ts';
import { Problem } from '../problem.ts';
import type { Handlers } from '../operations.ts';
import type { AuditFilter, Revoked } from '../store/store.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { actorOf, found, tenantOf, time } from './input.ts';
import { presentOne, presentPage, presentSession } from './present.ts';
import type { Dependencies } from './index.ts';

type FilterQuery = { derivedStatus?: DerivedStatus[]; userId?: string; clientName?: string; hostname?: string; lastActiveBefore?: string };

const filterOf = (statuses: ReadonlySet<DerivedStatus>, { userId, clientName, hostname, lastActiveBefore }: FilterQuery): SessionFilter =>
  ({ statuses, userId, clientName, hostname, lastActiveBefore: time(lastActiveBefore) });

export const sessionHandlers = ({ store, idleAfter }: Dependencies) => ({
  listSessions: async ({ path, query, caller }) => {
    const filter = filterOf(wantedStatuses(query), query);
    const list = [path.applicationId, [...filter.statuses].sort(), filter.userId, filter.clientName, filter.hostname, filter.lastActiveBefore];
    const page = found(await store.pageSessions(tenantOf(caller, path), filter, { after: decodeCursor(query.cursor, list), limit: query.limit! })); // the validator filled in the default
    return { status: 200, body: presentPage(page.items, encodeCursor(page.next, list).nextCursor, store.now(), idleAfter) };
  },

  getSession: async ({ path, caller }) => {
    const session = found(await store.getSession(tenantOf(caller, path), path.sessionId));
    return { status: 200, body: presentOne(presentSession(session, store.now(), idleAfter)) };
  },

  getSessionCounts: async ({ path, caller }) => {
    const { asOf, ...counts } = found(await store.countSessions(tenantOf(caller, path)));
    return { status: 200, body: { asOf: iso(asOf), ...counts } };
  },

  revokeSession: async ({ path, caller, requestId }) => {
    const disconnectedCount = found(await store.revokeSession(tenantOf(caller, path), path.sessionId, actorOf(caller, requestId)));
    return { status: 200, body: { success: true, disconnectedCount } };
  },

  revokeSessions: async ({ path, query, caller, requestId }) => {
    const { dryRun, maxCount, ...asked } = query;
    const filter = filterOf(query.derivedStatus ? new Set(query.derivedStatus) : connectedStatuses, query);
    const audit: FilterQuery = filter.lastActiveBefore === undefined ? asked : { ...asked, lastActiveBefore: iso(filter.lastActiveBefore) };
    const unfiltered = filter.statuses.size === connectedStatuses.size && !(query.userId ?? query.clientName ?? query.hostname ?? query.lastActiveBefore);
    const [tenant, bounds, actor] = [tenantOf(caller, path), { dryRun, maxCount }, actorOf(caller, requestId)];
    const revoked: Revoked = found(unfiltered
      ? await store.revokeAll(tenant, bounds, actor)
      : await store.revokeMatching(tenant, filter, audit as AuditFilter, bounds, actor)); // an interface has no index signature
    if (revoked.outcome === 'too-many') {
      throw new Problem('revocation-too-large', { detail: `More than ${revoked.limit} sessions match; nothing was revoked.` });
    }
    return { status: 200, body: dryRun ? { success: true, disconnectedCount: 0, matchedCount: revoked.count } : { success: true, disconnectedCount: revoked.count } };
  },
}) satisfies Partial<Handlers>;
