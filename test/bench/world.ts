// What all contenders serve: the rows of one application with a hundred sessions, and this service's own answers about them.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { mintToken, readOrCreateSigningKey } from '../../server/keys.ts';
import { startServer, type Server, type Start } from './processes.ts';

export const SCOPES = ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:read', 'applications:write'];
export const ORGANIZATION = 'org_bench';
/** So long that nothing changes by itself while it is measured. */
export const CALM = { IDLE_AFTER: '10h', LEASE: '10h', RATE_LIMIT_PRINCIPAL: '1000000000', RATE_LIMIT_APPLICATION: '1000000000', RATE_LIMIT_REVOKES: '1000000000' } as const; // counted, and never too many
export const IDLE_AFTER_MS = 36_000_000;

export interface World {
  directory: string;
  applicationId: string;
  token: string;
  ids: string[];
  /** Bodies by session, and of the list of all. */
  one: Record<string, string>;
  list: string;
}

/** How contenders, which are processes of their own, are told. */
export const readWorld = (): World => JSON.parse(readFileSync(process.env['BENCH_WORLD'] ?? '', 'utf8'));

export type Caller = (method: string, path: string, body?: object) => Promise<{ text: string; body: any }>; // whoever asks knows the shape

export const callerOf = (url: string, token: string): Caller => async (method, path, body) => {
  const response = await fetch(`${url}/api/v1${path}`, { method, headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) }, ...(body && { body: JSON.stringify(body) }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return { text, body: JSON.parse(text) };
};

export const tokenFor = async (directory: string): Promise<string> =>
  mintToken(await readOrCreateSigningKey(directory), { organizationId: ORGANIZATION, scopes: SCOPES, subject: 'bench', ttlMs: 86_400_000, audience: 'rollcall' });

export const temporary = (): string => mkdtempSync(join(tmpdir(), 'rollcall-bench-'));

/** This service as it runs in production: its log goes to a file, metrics can be read, and whatever else is on by default is on. */
export const startRollcall = (directory: string, { env, ...start }: Start = {}): Promise<Server> =>
  startServer('server/main.ts', { ...start, args: ['--import', './server/require-node.js', ...start.args ?? []], log: start.log ?? join(directory, 'log'), env: { DATA_DIR: directory, METRICS_PORT: '0', ...CALM, ...env } });

export const sessionNumber = (index: number) => ({
  userId: `user_${index % 20}`, hostname: `build-${String(index % 10).padStart(2, '0')}`, userAgent: 'claude-code/2.1.204 (cli)',
  clientInfo: { name: 'claude-code', title: 'Claude Code', version: '2.1.204' }, externalId: `mcp:${randomUUID()}`,
  credentialId: `sid:${randomUUID()}`, tokenExpiresAt: new Date(Date.now() + 20 * 3_600_000).toISOString(),
});

/** Starts the service on new rows, and writes down what it answers. */
export async function createWorld(count = 100): Promise<{ world: World; file: string; rollcall: Server; remove(): Promise<void> }> {
  const directory = temporary(), rollcall = await startRollcall(directory);
  const token = await tokenFor(directory), call = callerOf(rollcall.url, token);
  const applicationId: string = (await call('POST', '/applications', { name: 'bench' })).body.application.id;
  const app = `/applications/${applicationId}`, ids: string[] = [];
  for (let index = 0; index < count; index++) ids.push((await call('POST', `${app}/sessions`, sessionNumber(index))).body.session.id);
  const lastActiveAt = new Date().toISOString();
  await call('POST', `${app}/heartbeats`, { heartbeats: ids.map((sessionId) => ({ sessionId, lastActiveAt })) });
  await wait(4_000); // the beats are written, and no longer shown from memory
  const one: Record<string, string> = {};
  for (const id of ids) one[id] = (await call('GET', `${app}/sessions/${id}`)).text;
  const world: World = { directory, applicationId, token, ids, one, list: (await call('GET', `${app}/sessions?limit=100`)).text };
  writePlainTable(directory);
  const file = join(directory, 'world.json');
  writeFileSync(file, JSON.stringify(world));
  return { world, file, rollcall, async remove() { await rollcall.stop(); rmSync(directory, { recursive: true, force: true }); } };
}

/** The same rows as a service would have them that keeps no JSON: one column for each member. */
function writePlainTable(directory: string): void {
  const db = new DatabaseSync(join(directory, 'rollcall.db'), { timeout: 5_000 });
  db.exec(`create table plain_sessions as select application_id, id, generation, state, reason, owner, token_expires_at, connected_at, disconnected_at, last_active_at,
      '{' || facts || '}' ->> 'name' as name, '{' || facts || '}' ->> 'organizationId' as organization_id, user_id, hostname, '{' || facts || '}' ->> 'userAgent' as user_agent,
      '{' || facts || '}' -> 'clientInfo' as client_info, '{' || facts || '}' ->> 'createdAt' as created_at, external_id from sessions;
    create unique index plain_sessions_key on plain_sessions (application_id, id);`);
  db.close();
}
