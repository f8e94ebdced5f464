// The store, and the work between requests, with what they do counted.
import type { BackgroundOptions } from './background.ts';
import type { Metrics, RevocationKind } from './metrics.ts';
import type { Database } from './store/database.ts';
import { StoreUnavailable, type Store, type StoredEvent } from './store/store.ts';

/** Counts the times it was out of reach, and how long its transactions take. */
export function measuredDatabase<Opened extends Database>(db: Opened, { storeErrors, storeSeconds }: Metrics): Opened {
  const noted = (operation: 'read' | 'write') => (error: unknown): never => {
    if (error instanceof StoreUnavailable) storeErrors.inc({ operation });
    throw error;
  };
  const reading = noted('read'), writing = noted('write');
  return {
    ...db,
    all: (...query) => db.all<never>(...query).catch(reading),
    first: (...query) => db.first<never>(...query).catch(reading),
    aside: (...query) => db.aside<never>(...query).catch(reading),
    async transaction(...work) {
      const started = performance.now();
      try {
        return await db.transaction(...work).catch(writing);
      } finally {
        storeSeconds.observe((performance.now() - started) / 1000);
      }
    },
  };
}

/** Counts what its revokes have done. */
export function measuredStore(store: Store, { revocations, revokedSessions }: Metrics): Store {
  const ended = (kind: RevocationKind, count: number | undefined) => {
    if (count === undefined) return;
    revocations.inc({ kind });
    revokedSessions.inc({ kind }, count);
  };
  return {
    ...store,
    async revokeAll(tenant, bounds, actor) {
      const revoked = await store.revokeAll(tenant, bounds, actor);
      if (!bounds.dryRun && revoked?.outcome === 'done') ended('all', revoked.count);
      return revoked;
    },
    async revokeMatching(tenant, filter, audit, bounds, actor) {
      const revoked = await store.revokeMatching(tenant, filter, audit, bounds, actor);
      if (!bounds.dryRun && revoked?.outcome === 'done') ended('filtered', revoked.count);
      return revoked;
    },
    async revokeSession(tenant, sessionId, actor) {
      const count = await store.revokeSession(tenant, sessionId, actor);
      ended('one', count);
      return count;
    },
    async deleteApplication(tenant, actor) {
      const count = await store.deleteApplication(tenant, actor);
      ended('application_deleted', count);
      return count;
    },
    async allowCredential(tenant, credentialId, actor) {
      const allowed = await store.allowCredential(tenant, credentialId, actor);
      if (allowed) revocations.inc({ kind: 'credential_allowed' });
      return allowed;
    },
  };
}

/** Whether an event tells clients that they were thrown out. */
export const isRevoke = (event: StoredEvent): boolean => event.type === 'sessions.revoked' || (event.type === 'session.disconnected' && event.reason === 'revoked');

/** Notes when each duty was done, and what there is. */
export function measuredWork({ dutyDone, dutyFailures, sessions, backlogSeconds }: Metrics, now: () => number, store: Pick<Store, 'now'>): Pick<BackgroundOptions, 'onRound' | 'onSurvey'> {
  return {
    onRound(duty, failure) {
      if (failure === undefined) dutyDone.set({ duty }, now() / 1000);
      else dutyFailures.inc({ duty });
    },
    onSurvey({ byDerivedStatus, oldestDueAt }) {
      for (const [status, count] of Object.entries(byDerivedStatus)) sessions.set({ status }, count);
      backlogSeconds.set(oldestDueAt === undefined ? 0 : Math.max(0, store.now() - oldestDueAt) / 1000);
    },
  };
}
