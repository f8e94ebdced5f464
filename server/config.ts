// The environment, read once into one frozen Config. The README's table is made from the same declarations.
import { isIP } from 'node:net';
import { z } from 'zod';

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A century: after a much longer one come moments that no date can have. */
export const LONGEST_DURATION = '36500d';

/** `90s`, `5m`, `1h`, `30d` -> milliseconds. */
export function parseDuration(text: string): number | undefined {
  const [, amount = NaN, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Number(amount) * UNITS[unit as keyof typeof UNITS]; // the pattern admits only these units
  return ms <= parseInt(LONGEST_DURATION, 10) * UNITS.d ? ms : undefined;
}

const duration = (fallback: string, least = 0) => z.string().default(fallback).transform((text, context) => {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= least) return ms;
  context.addIssue(`must be a duration such as 90s, 5m, 1h or 30d${least ? `, at least ${least / 1000}s` : ''}, at most ${LONGEST_DURATION}`);
  return z.NEVER;
});
const integer = (fallback: number, min: number, max: number) => z.string().regex(/^\d+$/, 'must be a whole number').default(String(fallback))
  .transform(Number).pipe(z.number().min(min).max(max));
const url = () => z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });

const MOST_CALLS = 1_000_000_000;

/** As Express takes it: so many hops, or these addresses. */
function toTrust(text: string, context: z.RefinementCtx): number | string[] | false {
  if (/^\d{1,2}$/.test(text)) return Number(text) || false;
  const proxies = text.split(',').map((part) => part.trim()).filter(Boolean);
  for (const proxy of proxies) {
    const [address = '', bits, more] = proxy.split('/'), version = isIP(address);
    const isNetwork = more === undefined && version > 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)));
    if (!isNetwork && !['loopback', 'linklocal', 'uniquelocal'].includes(proxy)) context.addIssue(`must be a number, or addresses and networks such as 10.0.0.0/8; ${JSON.stringify(proxy)} is none`);
  }
  return proxies.length > 0 && proxies;
}

/** Each variable: its form, its default, and what it is for. */
export const variables = {
  PORT: integer(8080, 0, 65535).describe('Port to listen on; 0 takes any free one.'),
  HOST: z.string().default('127.0.0.1').describe('Address to listen on.'),
  DATA_DIR: z.string().min(1).default('./data').describe('Where the embedded database and the signing key live.'),
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' }).optional()
    .describe('Use this PostgreSQL instead of the embedded database.'),
  AUTH_ISSUER: url().optional().describe('OpenID Connect issuer whose tokens are accepted. Without it the server signs its own with a local key.'),
  AUTH_AUDIENCE: z.string().min(1).default('rollcall').describe('The `aud` a token must carry.'),
  AUTH_JWKS_URL: url().optional().describe("Where the issuer's keys are, when its discovery document does not say."),
  AUTH_STALE_KEYS: duration('1h').describe("How long the issuer's last known keys are trusted while it is out of reach."),
  ORG_CLAIM: z.string().min(1).default('org_id').describe('The claim that names the organization.'),
  SCOPE_CLAIM: z.string().min(1).default('scope').describe('The claim that lists the scopes, as a string or an array.'),
  IDLE_AFTER: duration('5m', 1000).describe('A connected session without activity for so long is idle.'),
  LEASE: duration('90s', 1000).describe('A session without a heartbeat for so long is lost.'),
  RETENTION: duration('30d', 1000).describe('How long a disconnected session is kept.'),
  EVENT_RETENTION: duration('24h', 1000).describe('How long events are kept for readers to catch up.'),
  AUDIT_RETENTION: duration('400d', 1000).describe('How long the audit of revokes is kept.'),
  STREAMS: integer(20_000, 1, 1_000_000).describe('Event streams this process keeps open at most; never more than four in five of its connections.'),
  STREAMS_PER_APPLICATION: integer(15_000, 1, 1_000_000).describe('Event streams one application may have open here.'),
  STREAMS_PER_PRINCIPAL: integer(2_000, 1, 1_000_000).describe('Event streams one caller (organization and `sub`) may have open here.'),
  STREAMS_PER_CLIENT: integer(50, 1, 1_000_000).describe('The same for a caller that has `sessions:connect` only.'),
  MAX_CONNECTIONS: integer(25_000, 1, 1_000_000).describe('Connections this process takes at most, streams included; never more than its files allow.'),
  RATE_LIMIT_PRINCIPAL: integer(30_000, 0, MOST_CALLS).describe('Calls a minute that one caller (organization and `sub`) may make here; 0 is no limit.'),
  RATE_LIMIT_APPLICATION: integer(60_000, 0, MOST_CALLS).describe('Calls a minute about one application; 0 is no limit.'),
  RATE_LIMIT_REVOKES: integer(120, 0, MOST_CALLS).describe('Revokes a minute that one caller may make, previews included; 0 is no limit.'),
  RATE_LIMIT_CONNECTS: integer(60, 0, MOST_CALLS).describe('Sessions a minute that one caller may create by `sessions:connect`; 0 is no limit.'),
  RATE_LIMIT_NEW_APPLICATIONS: integer(60, 0, MOST_CALLS).describe('Applications a minute that one organization may create here; 0 is no limit.'),
  RATE_LIMIT_FAILED_AUTH: integer(50, 0, MOST_CALLS).describe('Tokens a second that one address (IPv6: one /64) may get wrong; more are not looked at. 0 is no limit.'),
  TRUST_PROXY: z.string().default('').transform(toTrust)
    .describe('Whose X-Forwarded-For is believed: a number of proxies, or their addresses and networks, separated by commas. Nobody by default.'),
  CORS_ORIGINS: z.string().default('').transform((text) => text.split(',').map((origin) => origin.trim()).filter(Boolean))
    .describe('Origins, separated by commas, from which browsers may call the API.'),
  METRICS_PORT: z.string().regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(0).max(65535)).optional()
    .describe('Port for Prometheus to read metrics from; without it there are none.'),
  METRICS_HOST: z.string().min(1).default('127.0.0.1').describe('Address the metrics are served on. They need no token: keep it private.'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info').describe('How much is logged.'),
};

const schema = z.object(variables).superRefine(({ AUTH_ISSUER, AUTH_JWKS_URL }, context) => {
  for (const [name, value] of Object.entries({ AUTH_ISSUER, AUTH_JWKS_URL })) {
    if (value?.startsWith('http:') && !['localhost', '127.0.0.1', '[::1]'].includes(new URL(value).hostname)) {
      context.addIssue({ code: 'custom', path: [name], message: 'must be https, except on loopback' });
    }
  }
  if (AUTH_JWKS_URL && !AUTH_ISSUER) context.addIssue({ code: 'custom', path: ['AUTH_JWKS_URL'], message: 'needs AUTH_ISSUER' });
});

export type Config = Readonly<z.output<typeof schema>>;

export class ConfigError extends Error {}

/** @throws ConfigError naming every variable that is wrong, and how. */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(Object.keys(variables).flatMap((name) => environment[name] ? [[name, environment[name]]] : []));
  const parsed = schema.safeParse(given);
  if (parsed.success) return Object.freeze(parsed.data);
  throw new ConfigError(parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}${shown(given, String(path[0]))}`).join('\n'));
}

/** What was given, unless it can have a password in it: one that is not percent-encoded is what makes a URL malformed. */
function shown(given: Record<string, string | undefined>, name: string): string {
  const value = given[name] ?? '';
  if (name === 'DATABASE_URL') return '; percent-encode what is special in its password (it is not shown here)';
  return value.includes('@') ? '' : ` (it is ${JSON.stringify(value)})`;
}
