// `npm run sandbox`: the real server on a database that goes away with it, full of sessions that live, and with faults on demand.
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { pino } from 'pino';
import { createClient } from '../../client/index.ts';
import { readConfig } from '../config.ts';
import { mintToken } from '../keys.ts';
import type { Problem } from '../problem.ts';
import { startService } from '../service.ts';
import { ALL_SCOPES } from '../welcome.ts';
import { called, port, whole, whyNot } from './called.ts';
import { gather } from './crowd.ts';
import { readFaults, type Faults } from './faults.ts';
import { startFront } from './front.ts';

/** Short, so that every change of a status is seen within a minute. */
const TIMES = { IDLE_AFTER: '15s', LEASE: '12s', RETENTION: '10m' };
const DAY = 24 * 60 * 60 * 1_000;

export interface Sandbox {
  readonly url: string;
  /** For everything; the introduction has one that may only read, too. */
  readonly token: string;
  readonly introduction: string;
  close(): Promise<void>;
}

export interface SandboxOptions { port?: number; sessions?: number; faults?: Faults; onError?: (error: unknown) => void }

export async function startSandbox({ port = 0, sessions = 200, faults = {}, onError = () => {} }: SandboxOptions = {}): Promise<Sandbox> {
  const directory = mkdtempSync(join(inMemory() ?? tmpdir(), 'rollcall-sandbox-'));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  process.once('exit', remove); // also when something else ends the process
  const config = readConfig({ PORT: '0', DATA_DIR: directory, ...TIMES });
  const service = await startService(config, { log: pino({ level: 'silent' }) });
  const mint = (subject: string, scopes: readonly string[]) => mintToken(service.signingKey!, { // it is made where no issuer is configured
    organizationId: 'sandbox', subject, scopes, audience: config.AUTH_AUDIENCE, ttlMs: DAY,
  });
  const token = await mint('operator', ALL_SCOPES), readOnly = await mint('viewer', ['sessions:read', 'applications:read']);
  const { id: applicationId } = await createClient({ baseUrl: service.url, token }).applications.create({ name: 'Sandbox' });
  const front = await startFront(service.url, { port, faults });
  // Faults are for who looks at the crowd, not for the crowd.
  const crowd = await gather({ baseUrl: service.url, token, applicationId, count: sessions, idleAfter: config.IDLE_AFTER, lease: config.LEASE, onError });
  const hasConsole = (await fetch(`${service.url}/console/`)).ok;
  return {
    url: front.url, token,
    introduction: introduce(front.url, applicationId, token, readOnly, sessions, hasConsole),
    async close() {
      await crowd.stop();
      await front.close();
      await service.close();
      remove();
      process.off('exit', remove);
    },
  };
}

/** A folder that never touches a disk, where the system has one. */
function inMemory(): string | undefined {
  try {
    accessSync('/dev/shm', constants.W_OK | constants.X_OK);
    return '/dev/shm';
  } catch {
    return undefined;
  }
}

const introduce = (url: string, applicationId: string, token: string, readOnly: string, sessions: number, hasConsole: boolean): string => {
  const path = `/api/v1/applications/${applicationId}`, curl = (more: string) => `  curl -s -H 'Authorization: Bearer ${token}' ${more}`;
  return `
Rollcall sandbox: the real server, with ${sessions} sessions that live. Everything in it goes away when you stop it.

Base URL      ${url}
Application   ${applicationId}
Documentation ${url}/docs
Console       ${hasConsole ? `${url}/console` : 'not built: npm run console'}

For another terminal, to paste, with a token that may do everything; the documentation and \`npm run walk\` use these names:
  export ROLLCALL_URL=${url}
  export ROLLCALL_APPLICATION=${applicationId}
  export ROLLCALL_TOKEN=${token}
A token that may only read:
  ${readOnly}

See them change (idle after 15 s, lost after 12 s of silence; somebody comes, leaves, crashes or is thrown out all the time):
${curl(`${url}${path}/session-counts`)}
${curl(`-N ${url}${path}/events`)}
Throw everybody out; others will come:
${curl(`-X DELETE ${url}${path}/sessions`)}

Faults, for one call (in the query as here, or with the header Prefer: code=503, delay=1500):
  ?__code=503  answer this      ?__delay=1500  wait so many ms      ?__drop=2000  cut the connection after so many ms      ?__rate=0.2  only sometimes
${curl(`-i '${url}${path}/sessions?__code=429'`)}
and for all calls, until you take it back:
  curl -s -X PUT '${url}/__faults?code=503&rate=0.2&delay=300'
  curl -s -X DELETE ${url}/__faults
`;
};

/** One of them, as the command line says it. */
const fault = (name: keyof Faults) => (text: string): number | undefined => {
  try {
    return readFaults({ [name]: text })[name];
  } catch (error) {
    throw new InvalidArgumentError(`It ${(error as Problem).errors?.[0]?.detail ?? ''}.`); // of readFaults, which names what is wrong
  }
};

if (import.meta.main) {
  const { sessions, port: at, ...faults } = called('sandbox', 'The real server with sessions that live, on a database that goes away with it; and faults on demand.')
    .addOption(port(4020))
    .option('--sessions <n>', 'how many there are at a time', whole(1, 99_999), 200)
    .option('--delay <ms>', 'wait before every answer', fault('delay'))
    .option('--code <status>', 'refuse calls with this status', fault('code'))
    .option('--drop <ms>', 'cut connections after so long', fault('drop'))
    .option('--rate <share>', 'how many of the calls get --code and --drop, from 0 to 1', fault('rate'))
    .parse().opts<{ port: number; sessions: number } & Faults>();
  try {
    const sandbox = await startSandbox({
      port: at, sessions, faults,
      onError: (error) => console.error(`The crowd stumbled: ${error instanceof Error ? error.message : String(error)}`),
    });
    console.log(sandbox.introduction);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void sandbox.close());
  } catch (error) {
    console.error(`The sandbox cannot start: ${whyNot(error)}`);
    process.exit(1);
  }
}
