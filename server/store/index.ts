// The store, put together over whichever database it is given.
import { applications } from './applications.ts';
import { createBeats } from './beats.ts';
import type { Context } from './context.ts';
import { counts } from './counts.ts';
import { credentials } from './credentials.ts';
import { statements, type Database } from './database.ts';
import { eventLog } from './events.ts';
import { heartbeats } from './heartbeats.ts';
import { createIds } from './id.ts';
import { lists } from './lists.ts';
import { maintenance } from './maintenance.ts';
import { revokes } from './revokes.ts';
import { migrations } from './schema.ts';
import { sessions } from './sessions.ts';
import { StoreUnavailable, type Store } from './store.ts';

export interface StoreOptions {
  /** The store's clock, ms since the epoch. */
  readonly now: () => number;
  /** All in ms. */
  readonly idleAfter: number;
  readonly lease: number;
  readonly retention: number;
  readonly eventRetention: number;
  readonly auditRetention: number;
}

export function createStore(db: Database, options: StoreOptions): Store {
  const schemaVersion = statements('store')(db.dialect.schemaVersion);
  const listeners = new Set<(applicationId: string, urgent: boolean) => void>();
  const context: Context = {
    ...options, db, newId: createIds(), beats: createBeats(),
    ring: (applicationId, urgent) => { for (const listener of listeners) listener(applicationId, urgent); },
  };
  const denials = credentials(context);
  const oneByOne = sessions(context, denials);
  const walking = lists(context);
  const { recordHeartbeats, flush } = heartbeats(context, oneByOne);
  const { maintain, forget, settleRevocations, interruptRevocations, stopSweeping } = maintenance(context, denials, flush);
  const { connect, getSession, endSession, revokeSession } = oneByOne;
  const { listRevokedCredentials, allowCredential } = denials;

  return {
    now: options.now,
    ...applications(context),
    connect, getSession, endSession, revokeSession,
    pageSessions: walking.pageSessions,
    ...revokes(context, denials, walking, flush),
    ...counts(context),
    ...eventLog(context),
    beat: (applicationId, sessionId) => context.beats.add(applicationId, sessionId, { at: options.now(), lastActiveAt: null, early: false }),
    recordHeartbeats, listRevokedCredentials, allowCredential,
    flush, maintain, forget, settleRevocations, interruptRevocations,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async check() {
      const trouble = db.trouble();
      if (trouble) throw trouble;
      const { version } = (await db.first<{ version: number }>(schemaVersion))!; // it was migrated
      if (version > migrations.length) throw new StoreUnavailable(`the schema is ${version}, and ${migrations.length} is known here`, { trouble: 'newer' });
    },
    async close() {
      try { await flush(); await stopSweeping(); } finally { await db.close(); }
    },
  };
}
