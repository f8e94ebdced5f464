// The service, put together: config -> store -> app -> background work -> listen. `main.ts` runs it as a process, tests in their own.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { createApp } from './app.ts';
import { createVerifier } from './auth.ts';
import { startBackground } from './background.ts';
import type { Config } from './config.ts';
import { createEventHub, type EventHub } from './events.ts';
import { createHandlers } from './handlers/index.ts';
import { presentEvent } from './handlers/present.ts';
import { readOrCreateSigningKey, type SigningKey } from './keys.ts';
import { createStreams, type Streams } from './sse.ts';
import { createStore } from './store/index.ts';
import { openSqlite } from './store/sqlite.ts';
import type { Store } from './store/store.ts';

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

/** @throws Error in words for the operator, when the store cannot be opened or the port not be had. */
export async function startService(config: Config, { log, now = Date.now, validateResponses = false, background = true }: ServiceOptions): Promise<Service> {
  const db = openSqlite(config.DATA_DIR);
  const signingKey = config.AUTH_ISSUER ? undefined : await readOrCreateSigningKey(config.DATA_DIR);
  const store = createStore(db, {
    now, idleAfter: config.IDLE_AFTER, lease: config.LEASE, retention: config.RETENTION,
    eventRetention: config.EVENT_RETENTION, auditRetention: config.AUDIT_RETENTION,
  });
  await store.interruptRevocations(now() + 1);
  const hub = createEventHub(store, (event, applicationId) => Buffer.from(presentEvent(event, applicationId, store.now(), config.IDLE_AFTER)),
    (err) => log.warn({ err }, 'events could not be read; they are looked for again'));
  store.onChange(hub.ring);
  const streams = createStreams({
    limits: { total: config.STREAMS, perApplication: config.STREAMS_PER_APPLICATION, perToken: config.STREAMS_PER_TOKEN },
    now, beatMs: config.LEASE / 3, onError: (err) => log.warn({ err }, 'a stream could not be started'),
  });
  let closing = false;
  const app = createApp({
    handlers: createHandlers({ store, hub, idleAfter: config.IDLE_AFTER, eventRetention: config.EVENT_RETENTION }),
    verifier: createVerifier({ config, localKey: signingKey, now, onIssuerFailure: (err) => log.warn({ err }, 'the issuer is out of reach') }),
    streams, log, validateResponses, corsOrigins: config.CORS_ORIGINS,
    notReady: async () => closing ? ['the server is shutting down'] : store.check().then(() => [], () => ['the store is out of reach']),
  });
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 20_000, connectionsCheckingInterval: 1_000, keepAliveTimeout: 10_000 }, app);
  try {
    await listen(server, config);
  } catch (error) {
    await store.close();
    throw error;
  }
  const stopBackground = background ? startBackground({ store, hub, streams, log }) : async () => {};
  const { address, port, family } = server.address() as AddressInfo; // it listens on TCP
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`, store, hub, streams, signingKey,
    async close() {
      closing = true;
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await streams.drain(DRAIN_MS);
      server.closeIdleConnections();
      await Promise.all([closed, stopBackground()]);
      await store.close();
    },
  };
}

const listen = (server: Server, { PORT, HOST }: Config) => new Promise<void>((resolve, reject) => {
  server.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EADDRINUSE' ? new Error(`PORT ${PORT} on ${HOST} is taken; choose another`, { cause: error }) : error));
  server.listen(PORT, HOST, resolve);
});
