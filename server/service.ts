// The service, put together: config -> store -> app -> background work -> listen. `main.ts` runs it as a process, tests in their own.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { createApp } from './app.ts';
import { createVerifier } from './auth.ts';
import { startBackground } from './background.ts';
import type { Config } from './config.ts';
import { createEventHub, type EventHub } from './events.ts';
import { createHandlers } from './handlers/index.ts';
import { presentEvent } from './handlers/present.ts';
import { generateSigningKey, parseSigningKey, readOrCreateSigningKey, type SigningKey } from './keys.ts';
import { starting } from './pages.ts';
import { createStreams, type Streams } from './sse.ts';
import { createStore } from './store/index.ts';
import { openBell } from './store/bell.ts';
import type { Database } from './store/database.ts';
import { openPostgres } from './store/postgres.ts';
import { openSqlite } from './store/sqlite.ts';
import { StoreUnavailable, type Store } from './store/store.ts';

export interface Service {
  readonly url: string;
  readonly store: Store;
  readonly hub: EventHub;
  readonly streams: Streams;
  /** The key that signs our own tokens; none where an issuer is configured. */
  readonly signingKey: SigningKey | undefined;
  /** Lets requests in hand finish, then lets go of everything. */
  close(): Promise<void>;
}

export interface ServiceOptions {
  readonly log: Logger;
  /** The store's clock and the tokens'; ms since the epoch. */
  readonly now?: () => number;
  readonly validateResponses?: boolean;
  /** Off in tests that do the background work themselves. */
  readonly background?: boolean;
}

/** Open streams are ended over so long when the process leaves. */
const DRAIN_MS = 4_000;

/** @throws Error in words for the operator, when the store cannot be used or the port not be had. */
export async function startService(config: Config, { log, now, validateResponses = false, background = true }: ServiceOptions): Promise<Service> {
  let app: RequestListener = starting();
  let leaving = false;
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 20_000, connectionsCheckingInterval: 1_000, keepAliveTimeout: 10_000 }, (req, res) => {
    if (leaving) res.setHeader('Connection', 'close'); // a busy connection would never end otherwise
    app(req, res);
  });
  await listen(server, config);
  const opened = await open(config, log).catch((error: unknown) => { server.close(); throw error; });
  const { db, signingKey } = opened;
  const storeNow = now ?? opened.now;
  const store = createStore(db, {
    now: storeNow, idleAfter: config.IDLE_AFTER, lease: config.LEASE, retention: config.RETENTION,
    eventRetention: config.EVENT_RETENTION, auditRetention: config.AUDIT_RETENTION,
  });
  if (config.DATABASE_URL === undefined) await store.interruptRevocations(store.now() + 1); // nobody else can be running them
  const hub = createEventHub(store, (event, applicationId) => Buffer.from(presentEvent(event, applicationId, store.now(), config.IDLE_AFTER)),
    (err) => log.warn({ err }, 'events could not be read; they are looked for again'));
  const bell = config.DATABASE_URL === undefined ? undefined : openBell(config.DATABASE_URL, {
    onRing: hub.ring, onListening: () => { hub.poll().catch(() => {}); }, // `poll` has its own way to say what went wrong
    onError: (err) => log.warn({ err }, 'the listening connection broke; events are looked for every second'),
  });
  store.onChange((applicationId, urgent) => {
    hub.ring(applicationId);
    if (urgent) bell?.ring(applicationId);
  });
  const streams = createStreams({
    limits: { total: config.STREAMS, perApplication: config.STREAMS_PER_APPLICATION, perToken: config.STREAMS_PER_TOKEN },
    now: now ?? Date.now, beatMs: config.LEASE / 3, onError: (err) => log.warn({ err }, 'a stream could not be started'),
  });
  app = createApp({
    handlers: createHandlers({ store, hub, idleAfter: config.IDLE_AFTER, retention: config.RETENTION, eventRetention: config.EVENT_RETENTION }),
    verifier: createVerifier({ config, localKey: signingKey, now: now ?? Date.now, onIssuerFailure: (err) => log.warn({ err }, 'the issuer is out of reach') }),
    streams, log, validateResponses, corsOrigins: config.CORS_ORIGINS,
    notReady: async () => leaving ? ['the server is shutting down'] : store.check().then(() => [], () => ['the store is out of reach']),
  });
  const stopBackground = background ? startBackground({ store, hub, streams, log }) : async () => {};
  const { address, port, family } = server.address() as AddressInfo; // it listens on TCP
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`, store, hub, streams, signingKey,
    async close() {
      leaving = true;
      const closed = new Promise((resolve) => server.close(resolve));
      const letGo = setInterval(() => server.closeIdleConnections(), 50); // a connection is idle only when its request is answered
      await streams.drain(DRAIN_MS);
      await Promise.all([closed, stopBackground(), bell?.close()]);
      clearInterval(letGo);
      await store.close();
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

const listen = (server: Server, { PORT, HOST }: Config) => new Promise<void>((resolve, reject) => {
  server.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EADDRINUSE' ? new Error(`PORT ${PORT} on ${HOST} is taken; choose another`, { cause: error }) : error));
  server.listen(PORT, HOST, resolve);
});
