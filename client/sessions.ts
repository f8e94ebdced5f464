// Calls about sessions: see who is connected, report who is, cut them off.
import { everyItem } from './paging.ts';
import { RollcallError } from './problem.ts';
import { APPLICATION, queryOf, type Transport } from './transport.ts';
import type {
  CallOptions,
  ConnectedSession,
  Heartbeat,
  HeartbeatResult,
  ListOptions,
  NewSession,
  Page,
  PageOptions,
  RevokeFilters,
  RevokeOptions,
  RevokeResult,
  Session,
  SessionCounts,
  SessionFilters,
} from './types.ts';

export interface Sessions {
  /**
   * Every session that matches, newest first; pages are asked for as the loop needs them.
   * ```ts
   * for await (const session of client.sessions.list(applicationId, { derivedStatus: ['idle'] })) { ... }
   * ```
   * Needs the scope `sessions:read`.
   */
  list(applicationId: string, options?: SessionFilters & ListOptions): AsyncIterable<Session>;

  /** One page of the sessions that match. A cursor of another list is a 400 `invalid-cursor`. Needs `sessions:read`. */
  page(applicationId: string, options?: SessionFilters & PageOptions): Promise<Page<Session>>;

  /** One session, whatever its status, for as long as it is retained; later, a 404 `not-found`. Needs `sessions:read`. */
  get(applicationId: string, sessionId: string, options?: CallOptions): Promise<Session>;

  /**
   * Says that a connection opens. With an `externalId` it answers the session that is there already, if it is not over, and
   * is tried again on failure; without one it is sent only once, because a repetition could create a second session.
   * A credential that a revoke has denied is a 403 `credential-revoked`: the client has to authenticate again.
   * Needs `sessions:write` or `sessions:connect`.
   */
  create(applicationId: string, session?: NewSession, options?: CallOptions): Promise<ConnectedSession>;

  /** Says that the client left: the session is over. Needs `sessions:write` or `sessions:connect`. */
  end(applicationId: string, sessionId: string, options?: CallOptions): Promise<Session>;

  /**
   * Throws one session out and denies the credentials it has used. A `disconnectedCount` of 0 means that it was over already.
   * Needs `sessions:revoke`.
   */
  revoke(applicationId: string, sessionId: string, options?: CallOptions): Promise<RevokeResult>;

  /**
   * Throws out every connected session that matches; **without a filter, every one there is**. `dryRun: true` changes
   * nothing and answers `matchedCount`; with `maxCount`, more matches are a 409 `revocation-too-large` and nothing changes.
   *
   * A filter or a bound that is present but `undefined` is refused before anything is sent, so that a user who was not
   * found does not become "everybody". Repeating is safe, but when an answer was lost on the way, `disconnectedCount` is
   * that of the last attempt: `revocations.list` has them all. Needs `sessions:revoke`.
   */
  revokeAll(applicationId: string, options?: RevokeFilters & RevokeOptions): Promise<RevokeResult>;

  /**
   * Says of 1 to 1,000 sessions that they are still connected and, only where `lastActiveAt` is given, that they were active
   * then. Send one per session every 30 seconds; whoever comes back in `ended` is over, and is to be disconnected.
   * Needs `sessions:write` or `sessions:connect`.
   */
  heartbeat(applicationId: string, heartbeats: Heartbeat[], options?: CallOptions): Promise<HeartbeatResult>;

  /** How many sessions there are, by derived status and by client name, at most five seconds old. Needs `sessions:read`. */
  counts(applicationId: string, options?: CallOptions): Promise<SessionCounts>;
}

const SESSIONS = `${APPLICATION}/sessions` as const;
const SESSION = `${SESSIONS}/{sessionId}` as const;
/** A filtered revoke answers when the last of its batches is committed. */
const REVOKE_ALL_TIMEOUT_MS = 60_000;

export function createSessions({ http, call }: Transport): Sessions {
  const sessions: Sessions = {
    list: (applicationId, options) => everyItem(options, (next) => sessions.page(applicationId, next)),

    page: (applicationId, options) => {
      const params = { path: { applicationId }, query: queryOf(options) };
      return call(options, (fetch) => http.GET(SESSIONS, { fetch, params }));
    },

    get: async (applicationId, sessionId, options) => {
      const params = { path: { applicationId, sessionId } };
      return (await call(options, (fetch) => http.GET(SESSION, { fetch, params }))).session;
    },

    create: (applicationId, body = {}, options) => {
      const params = { path: { applicationId } };
      const idempotent = body.externalId !== undefined;
      return call({ ...options, idempotent }, (fetch) => http.POST(SESSIONS, { fetch, params, body }));
    },

    end: async (applicationId, sessionId, options) => {
      const params = { path: { applicationId, sessionId } };
      const policy = { ...options, idempotent: true };
      return (await call(policy, (fetch) => http.POST(`${SESSION}/end`, { fetch, params }))).session;
    },

    revoke: (applicationId, sessionId, options) => {
      const params = { path: { applicationId, sessionId } };
      return call(options, (fetch) => http.DELETE(SESSION, { fetch, params }));
    },

    revokeAll: async (applicationId, options) => {
      const params = { path: { applicationId }, query: queryOf(options) };
      refuseUndefined(params.query);
      const policy = { ...options, defaultTimeoutMs: REVOKE_ALL_TIMEOUT_MS };
      return call(policy, (fetch) => http.DELETE(SESSIONS, { fetch, params }));
    },

    heartbeat: (applicationId, heartbeats, options) => {
      const params = { path: { applicationId } };
      const policy = { ...options, idempotent: true };
      return call(policy, (fetch) => http.POST(`${APPLICATION}/heartbeats`, { fetch, params, body: { heartbeats } }));
    },

    counts: (applicationId, options) => {
      const params = { path: { applicationId } };
      return call(options, (fetch) => http.GET(`${APPLICATION}/session-counts`, { fetch, params }));
    },
  };
  return sessions;
}

/** What is undefined would not be sent, and the revoke would be wider than meant; null comes from untyped callers. */
function refuseUndefined(query: RevokeFilters & RevokeOptions = {}): void {
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) throw new RollcallError(`The option ${name} is ${value}.`);
  }
}
