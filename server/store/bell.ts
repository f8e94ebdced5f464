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
  let tell: ((applicationIds: string[]) => Promise<void>) | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function listen(): Promise<void> {
    const client = new pg.Client({ connectionString: url, application_name: 'rollcall bell', connectionTimeoutMillis: CONNECT_MS, query_timeout: SILENT_MS, keepAlive: true });
    const broken = Promise.withResolvers<Error>();
    const over = (error: Error) => { tell = undefined; broken.resolve(error); };
    client.on('error', over); // also while it is let go
    client.once('end', () => over(new Error('the listening connection ended')));
    const hangUp = () => void client.end().catch(() => {});
    // The driver wants one statement at a time.
    let last: Promise<unknown> = Promise.resolve();
    const ask = (text: string, values: string[] = []) => last = last.then(() => client.query(text, values));
    try {
      await client.connect();
      stopped.signal.addEventListener('abort', hangUp);
      client.on('notification', ({ payload }) => { if (payload) onRing(payload); });
      await ask(`listen ${CHANNEL}`);
      tell = async (applicationIds) => {
        await ask(`select pg_notify('${CHANNEL}', value) from json_array_elements_text($1)`, [JSON.stringify(applicationIds)]).catch(over);
      };
      onListening();
      while (!stopped.signal.aborted) {
        const error = await Promise.race([broken.promise, wait(PROBE_MS, undefined, { ref: false })]);
        if (error) throw error;
        await ask('select 1');
      }
    } finally {
      tell = undefined;
      stopped.signal.removeEventListener('abort', hangUp);
      hangUp();
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

  /** One statement for all that wait; who comes meanwhile is in the next. */
  async function send(): Promise<void> {
    const applicationIds = [...waiting];
    waiting.clear();
    await tell?.(applicationIds);
    timer = waiting.size > 0 && !stopped.signal.aborted ? later() : undefined;
  }
  const later = () => setTimeout(() => void send(), TOGETHER_MS).unref();

  return {
    ring(applicationId) {
      waiting.add(applicationId);
      timer ??= later();
    },
    async close() {
      stopped.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
