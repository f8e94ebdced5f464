// The middleware, put together: who may pass, which connection a request belongs to, and what happens when one is revoked.
import { type Connection, createConnections, describe, type Opening, settle } from './connections.ts';
import { createDenials } from './denials.ts';
import { cutAll, openExchange } from './exchange.ts';
import { guardWith } from './guard.ts';
import { hasJsonBody, type McpRequest, type McpResponse, type Next } from './http.ts';
import * as identity from './identity.ts';
import type { McpSessions, McpSessionsOptions } from './options.ts';
import { createOverKeys } from './over.ts';
import { full, notFound, type Refusal, revoked, send, unavailable } from './refusal.ts';
import type { Registry } from './registry.ts';
import { createReporter } from './reporter.ts';
import { startRounds } from './rounds.ts';
import { createReception, isMinted, mintSessionId, touch, type Visit } from './visit.ts';
import { warnSeldom } from './warning.ts';
import { startWatcher } from './watcher.ts';

/** Node fires a longer timer at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** A refused client may have been allowed again meanwhile, which no event tells: asked at most so often, in ms. */
const ASK_AGAIN_MS = 15_000;

export function createMcpSessions(registry: Registry, options: Omit<McpSessionsOptions, 'service'>): McpSessions {
  const { onServiceError = 'allow', issueSessionIds = 'auto', reportEveryMs = 5_000, idleTimeoutMs = 30 * 60_000 } = options;
  const { endStreamsAtTokenExpiry = true, maxSessions = 10_000, resourceMetadataUrl } = options;
  const now = Date.now;
  const onError = options.onError ?? warnSeldom();
  const reception = createReception(options);
  const denials = createDenials(registry, now);
  const connections = createConnections(maxSessions);
  const over = createOverKeys(now);
  const reporter = createReporter({ registry, connections, cut, onError });
  const rounds = startRounds({ everyMs: reportEveryMs, report, isWatching: () => watcher.isOpen, onError });
  const watcher = startWatcher({
    registry, denials, now, onError,
    onRevoked: reporter.heardRevoked,
    onRevokedAll: reporter.heardRevokedAll,
    onEnded: reporter.heardEnded,
    onOpen: rounds.everybodySoon,
  });
  const sessionOf = new WeakMap<McpRequest, Connection>();
  let isReady = false;
  let isClosed = false;
  void watcher.ready.then(() => {
    isReady = true;
  });

  function refuse({ response, message }: Visit, refusal: Refusal): void {
    send(response, refusal, message.ids);
  }

  function refuseRevoked(visit: Visit): void {
    if (now() - denials.askedAt > ASK_AGAIN_MS) watcher.refreshSoon();
    refuse(visit, revoked(visit.request, visit.isAnonymous, resourceMetadataUrl));
  }

  function handle(request: McpRequest, response: McpResponse, next: Next): void {
    // Its client went while it was asked who it is, so nobody would ever hear that the response is over. A goodbye needs no answer.
    if (response.destroyed && request.method !== 'DELETE') return;
    const visit = reception.read(request, response, next);
    const { credential } = visit;
    if (isClosed) return refuse(visit, unavailable);
    if (credential && denials.isDenied(credential.id)) return refuseRevoked(visit);
    if (onServiceError === 'deny' && !watcher.isInformed()) return refuse(visit, unavailable);
    if (request.body === undefined && hasJsonBody(request)) {
      return next(new Error('mcpSessions must come behind express.json(): the request has a body that nobody has read.'));
    }
    route(visit);
  }

  function route(visit: Visit): void {
    const { request, message, principal, credential, next } = visit;
    const { initializes, isModern, mcpSessionId } = message;
    if (initializes) return connect(visit);
    const key = isModern
      ? identity.logicalKey(request, message, principal, credential)
      : mcpSessionId && identity.sessionKey(mcpSessionId);
    if (!key) return next(); // an old client that has not connected: the server's own handler says what it thinks of it
    const connection = connections.get(key);
    if (connection) return proceed(visit, connection);
    if (!over.has(key)) return connect(visit, key);
    // Who logged in again since is to connect again, and who was allowed again may: what is denied has been refused above.
    if (credential) return isModern ? connect(visit, key) : refuse(visit, notFound);
    if (visit.isAnonymous && message.discovers) {
      over.forget(key); // a new connection, as far as anybody can tell
      return connect(visit, key);
    }
    refuseRevoked(visit);
  }

  /** A request of a connection that is known here. */
  function proceed(visit: Visit, connection: Connection): void {
    const { request, message, principal, next } = visit;
    if (connection.principal !== principal) return refuse(visit, notFound);
    if (request.method === 'DELETE') return leave(visit, connection);
    enter(visit, connection);
    track(visit, connection);
    if (onServiceError === 'allow' || connection.registered) return next();
    void reporter.register(connection).then((isRegistered) => {
      if (connection.state !== 'open') return; // cut meanwhile, and answered with that
      if (isRegistered) next();
      else refuse(visit, unavailable);
    });
  }

  /** A request that opens a connection, or goes on with one this process has not seen: it counts once the server accepts it. */
  function connect(visit: Visit, key?: string): void {
    const { request, response, message, next } = visit;
    const { initializes, discovers } = message;
    if (request.method === 'DELETE' && isMinted(message.mcpSessionId)) return void send(response, notFound, []);
    if (connections.room() === 'full') return refuse(visit, full);
    // Clients that negotiate ask servers of either era with an envelope: only an accepted call shows that they speak it.
    const opens = request.method !== 'DELETE' && !discovers;
    track(visit, undefined, (status, header) => {
      if (!opens || status !== 200) return undefined;
      let mcpSessionId = message.mcpSessionId;
      if (initializes) {
        mcpSessionId = header('mcp-session-id');
        if (!mcpSessionId && issueSessionIds === 'auto') {
          mcpSessionId = mintSessionId();
          response.setHeader('Mcp-Session-Id', mcpSessionId);
        }
      }
      const found = initializes ? mcpSessionId && identity.sessionKey(mcpSessionId) : key;
      if (!found) return undefined;
      const connection = connections.get(found) ?? open(reception.opening(visit, found, mcpSessionId));
      if (connection.principal !== visit.principal) return undefined;
      enter(visit, connection);
      void reporter.register(connection);
      return connection;
    });
    next();
  }

  function open(opening: Opening): Connection {
    const room = connections.room();
    if (typeof room === 'object') letGo(room);
    return connections.add(opening, now());
  }

  function enter(visit: Visit, connection: Connection): void {
    sessionOf.set(visit.request, connection);
    touch(visit, connection, now());
  }

  /** Follows the response, as one of the connection's, or of the one that its head turns out to open. */
  function track(visit: Visit, known: Connection | undefined, opens?: (status: number, header: (name: string) => string | undefined) => Connection | undefined): void {
    const { request, response, message } = visit;
    let connection = known;
    let expiry: NodeJS.Timeout | undefined;
    const exchange = openExchange(response, {
      listens: message.listens,
      ids: known && message.resumes ? known.owed : message.ids,
      onHead({ status, header }) {
        if (opens) connection = opens(status, header);
        connection?.exchanges.set(exchange, request);
        const endsIn = (request.auth?.expiresAt ?? Infinity) * 1_000 - now();
        if (endStreamsAtTokenExpiry && exchange.isStream && endsIn < LONGEST_TIMER_MS) expiry = setTimeout(() => exchange.end(), endsIn).unref();
      },
      onClose() {
        clearTimeout(expiry);
        if (connection) settle(connection, message, response.writableEnded);
        if (!connection?.exchanges.delete(exchange) || !exchange.isStream) return;
        connection.hasLeft = ![...connection.exchanges.keys()].some(({ isStream }) => isStream);
      },
    });
    connection?.exchanges.set(exchange, request);
  }

  /** The client says goodbye. */
  function leave(visit: Visit, connection: Connection): void {
    const { response, next } = visit;
    const end = () => {
      if (connection.state !== 'open') return;
      connections.remove(connection, 'ended');
      reporter.end(connection);
    };
    if (connection.isMinted) {
      end();
      for (const exchange of connection.exchanges.keys()) exchange.end();
      response.writeHead(200);
      return void response.end();
    }
    track(visit, undefined, (status) => {
      if (status < 300) end();
      return undefined;
    });
    next();
  }

  /** Really cuts: nothing that belongs to the connection goes on, and what it authenticated with is refused from now on. */
  function cut(connection: Connection): void {
    if (connection.state !== 'open') return;
    connections.remove(connection, 'over');
    over.add(connection.key, connection.mcpSessionId === undefined && connection.isAnonymous);
    for (const [credentialId, until] of connection.credentials) denials.deny(credentialId, until);
    cutAll(connection.exchanges, (request) => revoked(request, connection.isAnonymous, resourceMetadataUrl), onError);
    free(connection);
    attempt(() => options.onRevoked?.(describe(connection)));
  }

  /** The client has not been heard of for too long: what it held is freed, and the service sees it lapse. */
  function letGo(connection: Connection): void {
    connections.remove(connection, 'over');
    free(connection);
  }

  function free({ mcpSessionId, isMinted }: Connection): void {
    if (mcpSessionId !== undefined && !isMinted) attempt(() => options.closeTransport?.(mcpSessionId));
  }

  /** A callback of the host's, which may fail as it likes. */
  function attempt(call: () => unknown): void {
    void Promise.resolve().then(call).catch(onError);
  }

  async function report(everybody: boolean): Promise<void> {
    const quietSince = now() - idleTimeoutMs;
    for (const connection of [...connections]) if (connection.exchanges.size === 0 && connection.seenAt <= quietSince) letGo(connection);
    await reporter.report(everybody);
  }

  const middleware = (request: McpRequest, response: McpResponse, next: Next): void => {
    if (isReady) return handle(request, response, next);
    void watcher.ready.then(() => handle(request, response, next)).catch(next);
  };
  // Omit leaves out nothing but the call, which is the function it is assigned to.
  const sessions: Omit<McpSessions, never> = {
    ready: watcher.ready,
    session: (request: McpRequest) => {
      const connection = sessionOf.get(request);
      return connection && describe(connection);
    },
    verifier: guardWith((request) => denials.isDenied(reception.credentialOf(request)?.id ?? '')),
    stats: () => ({
      sessions: connections.size,
      unregistered: [...connections].filter(({ registered }) => !registered).length,
      exchanges: [...connections].reduce((sum, { exchanges }) => sum + exchanges.size, 0),
      denied: denials.size,
    }),
    async close() {
      isClosed = true;
      watcher.stop();
      await rounds.stop();
      for (const connection of [...connections]) connections.remove(connection, 'over');
    },
  };
  return Object.assign(middleware, sessions);
}
