// The service, put together: config -> store -> app -> background work -> listen. `main.ts` runs it as a process, tests in their own.
import manifest from '../package.json' with { type: 'json' };
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { createApp } from './app.ts';
import { createVerifier } from './auth.ts';
import { startBackground, type Background } from './background.ts';
import type { Config } from './config.ts';
import { createEventHub, type EventHub } from './events.ts';
import { createHandlers } from './handlers/index.ts';
import { presentEvent } from './handlers/present.ts';
import { createHealth, reason, type Reason } from './health.ts';
import { createHttpServer, type Timeouts } from './http.ts';
import { createLimits } from './limits.ts';
import { generateSigningKey, parseSigningKey, readOrCreateSigningKey, type SigningKey } from './keys.ts';
import { createObserver } from './observe.ts';
import { createMetrics, metricsServer } from './metrics.ts';
import { isRevoke, measuredDatabase, measuredStore, measuredWork } from './measured.ts';
import { starting } from './pages.ts';
import { createStreams, type Streams } from './sse.ts';
import { createStore } from './store/index.ts';
import { openBell } from './store/bell.ts';
import type { Database } from './store/database.ts';
import { openPostgres } from './store/postgres.ts';
import { openSqlite } from './store/sqlite.ts';
import { StoreUnavailable, type Store } from './store/store.ts';
import { findTracing, tracedDatabase } from './tracing.ts';

export interface Service {
  readonly url: string;
  readonly store: Store;
  readonly hub: EventHub;
  readonly streams: Streams;
  /** Where the metrics are served, if they are. */
  readonly metricsUrl: string | undefined;
  /** The key that signs our own tokens; none where an issuer is configured. */
  readonly signingKey: SigningKey | undefined;
  /** Lets requests in hand finish, then lets go of everything. */
  close(): Promise<void>;
}

export interface ServiceOptions {
  readonly log: Logger;
  /** The store's clock and the tokens'; ms since the epoch. */
  readonly now?: () => number;
  /** A clock that nobody sets, ms; the same as `now` in tests that move time. */
  readonly elapsed?: () => number;
  readonly validateResponses?: boolean;
  /** Off in tests that do the background work themselves. */
  readonly background?: boolean;
  /** Of requests and connections; shorter in tests. */
  readonly timeouts?: Partial<Timeouts> | undefined;
}

/** Open streams are ended over so long when the process leaves. */
const DRAIN_MS = 4_000;
/** So long the requests in hand have after that: who says nothing, or reads nothing, would keep the process, and its supervisor would kill it before its store is closed. */
const IN_HAND_MS = 4_000;
/** Of the connections, so that there are some left for calls. */
const STREAMS_SHARE = 0.8;

/** @throws Error in words for the operator, when the store cannot be used or the port not be had. */
export async function startService(config: Config, { log, now, elapsed = now ?? (() => performance.now()), validateResponses = false, background = true, timeouts }: ServiceOptions): Promise<Service> {
  let app: RequestListener = starting();
  let leaving = false;
  let notReady: () => Promise<readonly Reason[]> = async () => [reason('starting')];
  const metrics = config.METRICS_PORT === undefined ? undefined
    : createMetrics({ version: manifest.version, store: config.DATABASE_URL === undefined ? 'sqlite' : 'postgresql', isReady: async () => (await notReady()).length === 0 });
  const metricsAt = metrics && metricsServer(metrics);
  const server = createHttpServer((req, res) => {
    if (leaving) res.setHeader('Connection', 'close'); // a busy connection would never end otherwise
    app(req, res);
  }, { log, timeouts, maxConnections: config.MAX_CONNECTIONS, onRefused: (code) => metrics?.refusals.inc({ code }) });
  if (metricsAt) await listen(metricsAt, config.METRICS_HOST, config.METRICS_PORT!, 'METRICS_PORT'); // there are metrics only where there is a port
  const unlisten = (error: unknown): never => { server.close(); metricsAt?.close(); throw error; };
  await listen(server, config.HOST, config.PORT, 'PORT').catch(unlisten);
  const opened = await open(config, log).catch(unlisten);
  const { signingKey } = opened, tracing = findTracing();
  const measured = metrics ? measuredDatabase(opened.db, metrics) : opened.db, db = tracing ? tracedDatabase(measured, tracing) : measured;
  const storeNow = now ?? opened.now;
  const created = createStore(db, {
    now: storeNow, idleAfter: config.IDLE_AFTER, lease: config.LEASE, retention: config.RETENTION,
    eventRetention: config.EVENT_RETENTION, auditRetention: config.AUDIT_RETENTION,
  });
  const store = metrics ? measuredStore(created, metrics) : created;
  if (config.DATABASE_URL === undefined) await store.interruptRevocations(Number.MAX_SAFE_INTEGER); // nobody else can be running them
  const hub = createEventHub(store, (event, applicationId) => Buffer.from(presentEvent(event, applicationId, store.now(), config.IDLE_AFTER)),
    (err) => log.warn({ err }, 'events could not be read; they are looked for again'),
    metrics && ((event) => { if (isRevoke(event)) metrics.revokeSeconds.observe(Math.max(0, store.now() - event.at) / 1000); }));
  const bell = config.DATABASE_URL === undefined ? undefined : openBell(config.DATABASE_URL, {
    onRing: hub.ring, onListening: () => { hub.poll().catch(() => {}); }, // `poll` has its own way to say what went wrong
    onError: (err) => log.warn({ err }, 'the listening connection broke; events are looked for every second'),
  });
  store.onChange((applicationId, urgent) => {
    hub.ring(applicationId);
    if (urgent) bell?.ring(applicationId);
  });
  const streams = createStreams({
    limits: { total: Math.min(config.STREAMS, Math.floor(server.maxConnections * STREAMS_SHARE)), perApplication: config.STREAMS_PER_APPLICATION, perPrincipal: config.STREAMS_PER_PRINCIPAL, perClient: config.STREAMS_PER_CLIENT },
    now: now ?? Date.now, elapsed, beatMs: config.LEASE / 3, onError: (err) => log.warn({ err }, 'a stream could not be started'),
  });
  const verifier = createVerifier({ config, localKey: signingKey, now: now ?? Date.now, onIssuerFailure(err) { metrics?.issuerFailures.inc(); log.warn({ err }, 'the issuer is out of reach'); } });
  let work: Background = { duties: new Map(), stop: async () => {} };
  notReady = createHealth({
    check: () => store.check(), duties: () => work.duties, canVerify: verifier.canVerify, isLeaving: () => leaving,
    onChange: (reasons) => reasons.length > 0 ? log.warn({ reasons: reasons.map(({ code }) => code) }, 'not ready') : log.info('ready'),
  });
  app = createApp({
    handlers: createHandlers({ store, hub, idleAfter: config.IDLE_AFTER, retention: config.RETENTION, eventRetention: config.EVENT_RETENTION }),
    limits: createLimits(config, verifier, now ?? Date.now), trustProxy: config.TRUST_PROXY,
    onUntrustedProxy: () => log.warn('X-Forwarded-For arrives, and TRUST_PROXY is not set: behind a proxy, all clients count as one address'),
    streams, observer: createObserver({ log, metrics, tracing }), validateResponses, corsOrigins: config.CORS_ORIGINS, notReady,
  });
  if (background) work = startBackground({ store, hub, streams, log, ...(metrics && measuredWork(metrics, now ?? Date.now, store)) });
  return {
    url: urlOf(server), metricsUrl: metricsAt && urlOf(metricsAt), store, hub, streams, signingKey,
    async close() {
      leaving = true;
      const closed = new Promise((resolve) => server.close(resolve));
      const letGo = setInterval(() => server.closeIdleConnections(), 50); // a connection is idle only when its request is answered
      await streams.drain(DRAIN_MS);
      const cut = setTimeout(() => server.closeAllConnections(), IN_HAND_MS); // `close` has ended the looking for those that are silent or slow
      await Promise.all([closed, work.stop(), bell?.close()]);
      clearInterval(letGo);
      clearTimeout(cut);
      await store.close();
      metricsAt?.close();
      metricsAt?.closeAllConnections();
    },
  };
}

interface Opened { db: Database; signingKey: SigningKey | undefined; now: () => number }

/** The embedded database opens or does not; one that is elsewhere is waited for, and meanwhile we say that it is away. */
async function open(config: Config, log: Logger): Promise<Opened> {
  const signs = config.AUTH_ISSUER === undefined;
  if (config.DATABASE_URL === undefined) {
    return { db: openSqlite(config.DATA_DIR), signingKey: signs ? await readOrCreateSigningKey(config.DATA_DIR) : undefined, now: Date.now };
  }
  for (let waiting = false; ;) {
    try {
      const db = await openPostgres(config.DATABASE_URL, (err) => log.warn({ err }, 'a database connection broke'));
      if (waiting) log.info('the database is there');
      return { db, now: db.now, signingKey: signs ? await parseSigningKey(JSON.parse(await db.sharedSigningKey(JSON.stringify(await generateSigningKey())))) : undefined };
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      if (!waiting) log.warn({ err: error }, 'the database is out of reach; waiting for it');
      waiting = true;
      await wait(250);
    }
  }
}

const listen = (server: Server, host: string, port: number, variable: string) => new Promise<void>((resolve, reject) => {
  server.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EADDRINUSE' ? new Error(`${variable} ${port} on ${host} is taken; choose another`, { cause: error }) : error));
  server.listen(port, host, resolve);
});

function urlOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo; // it listens on TCP
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
