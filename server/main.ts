// The server as a process: reads the environment, greets a newcomer, and leaves in good order.
import { flushCompileCache } from 'node:module';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ConfigError, readConfig, type Config } from './config.ts';
import { createLog } from './log.ts';
import { welcome } from './welcome.ts';
import { startService, type Service } from './service.ts';
import { StoreUnusable } from './store/store.ts';

const HARD_STOP_MS = 30_000;
/** EX_CONFIG of sysexits.h: starting again changes nothing before a person has. */
const UNUSABLE = 78;

function configOrExit(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`Rollcall cannot start:\n${error.message}\n`);
    process.exit(UNUSABLE);
  }
}

/** Who comes back after a restart is served first. */
const GIVE_BACK_AFTER_MS = 1_500;
/** Bytes: to look through more would stop the process for longer than 100 ms, and who has as much to do collects garbage anyway. */
const LITTLE = 50_000_000;

/** Starting leaves some 40 MB behind that nobody needs again, and V8 keeps them for as long as there is little to do. */
function giveBack(): void {
  if (getHeapStatistics().used_heap_size > LITTLE) return;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('globalThis.gc') as NodeJS.GCFunction | undefined; // no promise of Node's
  collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

const config = configOrExit();
const log = createLog(config.LOG_LEVEL);
let service: Service | undefined, stopping = false;
const stop = async (signal: string) => {
  if (stopping) process.exit(1); // asked twice: at once
  stopping = true;
  log.info({ signal }, 'shutting down');
  if (!service) process.exit(0); // it may wait for its database for long, and has answered nobody yet
  setTimeout(() => process.exit(1), HARD_STOP_MS).unref();
  await service.close().catch((err: unknown) => {
    log.error({ err }, 'the store was not left in good order; the last heartbeats may be missing');
    process.exit(1);
  });
  process.exit(0);
};
process.on('SIGTERM', stop).on('SIGINT', stop); // as the first process of a container it would get neither without these

try {
  service = await startService(config, { log });
  log.info({ url: service.url, store: config.DATABASE_URL ? 'postgresql' : 'sqlite' }, 'listening');
  await welcome(service, config).catch((err: unknown) => log.warn({ err }, 'started without lines to paste: the store did not answer')); // the server serves all the same
  flushCompileCache(); // or else a server that is killed would leave the next one nothing
  setTimeout(giveBack, GIVE_BACK_AFTER_MS).unref();
} catch (error) {
  log.debug({ err: error }, 'start failed');
  process.stderr.write(`Rollcall cannot start: ${(error as Error).message}\n`); // whatever was thrown has a message for the operator
  process.exit(error instanceof ConfigError || error instanceof StoreUnusable ? UNUSABLE : 1);
}
