#!/usr/bin/env node
// The rollcall command. What touches data goes through HTTP; only the server opens the database.
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration, readConfig, ConfigError } from './config.ts';
import { mintToken, parseSigningKey, readOrCreateSigningKey } from './keys.ts';
import { seed } from './seed.ts';
import { readSigningKey } from './store/postgres.ts';
import { ALL_SCOPES } from './welcome.ts';

const duration = (text: string): number => {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('It must be a duration such as 90s, 5m, 1h or 30d.');
  return ms;
};
const count = (most: number) => (text: string): number => {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > most) throw new InvalidArgumentError(`It must be a whole number from 1 to ${most}.`);
  return number;
};

interface TokenFlags { org: string; scope: string; application?: string; subject: string; ttl: number }

async function token({ org, scope, application, subject, ttl }: TokenFlags): Promise<string> {
  const config = readConfig(process.env);
  if (config.AUTH_ISSUER) throw new Error(`tokens come from AUTH_ISSUER (${config.AUTH_ISSUER}), not from this command`);
  const key = config.DATABASE_URL ? await parseSigningKey(JSON.parse(await readSigningKey(config.DATABASE_URL))) : await readOrCreateSigningKey(config.DATA_DIR);
  return mintToken(key, {
    organizationId: org, scopes: scope.split(/[ ,]+/).filter(Boolean), subject, ttlMs: ttl, audience: config.AUTH_AUDIENCE,
    organizationClaim: config.ORG_CLAIM, scopeClaim: config.SCOPE_CLAIM, ...(application && { applicationId: application }),
  });
}

const program = new Command('rollcall').description('See every live connection to your application, and cut it.').showHelpAfterError();

program.command('serve').description('run the server; configured by environment variables').action(async () => { await import('./main.ts'); });

program.command('token').description('print a token signed with the local key, and nothing else')
  .requiredOption('--org <id>', 'the organization the token is for')
  .option('--scope <scopes>', 'scopes, separated by spaces', ALL_SCOPES.join(' '))
  .option('--application <id>', 'bind the token to one application')
  .option('--subject <id>', "the token's subject", 'cli')
  .addOption(new Option('--ttl <duration>', 'how long it is valid').argParser(duration).default(3_600_000, '1h'))
  .action(async (flags: TokenFlags) => { process.stdout.write(`${await token(flags)}\n`); });

program.command('seed').description('fill an application with realistic sessions')
  .requiredOption('--application <id>', 'the application')
  .addOption(new Option('--sessions <n>', 'how many').argParser(count(1_000_000)).default(50))
  .option('--org <id>', 'the organization of the application', 'demo')
  .option('--url <url>', 'the server', `http://127.0.0.1:${process.env['PORT'] || 8080}`)
  .option('--token <token>', 'a token with sessions:write and sessions:revoke; without it the local key makes one')
  .action(async ({ application, sessions, org, url, token: given }: { application: string; sessions: number; org: string; url: string; token?: string }) => {
    const bearer = given ?? await token({ org, scope: 'sessions:write sessions:revoke', subject: 'seed', ttl: 3_600_000 });
    const made = await seed({ baseUrl: url, token: bearer, applicationId: application, count: sessions, progress: process.stderr });
    process.stdout.write(`${made} sessions were made in ${application}.\n`);
  });

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`rollcall: ${(error as Error).message}\n`); // whatever was thrown has a message for the operator
  process.exitCode = error instanceof ConfigError ? 78 : 1;
}
