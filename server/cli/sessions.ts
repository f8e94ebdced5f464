// `rollcall sessions`: who is connected, one of them, and throwing them out; a consumer of the client, as everybody is.
import { Command, InvalidArgumentError, Option } from 'commander';
import { createInterface } from 'node:readline/promises';
import { createClient, ProblemError } from '../../client/index.ts';
import type { RevokeFilters, Session, SessionFilters } from '../../client/index.ts';
import { DEMO_ORGANIZATION } from '../welcome.ts';
import { ago, json, printable, table } from './print.ts';

export interface Server { application: string; org: string; url: string; token?: string }
interface Filters { derivedStatus?: string; userId?: string; clientName?: string; hostname?: string; lastActiveBefore?: string }
type ListFlags = Server & Filters & { limit: number; everything?: boolean; json?: boolean };
type RevokeFlags = Server & Filters & { all?: boolean; dryRun?: boolean; maxCount?: number; yes?: boolean; json?: boolean };

/** The command was called in a way that cannot be meant. */
export class UsageError extends Error {}

const whole = (text: string): number => {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return Number(text);
};

const withServer = (command: Command, { url, token, application }: Pick<SessionsOptions, 'url' | 'token' | 'application'>) => command
  .requiredOption('--application <id>', 'the application (ROLLCALL_APPLICATION)', application)
  .option('--url <url>', 'the server (ROLLCALL_URL)', url)
  .addOption(new Option('--token <token>', 'a token (ROLLCALL_TOKEN); without one the local key makes it').default(token, token && 'from ROLLCALL_TOKEN'))
  .option('--org <id>', 'without a token: the organization of the application', DEMO_ORGANIZATION)
  .option('--json', 'print JSON');

const withFilters = (command: Command) => command
  .option('--derived-status <list>', 'active, idle, expired, disconnected; separated by commas')
  .option('--user-id <id>', "the user's id")
  .option('--client-name <name>', 'what `clientInfo.name` says')
  .option('--hostname <name>', 'the host')
  .option('--last-active-before <time>', 'not active since, as 2026-11-23T12:00:00Z');

/** The options that were given, in the client's words: what was not given must not be there at all, not even as undefined. */
function filtersOf({ derivedStatus, userId, clientName, hostname, lastActiveBefore }: Filters): SessionFilters & RevokeFilters {
  const given = { derivedStatus: derivedStatus?.split(',').map((status) => status.trim()), userId, clientName, hostname, lastActiveBefore };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)); // the server says which of them it does not know
}

export interface SessionsOptions {
  /** From the environment. */
  url: string;
  token: string | undefined;
  application: string | undefined;
  mint(server: Server): Promise<string>;
  now(): number;
}

export function sessionsCommand({ mint, now, ...environment }: SessionsOptions): Command {
  const print = (text: string) => { process.stdout.write(`${text}\n`); };
  let asked: Server | undefined;
  const clientOf = async (server: Server) => {
    asked = server;
    return createClient({ baseUrl: server.url, token: server.token ?? await mint(server) });
  };
  /** What belongs to another organization is not found, and nothing in that answer says so. */
  const told = <Args extends unknown[]>(action: (...args: Args) => Promise<void>) => (...args: Args) => action(...args).catch((error: unknown) => {
    if (!(error instanceof ProblemError) || error.code !== 'not-found' || !asked) throw error;
    throw new Error(`${error.message} It was looked for in ${asked.token ? 'the organization of the token' : `the organization ${asked.org}; --org names another`}.`, { cause: error });
  });
  const sessions = new Command('sessions').description('see sessions, and revoke them');

  withFilters(withServer(sessions.command('list').description('the sessions of an application, newest first'), environment))
    .addOption(new Option('--limit <n>', 'how many at most').argParser(whole).default(100))
    .option('--everything', 'disconnected and expired ones too')
    .action(told(async ({ limit, everything, json: asJson, ...flags }: ListFlags) => {
      const found: Session[] = [];
      for await (const session of (await clientOf(flags)).sessions.list(flags.application, { ...filtersOf(flags), includeInactive: everything ?? false, limit: Math.min(limit + 1, 1_000) })) {
        if (found.length === limit) {
          process.stderr.write(`There are more than these ${limit}; --limit says how many are shown.\n`);
          break;
        }
        found.push(session);
      }
      print(asJson ? json(found) : found.length === 0 ? 'There are none.' : table(['STATUS', 'NAME', 'USER', 'HOST', 'CLIENT', 'ACTIVE', 'CONNECTED', 'ID'], found.map((session) => [
        session.derivedStatus, session.name, session.userId ?? '-', session.hostname ?? '-', clientName(session), ago(session.lastActiveAt, now()), ago(session.connectedAt, now()), session.id,
      ])));
    }));

  withServer(sessions.command('get').description('one session, with everything that is known of it').argument('<id>', "the session's id"), environment)
    .action(told(async (id: string, { json: asJson, ...flags }: Server & { json?: boolean }) => {
      const session = await (await clientOf(flags)).sessions.get(flags.application, id);
      print(asJson ? json(session) : table(['FIELD', 'VALUE'], Object.entries(session).map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)])));
    }));

  withFilters(withServer(sessions.command('revoke').description('throw out one session, those that match, or all').argument('[id]', "one session's id"), environment))
    .option('--all', 'every connected session of the application')
    .option('--dry-run', 'only count what would be revoked')
    .addOption(new Option('--max-count <n>', 'refuse when more than so many match').argParser(whole))
    .option('--yes', 'do not ask')
    .action(told(async (id: string | undefined, { all, dryRun, maxCount, yes, json: asJson, ...flags }: RevokeFlags) => {
      const filters = filtersOf(flags), isFiltered = Object.keys(filters).length > 0;
      if ([id !== undefined, isFiltered, all === true].filter(Boolean).length !== 1) throw new UsageError('say which: one session by its id, some by filters, or --all');
      if (id !== undefined && (dryRun || maxCount !== undefined)) throw new UsageError('--dry-run and --max-count are for several sessions, not for one');
      const client = await clientOf(flags);
      const tell = (result: { disconnectedCount: number; matchedCount?: number }) =>
        print(asJson ? json(result) : result.matchedCount === undefined ? `${result.disconnectedCount} disconnected.` : `${result.matchedCount} would be disconnected.`);
      const once = { retries: 0 }; // after a lost answer, the second would say that it disconnected nobody
      if (id !== undefined) return tell(await client.sessions.revoke(flags.application, id, once));
      if (yes) return tell(await client.sessions.revokeAll(flags.application, { ...filters, ...(maxCount && { maxCount }), ...(dryRun && { dryRun }), ...once }));
      const preview = await client.sessions.revokeAll(flags.application, { ...filters, dryRun: true, ...(maxCount && { maxCount }) });
      const { matchedCount = 0 } = preview;
      if (dryRun || matchedCount === 0) return tell(preview);
      await confirm(matchedCount, flags.application);
      // What matched when it was confirmed, and no more than that.
      tell(await client.sessions.revokeAll(flags.application, { ...filters, maxCount: matchedCount, ...once }));
    }));

  return sessions;
}

const clientName = ({ clientInfo }: Session): string => clientInfo ? [clientInfo['name'], clientInfo['version']].filter((part) => typeof part === 'string').join(' ') || '-' : '-';

async function confirm(count: number, application: string): Promise<void> {
  if (!process.stdin.isTTY) throw new UsageError('there is nobody to ask here: say --yes, or look first with --dry-run');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(`This disconnects ${count} sessions of ${printable(application)}, and their credentials are refused from then on.\nType ${count} to do it: `);
  lines.close();
  if (answer.trim() !== String(count)) throw new Error('nothing was revoked');
}
