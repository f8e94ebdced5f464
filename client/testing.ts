// What `@rollcall/client/testing` exports: a service in memory, for the tests of whoever uses the client or the MCP adapter.
import { createMemory, type MemoryOptions } from './testing/memory.ts';
import { serve } from './testing/wire.ts';
import type { RevokeFilters, Session } from './types.ts';

export interface FakeRollcallOptions extends MemoryOptions {
  /** Default: one made up. */
  applicationId?: string | undefined;
}

/** A service with one application, as far as the MCP adapter and a test about it need one. */
export interface FakeRollcall {
  /** For `mcpSessions({ service })`, `createClient(service)` and `subscribe(service)`. */
  readonly service: { baseUrl: string; token: string; applicationId: string; fetch: typeof globalThis.fetch };
  /** The service as a `fetch`. Any bearer token will do; what it has no operation for is a 501 that says so. */
  readonly fetch: typeof globalThis.fetch;
  /** Every session, those that are over included, newest first. */
  sessions(): Session[];
  /** Throws one session out, as an operator does. False when it was over already. */
  revoke(sessionId: string): boolean;
  /** Throws out those that match, or all. Answers how many. */
  revokeAll(filters?: Pick<RevokeFilters, 'userId' | 'clientName' | 'hostname'>): number;
  /** Takes the denial of a credential back. */
  allow(credentialId: string): boolean;
  /** Credentials that are refused. */
  deniedCredentials(): string[];
  /** Lets time pass for the service: sessions that are not heard of meanwhile are lost, tokens expire. */
  advance(ms: number): void;
  /** `false`: the service is out of reach, its streams break, until it is `true` again. */
  setReachable(isReachable: boolean): void;
}

/**
 * ```ts
 * const rollcall = createFakeRollcall();
 * const app = createMyServer({ sessions: mcpSessions({ service: rollcall.service, reportEveryMs: 50 }) });
 * // ... a client connects ...
 * rollcall.revokeAll();
 * // ... and is refused
 * ```
 */
export function createFakeRollcall(options: FakeRollcallOptions = {}): FakeRollcall {
  const { applicationId = crypto.randomUUID() } = options;
  const memory = createMemory(applicationId, options);
  const { fetch, setReachable } = serve(memory, applicationId);
  return {
    service: { baseUrl: 'https://rollcall.test', token: 'test', applicationId, fetch },
    fetch,
    sessions: () => memory.list(() => true),
    revoke: (sessionId) => memory.revoke(sessionId) === 1,
    revokeAll: (filters = {}) => {
      const wanted = Object.entries(filters);
      // As the client does it: a user who was not found does not become "everybody".
      if (wanted.some(([, value]) => value === undefined)) throw new TypeError('A filter is undefined.');
      if (wanted.length === 0) return memory.revokeAll();
      const { userId, clientName, hostname } = filters;
      return memory.revokeMatching((session) =>
        (userId === undefined || session.userId === userId) &&
        (clientName === undefined || session.clientInfo?.name === clientName) &&
        (hostname === undefined || session.hostname === hostname));
    },
    allow: (credentialId) => memory.allow(credentialId),
    deniedCredentials: () => memory.denied().map((credential) => credential.credentialId),
    advance: (ms) => memory.advance(ms),
    setReachable,
  };
}
