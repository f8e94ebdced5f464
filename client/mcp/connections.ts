// Who is connected to this process: a bounded table of connections, by their key and by the session the service made of them.
import type { Exchange } from './exchange.ts';
import type { McpRequest } from './http.ts';
import type { Credential } from './identity.ts';
import type { Message, RequestId } from './message.ts';
import type { McpSession } from './options.ts';
import type { Registered } from './registry.ts';

/** What was known when the connection opened; what it says of itself has been cut to size. */
export interface Opening {
  readonly key: string;
  readonly externalId: string;
  /** Absent in the 2026 era. */
  readonly mcpSessionId: string | undefined;
  /** The adapter made the MCP session id up, so the server behind it does not know it. */
  readonly isMinted: boolean;
  readonly isAnonymous: boolean;
  readonly principal: string | undefined;
  readonly userId: string | undefined;
  readonly hostname: string | null;
  readonly userAgent: string | null;
  readonly clientInfo: Record<string, string> | null;
}

/** One client's connection to this process. All moments are ms since the epoch. */
export interface Connection extends Opening {
  registered: Registered | undefined;
  registering: Promise<boolean> | undefined;
  /** `ended` by the client, or `over`: revoked or forgotten. */
  state: 'open' | 'ended' | 'over';
  /** Responses that are being worked on, each with the request it answers. */
  readonly exchanges: Map<Exchange, McpRequest>;
  /** Calls whose stream broke before they were answered, the latest last: a resumed stream may bring the answer. */
  readonly owed: RequestId[];
  /** The last request of any kind. */
  seenAt: number;
  /** The last request that wanted something; undefined before the first. */
  activeAt: number | undefined;
  /** Its last open stream was closed, and nothing was heard since. */
  hasLeft: boolean;
  credential: Credential | undefined;
  /** Every credential it has used, each with the moment until which a revoke denies it. */
  readonly credentials: Map<string, number>;
  tokenExpiresAt: Date | undefined;
  /** Counts changes of token and credential, to know which of them the service has heard of. */
  tokenVersion: number;
  reported: { activeAt: number; tokenVersion: number };
}

export interface Connections {
  get(key: string): Connection | undefined;
  /** By the id of the service's session. */
  find(sessionId: string): Connection | undefined;
  add(opening: Opening, at: number): Connection;
  /** Binds it to the service's session. */
  bind(connection: Connection, registered: Registered | undefined): void;
  remove(connection: Connection, state: 'ended' | 'over'): void;
  /** Whether another one fits, or which one would have to go: the quietest without an open response. */
  room(): Connection | 'free' | 'full';
  readonly size: number;
  [Symbol.iterator](): Iterator<Connection>;
}

const MOST_OWED = 100;

/** It has an open response, or its client has given no sign of having left. */
export function isConnected({ exchanges, hasLeft }: Connection): boolean {
  return exchanges.size > 0 || !hasLeft;
}

/** Notes, when a response is over, which calls are still waited for. A server that ends a resumed stream has answered them. */
export function settle({ owed }: Connection, { ids, resumes }: Message, isEnded: boolean): void {
  if (!isEnded) owed.push(...ids);
  else if (resumes) owed.length = 0;
  if (owed.length > MOST_OWED) owed.splice(0, owed.length - MOST_OWED);
}

export function createConnections(most: number): Connections {
  /** In the order of their last request, as far as `get` saw it: the quietest first. */
  const byKey = new Map<string, Connection>();
  const bySession = new Map<string, Connection>();
  return {
    get(key) {
      const connection = byKey.get(key);
      if (connection) {
        byKey.delete(key);
        byKey.set(key, connection);
      }
      return connection;
    },
    find: (sessionId) => bySession.get(sessionId),
    add(opening, at) {
      const connection: Connection = {
        ...opening,
        registered: undefined,
        registering: undefined,
        state: 'open',
        exchanges: new Map(),
        owed: [],
        seenAt: at,
        activeAt: undefined,
        hasLeft: false,
        credential: undefined,
        credentials: new Map(),
        tokenExpiresAt: undefined,
        tokenVersion: 0,
        reported: { activeAt: 0, tokenVersion: 0 },
      };
      byKey.set(opening.key, connection);
      return connection;
    },
    bind(connection, registered) {
      if (connection.registered) bySession.delete(connection.registered.sessionId);
      connection.registered = registered;
      if (registered) bySession.set(registered.sessionId, connection);
    },
    remove(connection, state) {
      connection.state = state;
      if (byKey.get(connection.key) === connection) byKey.delete(connection.key);
      const sessionId = connection.registered?.sessionId;
      if (sessionId !== undefined && bySession.get(sessionId) === connection) bySession.delete(sessionId);
    },
    room() {
      if (byKey.size < most) return 'free';
      for (const connection of byKey.values()) if (connection.exchanges.size === 0) return connection;
      return 'full';
    },
    get size() {
      return byKey.size;
    },
    [Symbol.iterator]: () => byKey.values(),
  };
}

/** As hosts see it. */
export function describe(connection: Connection): McpSession {
  const { registered, externalId, mcpSessionId, principal, userId, credentials, clientInfo, hostname } = connection;
  const credentialIds = [...credentials.keys()];
  return { sessionId: registered?.sessionId, externalId, mcpSessionId, principal, userId, credentialIds, clientInfo, hostname };
}
