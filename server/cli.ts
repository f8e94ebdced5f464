#!/usr/bin/env node
// The rollcall command. What touches data goes through HTTP; only the server opens the database; a backup reads it beside the server, and a restore takes its place.
import { statSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ConfigError, LONGEST_DURATION, parseDuration, readConfig, type Config } from './config.ts';
import { examine } from './cli/doctor.ts';
import { json, printable, table } from './cli/print.ts';
import { sessionsCommand, UsageError, type Server } from './cli/sessions.ts';
import { mintToken, parseSigningKey, readOrCreateSigningKey, readOwnSigningKey, type SigningKey } from './keys.ts';
import { seed } from './seed.ts';
import { backUp, restore } from './store/backup.ts';
import { openPostgres, readSigningKey } from './store/postgres.ts';
import { migrations } from './store/schema.ts';
import { openSqlite } from './store/sqlite.ts';
import { StoreUnusable } from './store/store.ts';
import { ALL_SCOPES, DEMO_ORGANIZATION } from './welcome.ts';
import manifest from '../package.json' with { type: 'json' };

const duration = (text: string): number => {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError(`It must be a duration such as 90s, 5m, 1h or 30d, at most ${LONGEST_DURATION}.`);
  return ms;
};
const count = (most: number) => (text: string): number => {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > most) throw new InvalidArgumentError(`It must be a whole number from 1 to ${most}.`);
  return number;
};

interface TokenFlags { org: string; scope: string; application?: string; subject: string; ttl: number }

const shared = async (databaseUrl: string): Promise<SigningKey> => parseSigningKey(JSON.parse(await readSigningKey(databaseUrl)));

function mint(config: Config, key: SigningKey, { org, scope, application, subject, ttl }: TokenFlags): Promise<string> {
  return mintToken(key, {
    organizationId: org, scopes: scope.split(/[ ,]+/).filter(Boolean), subject, ttlMs: ttl, audience: config.AUTH_AUDIENCE,
    organizationClaim: config.ORG_CLAIM, scopeClaim: config.SCOPE_CLAIM, ...(application && { applicationId: application }),
  });
}

/** What `rollcall token` prints; before a server's first start, too. */
async function token(flags: TokenFlags): Promise<string> {
  const config = readConfig(process.env);
  if (config.AUTH_ISSUER) throw new Error(`tokens come from AUTH_ISSUER (${config.AUTH_ISSUER}), not from this command`);
  return mint(config, config.DATABASE_URL ? await shared(config.DATABASE_URL) : await readOrCreateSigningKey(config.DATA_DIR), flags);
}

/** For a command that calls a server: with that server's key or none, because no server would know a new one. */
async function ownToken(flags: TokenFlags): Promise<string> {
  const config = readConfig(process.env);
  if (config.AUTH_ISSUER) throw new UsageError(`give a token of ${config.AUTH_ISSUER}: in ROLLCALL_TOKEN, or with --token`);
  const key = config.DATABASE_URL ? await shared(config.DATABASE_URL) : await readOwnSigningKey(config.DATA_DIR);
  if (!key) throw new UsageError(`give a token, in ROLLCALL_TOKEN or with --token: there is no signing key in ${config.DATA_DIR}, so that none can be made here; or set DATA_DIR to the server's`);
  return mint(config, key, flags);
}

const program = new Command('rollcall').description('See every live connection to your application, and cut it.').version(manifest.version, '--version', 'print the version').showHelpAfterError().exitOverride()
  .addHelpText('after', '\nEnds with 0 when it is done, 1 when it was refused or failed, 2 when it was called in a wrong way, 78 when the configuration is wrong or no server can start on what is stored.');
const server = process.env['ROLLCALL_URL'] || `http://127.0.0.1:${process.env['PORT'] || 8080}`;
const application = process.env['ROLLCALL_APPLICATION'] || undefined, given = process.env['ROLLCALL_TOKEN'] || undefined;

program.command('serve').description('run the server; configured by environment variables').action(async () => { await import('./main.ts'); });

program.command('token').description('print a token signed with the local key, and nothing else')
  .requiredOption('--org <id>', 'the organization the token is for')
  .option('--scope <scopes>', 'scopes, separated by spaces', ALL_SCOPES.join(' '))
  .option('--application <id>', 'bind the token to one application')
  .option('--subject <id>', "the token's subject", 'cli')
  .addOption(new Option('--ttl <duration>', 'how long it is valid').argParser(duration).default(3_600_000, '1h'))
  .action(async (flags: TokenFlags) => { process.stdout.write(`${await token(flags)}\n`); });

program.command('seed').description('fill an application with realistic sessions')
  .requiredOption('--application <id>', 'the application (ROLLCALL_APPLICATION)', application)
  .addOption(new Option('--sessions <n>', 'how many').argParser(count(1_000_000)).default(50))
  .option('--org <id>', 'the organization of the application', DEMO_ORGANIZATION)
  .option('--url <url>', 'the server (ROLLCALL_URL)', server)
  .addOption(new Option('--token <token>', 'a token with sessions:write and sessions:revoke (ROLLCALL_TOKEN); without one the local key makes it').default(given, given && 'from ROLLCALL_TOKEN'))
  .action(async ({ application, sessions, org, url, token: bearer }: { application: string; sessions: number; org: string; url: string; token?: string }) => {
    const made = await seed({ baseUrl: url, token: bearer ?? await ownToken({ org, scope: 'sessions:write sessions:revoke', subject: 'seed', ttl: 3_600_000 }), applicationId: application, count: sessions, progress: process.stderr });
    process.stdout.write(`${made} sessions were made in ${application}. Nothing keeps them alive: after LEASE, 90 s by default, they are lost.\n`);
  });

/** @throws Error where the database is PostgreSQL, which has better tools of its own */
function dataDirectory(instead: string): string {
  const config = readConfig(process.env);
  if (config.DATABASE_URL) throw new Error(`the database is PostgreSQL (DATABASE_URL); use its own tools: ${instead}`);
  return config.DATA_DIR;
}
const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;
const megabytes = (path: string) => `${(statSync(path).size / 1024 / 1024).toFixed(1)} MB`;

program.command('backup').description('copy the embedded database, while the server runs, into one file; the signing key is in it')
  .option('--to <file>', 'where to; a new file in this directory by default')
  .option('--force', 'replace the file if it exists')
  .action(async ({ to = `rollcall-${new Date().toISOString().replace(/\..*/, '').replaceAll(':', '')}.backup`, force }: { to?: string; force?: true }) => {
    const made = await backUp(dataDirectory('pg_dump --format=custom --file FILE "$DATABASE_URL"'), to, { force: force ?? false });
    process.stdout.write(`${to} has ${counted(made.applications, 'application')} and ${counted(made.sessions, 'session')} (${megabytes(to)}, checked).${made.withKey ? ' The signing key is in it: keep it secret.' : ''}\n`);
  });

program.command('restore').description('put a backup in the place of the embedded database, which is kept; no server may be running on it')
  .requiredOption('--from <file>', 'the backup')
  .option('--revoke-all', 'end every session for good, because nobody knows what was revoked since the backup was made')
  .action(async ({ from, revokeAll }: { from: string; revokeAll?: true }) => {
    const done = await restore(dataDirectory('pg_restore --clean --if-exists --dbname "$DATABASE_URL" FILE, with every instance stopped'), from, { revokeAll: revokeAll ?? false });
    process.stdout.write([
      `Restored ${counted(done.applications, 'application')} and ${counted(done.sessions, 'session')}${done.madeAt ? ` as of ${new Date(done.madeAt).toISOString()}` : ''}.`,
      revokeAll ? `${done.ended} connections were revoked.`
        : `${done.ended} connections are lost until their clients come back. What was revoked since then is not in the backup: revoke it again, or restore with --revoke-all.`,
      ...(done.withKey ? ['The signing key is the one of the backup.'] : []),
      ...(done.previous ? [`The database that was there is ${done.previous}.`] : []),
    ].join('\n') + '\n');
  });

program.addCommand(sessionsCommand({
  url: server, token: given, application, now: Date.now,
  mint: ({ org, application }: Server) => ownToken({ org, application, scope: 'sessions:read sessions:revoke', subject: 'cli', ttl: 3_600_000 }),
}));

program.command('migrate').description('bring the database to the schema of this version, and stop; a start does it too').action(async () => {
  const { DATABASE_URL, DATA_DIR } = readConfig(process.env);
  const db = DATABASE_URL ? await openPostgres(DATABASE_URL, () => {}) : openSqlite(DATA_DIR); // its errors reach the query in hand
  await db.close();
  process.stdout.write(`The database has schema ${migrations.length}.\n`);
});

program.command('doctor').description('look at everything a server needs, and change nothing').option('--json', 'print JSON')
  .action(async ({ json: asJson }: { json?: boolean }) => {
    const findings = await examine(readConfig(process.env));
    process.stdout.write(`${asJson ? json(findings) : table(['CHECK', 'STATE', ''], findings.map(({ what, state, detail }) => [what, state, detail]))}\n`);
    if (findings.some(({ state }) => state === 'failed')) process.exitCode = 1;
  });

const exitCodeOf = (error: unknown): number => error instanceof ConfigError || error instanceof StoreUnusable ? 78 : error instanceof UsageError ? 2 : 1;

for (const command of program.commands.flatMap((command) => [command, ...command.commands])) command.exitOverride(); // else it would end with 1
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2; // it has said why
  else {
    process.stderr.write(`rollcall: ${(error as Error).message.split('\n').map(printable).join('\n')}\n`); // whatever was thrown has a message for the operator
    process.exitCode = exitCodeOf(error);
  }
}
