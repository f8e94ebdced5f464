// The server as a process: reads the environment, greets a newcomer, and leaves in good order.
import { pino } from 'pino';
import { ConfigError, readConfig, type Config } from './config.ts';
import { welcome } from './welcome.ts';
import { startService } from './service.ts';

const HARD_STOP_MS = 30_000;

function configOrExit(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`Rollcall cannot start:\n${error.message}\n`);
    process.exit(78); // EX_CONFIG
  }
}

const config = configOrExit();
const log = pino({ level: config.LOG_LEVEL, base: undefined, timestamp: pino.stdTimeFunctions.isoTime });
try {
  const service = await startService(config, { log });
  log.info({ url: service.url, store: config.DATABASE_URL ? 'postgresql' : 'sqlite' }, 'listening');
  await welcome(service, config).catch((err: unknown) => log.warn({ err }, 'no demo application was made')); // the server serves all the same

  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) process.exit(1); // asked twice: at once
    stopping = true;
    log.info({ signal }, 'shutting down');
    setTimeout(() => process.exit(1), HARD_STOP_MS).unref();
    await service.close();
    process.exit(0);
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
} catch (error) {
  log.debug({ err: error }, 'start failed');
  process.stderr.write(`Rollcall cannot start: ${(error as Error).message}\n`); // whatever was thrown has a message for the operator
  process.exit(1);
}
