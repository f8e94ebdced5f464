// `rollcall doctor`: looks at everything a server needs before it starts, and says what to do about what is missing.
import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import { issuerKeys } from '../issuer.ts';
import { checkPostgres, checkSqlite } from '../store/inspect.ts';

export interface Finding { readonly what: string; readonly state: 'ok' | 'warning' | 'failed'; readonly detail: string }

const ROOM_BYTES = 256 * 1_048_576;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Looks only: nothing is created, migrated or changed. */
export async function examine(config: Config): Promise<Finding[]> {
  const checks: Record<string, () => Promise<string | Finding>> = {
    ...(config.DATABASE_URL === undefined ? { database: () => embedded(config), disk: () => disk(config), key: () => key(config) } : { database: () => checkPostgres(config.DATABASE_URL!) }),
    ...(config.AUTH_ISSUER !== undefined && { issuer: () => issuer(config) }),
    pages: built,
    server: () => running(config),
  };
  return Promise.all(Object.entries(checks).map(async ([what, check]): Promise<Finding> => {
    try {
      const found = await check();
      return typeof found === 'string' ? { what, state: 'ok', detail: found } : found;
    } catch (error) {
      return { what, state: 'failed', detail: (error as Error).message }; // whatever was thrown has a message for the operator
    }
  }));
}

const warning = (what: string, detail: string): Finding => ({ what, state: 'warning', detail });

async function embedded({ DATA_DIR }: Config): Promise<string | Finding> {
  const there = await stat(join(DATA_DIR, 'rollcall.db')).catch(() => undefined);
  if (!there) return warning('database', `there is none in ${DATA_DIR} yet; the first start makes it`);
  await access(DATA_DIR, constants.W_OK);
  const open = [];
  for (const name of ['rollcall.db', 'rollcall.lock']) if (((await stat(join(DATA_DIR, name)).catch(() => undefined))?.mode ?? 0) & 0o077) open.push(join(DATA_DIR, name));
  if (open.length > 0 && ((await stat(DATA_DIR)).mode & 0o011) !== 0) return warning('database', `others can read it, or lock it: chmod 600 ${open.join(' ')}`);
  return checkSqlite(DATA_DIR);
}

async function disk({ DATA_DIR }: Config): Promise<string | Finding> {
  const { bavail, bsize } = await statfs(await stat(DATA_DIR).then(() => DATA_DIR, () => '.'));
  const free = Math.round(bavail * bsize / 1_048_576);
  return bavail * bsize < ROOM_BYTES ? warning('disk', `${free} MB are left for ${DATA_DIR}; writes are refused when it is full`) : `${free} MB are left for ${DATA_DIR}`;
}

async function key({ DATA_DIR, AUTH_ISSUER }: Config): Promise<string | Finding> {
  if (AUTH_ISSUER !== undefined) return 'none is needed: an issuer makes the tokens';
  const file = join(DATA_DIR, 'signing-key.json');
  const there = await stat(file).catch(() => undefined);
  if (!there) return warning('key', `there is none in ${DATA_DIR} yet; the first start makes it`);
  return (there.mode & 0o077) === 0 ? `${file} is for its owner only` : warning('key', `${file} can be read by others: chmod 600 ${file}`);
}

async function issuer({ AUTH_ISSUER, AUTH_JWKS_URL }: Config): Promise<string> {
  const find = issuerKeys({ issuer: AUTH_ISSUER!, jwksUrl: AUTH_JWKS_URL, staleMs: 60_000, now: Date.now, onFailure: (error) => { failure = error; } });
  let failure: unknown;
  // A key that nobody has: what is asked is whether the issuer has any at all.
  await Promise.resolve(find({ alg: 'ES256', kid: 'rollcall-doctor' }, { payload: '', signature: '' })).catch(() => {});
  if (failure) throw new Error(`${AUTH_ISSUER} is out of reach: ${(failure as Error).message}`);
  return `${AUTH_ISSUER} answers with its keys`;
}

async function built(): Promise<string | Finding> {
  const pages = { docs: '../../docs/site/index.html', console: '../../client/console/dist/index.html' };
  const missing: string[] = [];
  for (const [name, file] of Object.entries(pages)) await stat(here(file)).catch(() => missing.push(name));
  return missing.length === 0 ? 'the docs and the console are built' : warning('pages', `not built: ${missing.map((name) => `npm run ${name}`).join(', ')}`);
}

async function running({ HOST, PORT }: Config): Promise<string | Finding> {
  const host = HOST === '0.0.0.0' || HOST === '::' ? '127.0.0.1' : HOST, url = `http://${host.includes(':') ? `[${host}]` : host}:${PORT}`;
  const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
  if (!answer) return `none runs on ${url}`;
  const text = (await answer.text()).slice(0, 500);
  return answer.ok ? `one is ready on ${url}` : warning('server', `${url} answers ${answer.status}: ${text}`);
}
