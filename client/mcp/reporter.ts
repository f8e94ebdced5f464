// What the service hears from this process: new connections one by one, heartbeats and activity of all of them in batches.
import type { Heartbeat, NewSession } from '../types.ts';
import { type Connection, type Connections, isConnected } from './connections.ts';
import type { Registered, Registry } from './registry.ts';

export interface Reporter {
  /** Makes the connection a session of the service. Answers whether it is one; false leaves it to the next report. */
  register(connection: Connection): Promise<boolean>;
  /** Registers what is not registered yet, and sends what changed; with `everybody`, a heartbeat for all that are connected. */
  report(everybody: boolean): Promise<void>;
  /** Tells the service that the client left; to be called once it is removed as `ended`. */
  end(connection: Connection): void;
  /** Sessions that were revoked while answers that may name them were on their way. */
  heardRevoked(sessionId: string): void;
  heardRevokedAll(generation: number): void;
  heardEnded(sessionId: string, reason: string): void;
}

export interface ReporterOptions {
  registry: Registry;
  connections: Connections;
  /** The service says that the session is over. */
  cut(connection: Connection): void;
  onError(error: unknown): void;
}

/** What the contract allows in one call. */
const BATCH = 1_000;
/** Calls to create sessions that are under way at once while the adapter catches up. */
const AT_ONCE = 8;

export function createReporter({ registry, connections, cut, onError }: ReporterOptions): Reporter {
  let registering = 0;
  const revokedMeanwhile = new Set<string>();
  let revokedGeneration = 0;

  async function create(connection: Connection): Promise<boolean> {
    const { tokenVersion } = connection;
    registering += 1;
    try {
      const answer = await registry.create(newSession(connection));
      if (answer === 'credential-revoked') return refuse(connection);
      if (connection.state === 'ended') tellEnd(answer); // it left before the service knew it
      if (connection.state !== 'open') return false;
      connection.reported.tokenVersion = tokenVersion;
      connections.bind(connection, answer);
      if (answer.generation <= revokedGeneration || revokedMeanwhile.has(answer.sessionId)) cut(connection);
      return true;
    } finally {
      registering -= 1;
      if (registering === 0) revokedMeanwhile.clear();
    }
  }

  function tellEnd({ sessionId }: Registered): void {
    registry.end(sessionId).catch(onError); // then it lapses by itself
  }

  function refuse(connection: Connection): false {
    if (connection.state === 'open') cut(connection);
    return false;
  }

  const reporter: Reporter = {
    register(connection) {
      if (connection.registered) return Promise.resolve(true);
      connection.registering ??= create(connection)
        .catch((error: unknown) => {
          onError(error);
          return false;
        })
        .finally(() => {
          connection.registering = undefined;
        });
      return connection.registering;
    },

    async report(everybody) {
      await registerAll([...connections].filter((connection) => !connection.registered && isConnected(connection)));
      const due = [...connections].flatMap((connection) => {
        const heartbeat = heartbeatOf(connection, everybody);
        return heartbeat ? [{ connection, heartbeat, seen: { activeAt: connection.activeAt ?? 0, tokenVersion: connection.tokenVersion } }] : [];
      });
      for (let from = 0; from < due.length; from += BATCH) {
        const batch = due.slice(from, from + BATCH);
        const ended = await registry.beat(batch.map(({ heartbeat }) => heartbeat));
        for (const { connection, seen } of batch) connection.reported = seen;
        for (const { sessionId, reason } of ended) over(sessionId, reason);
      }
    },

    end({ registered }) {
      if (registered) tellEnd(registered);
    },

    heardRevoked(sessionId) {
      if (registering > 0) revokedMeanwhile.add(sessionId);
      over(sessionId, 'revoked');
    },

    heardEnded(sessionId, reason) {
      // What is merely lost comes back with its next heartbeat.
      if (reason !== 'lost') over(sessionId, reason);
    },

    heardRevokedAll(generation) {
      revokedGeneration = Math.max(revokedGeneration, generation);
      for (const connection of [...connections]) {
        if (connection.registered && connection.registered.generation <= generation) cut(connection);
      }
    },
  };

  function over(sessionId: string, reason: string): void {
    const connection = connections.find(sessionId);
    if (!connection) return;
    if (reason === 'revoked') return cut(connection);
    // Ended or forgotten by somebody else, though it is still there: it becomes a new session, now or at its next request.
    connections.bind(connection, undefined);
    if (isConnected(connection)) void reporter.register(connection);
    else connections.remove(connection, 'over');
  }

  /** A few at a time, and no more once the service cannot be asked. */
  async function registerAll(waiting: Connection[]): Promise<void> {
    const take = waiting.values();
    let fails = false;
    const work = async () => {
      for (const connection of take) {
        if (fails) return;
        if (!(await reporter.register(connection)) && connection.state === 'open') fails = true;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  return reporter;
}

/** The session as the service is told of it; moments that are not known are left out. */
function newSession(connection: Connection): NewSession {
  const { externalId, userId, hostname, userAgent, clientInfo, credential, tokenExpiresAt } = connection;
  return {
    externalId,
    hostname,
    userAgent,
    clientInfo,
    ...(userId !== undefined && { userId }),
    ...tokenOf(credential, tokenExpiresAt),
  };
}

/** What there is to say of a connection; undefined when there is nothing. */
function heartbeatOf(connection: Connection, everybody: boolean): Heartbeat | undefined {
  const { registered, activeAt = 0, reported, tokenVersion, credential, tokenExpiresAt } = connection;
  if (!registered) return undefined;
  const wasActive = activeAt > reported.activeAt;
  const hasNewToken = tokenVersion !== reported.tokenVersion;
  if (!wasActive && !hasNewToken && !(everybody && isConnected(connection))) return undefined;
  return {
    sessionId: registered.sessionId,
    ...(wasActive && { lastActiveAt: new Date(activeAt).toISOString() }),
    ...(hasNewToken && tokenOf(credential, tokenExpiresAt)),
  };
}

function tokenOf(credential: Connection['credential'], tokenExpiresAt: Date | undefined) {
  const credentialExpiresAt = credential?.expiresAt?.toISOString();
  return {
    ...(tokenExpiresAt && { tokenExpiresAt: tokenExpiresAt.toISOString() }),
    ...(credential && { credentialId: credential.id, ...(credentialExpiresAt && { credentialExpiresAt }) }),
  };
}
