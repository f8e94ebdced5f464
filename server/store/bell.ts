// The bell between instances on one PostgreSQL: who commits something urgent wakes the others (NOTIFY), so that they look at once.
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';

const CONNECT_MS = 1_500;
const CHANNEL = 'rollcall';
const PROBE_MS = 1_000;
const SILENT_MS = 1_500;
/** Rings for one application closer together than this are one. */
const TOGETHER_MS = 5;

export interface Bell {
  /** Tells all other instances that something about the application was committed. Best effort: they look by themselves as well. */
  ring(applicationId: string): void;
  close(): Promise<void>;
}

/**
 * Rings heard and sent over NOTIFY. It is a wake-up only: `onListening` is called whenever rings may have been missed, and a connection that has gone
 * silent is noticed by a probe.
 */
export function openBell(url: string, { onRing, onListening, onError }:
  { onRing: (applicationId: string) => void; onListening: () => void; onError: (error: unknown) => void }): Bell {
  const stopped = new AbortController();
  const waiting = new Set<string>();
  let current: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function listen(): Promise<void> {
    const client = new pg.Client({ connectionString: url, application_name: 'rollcall bell', connectionTimeoutMillis: CONNECT_MS, query_timeout: SILENT_MS, keepAlive: true });
    const ended = new Promise<Error>((resolve) => { client.once('error', resolve); client.once('end', () => resolve(new Error('the listening connection ended'))); });
    try {
      await client.connect();
      client.on('notification', ({ payload }) => { if (payload) onRing(payload); });
      await client.query(`listen ${CHANNEL}`);
      current = client;
      onListening();
      while (!stopped.signal.aborted) {
        const over = await Promise.race([ended, wait(PROBE_MS, undefined, { ref: false })]);
        if (over) throw over;
        await client.query('select 1');
      }
    } finally {
      current = undefined;
      client.on('error', () => {}); // it may still break while it is let go
      void client.end().catch(() => {});
    }
  }

  const running = (async () => {
    for (let pause = 100; !stopped.signal.aborted; pause = Math.min(pause * 2, 1_000)) {
      const started = performance.now();
      await listen().catch((error: unknown) => { if (!stopped.signal.aborted) onError(error); });
      if (performance.now() - started > 5_000) pause = 100;
      await wait(pause, undefined, { signal: stopped.signal, ref: false }).catch(() => {});
    }
  })();

  function send(): void {
    timer = undefined;
    const ids = [...waiting];
    waiting.clear();
    for (const id of ids) current?.query({ name: 'ring', text: `select pg_notify('${CHANNEL}', $1)`, values: [id] }).catch(onError);
  }

  return {
    ring(applicationId) {
      waiting.add(applicationId);
      timer ??= setTimeout(send, TOGETHER_MS).unref();
    },
    async close() {
      stopped.abort();
      clearTimeout(timer);
      void current?.end().catch(() => {});
      await running;
    },
  };
}
