// A real service in the test's own process: real sockets on port 0, real tokens, a real database in a temporary folder, injected time.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { readConfig } from '../../server/config.ts';
import { createLog } from '../../server/log.ts';
import { mintToken } from '../../server/keys.ts';
import type { Timeouts } from '../../server/http.ts';
import { startService, type Service } from '../../server/service.ts';
import { createDatabase } from './postgres.ts';

export const EVERY_SCOPE = ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:read', 'applications:write'];
export const ORGANIZATION = 'org_test';

/** Set, each service of a test has a PostgreSQL database of its own instead of a file. */
export const ON_POSTGRES = 'ROLLCALL_TEST_ON_POSTGRES';

/** Time stands still in tests, and a minute is never over. */
export const WIDE_LIMITS = Object.fromEntries(['PRINCIPAL', 'APPLICATION', 'REVOKES', 'CONNECTS', 'NEW_APPLICATIONS', 'FAILED_AUTH'].map((name) => [`RATE_LIMIT_${name}`, '1000000']));

export interface Clock { now: () => number; advance(ms: number): void; set(ms: number): void }

/** Time that stands still until it is moved. */
export function createClock(start = Date.UTC(2026, 10, 23, 12)): Clock {
  let at = start;
  return { now: () => at, advance: (ms) => { at += ms; }, set: (ms) => { at = ms; } };
}

export interface TokenRequest { organizationId?: string; scopes?: readonly string[]; subject?: string; applicationId?: string; ttlMs?: number }

export interface Answer<Body = any> { status: number; headers: Headers; text: string; body: Body } // the tests say what they expect of it

export interface TestService {
  readonly service: Service;
  readonly url: string;
  readonly clock: Clock;
  readonly directory: string;
  /** Every line that was logged, parsed. */
  readonly logged: Record<string, unknown>[];
  /** The same, as it was written. */
  readonly log: string[];
  token(request?: TokenRequest): Promise<string>;
  /** Calls `/api/v1` + path with a token for every scope, unless told otherwise; `null` sends none. */
  call(method: string, path: string, options?: { token?: string | null; body?: unknown; headers?: Record<string, string> }): Promise<Answer>;
  /** A new application of the test's organization. */
  application(): Promise<string>;
  close(): Promise<void>;
}

export async function startTestService({ env = {}, clock = createClock(), elapsed, background = false, directory = mkdtempSync(join(tmpdir(), 'rollcall-')), timeouts, validateResponses = true }:
  { env?: Record<string, string>; clock?: Clock; elapsed?: () => number; background?: boolean; directory?: string; timeouts?: Partial<Timeouts>;
    /** Off, as in production: what was found good is remembered, and answers are written in one piece. */ validateResponses?: boolean } = {}): Promise<TestService> {
  const logged: Record<string, unknown>[] = [], written: string[] = [];
  const log = createLog('debug', new Writable({ write(chunk: Buffer, _encoding, done) { written.push(chunk.toString()); logged.push(JSON.parse(chunk.toString())); done(); } }));
  const database = process.env[ON_POSTGRES] ? await createDatabase() : undefined;
  const config = readConfig({ PORT: '0', DATA_DIR: directory, ...(database && { DATABASE_URL: database.url }), ...WIDE_LIMITS, ...env });
  const service = await startService(config, { log, now: clock.now, ...(elapsed && { elapsed }), validateResponses, background, timeouts });
  const token = ({ organizationId = ORGANIZATION, scopes = EVERY_SCOPE, subject = 'tester', applicationId, ttlMs = 3_600_000 }: TokenRequest = {}) => mintToken(service.signingKey!, {
    organizationId, scopes, subject, ttlMs, audience: config.AUTH_AUDIENCE, now: clock.now, ...(applicationId && { applicationId }),
  });
  let usual: { token: Promise<string>; until: number } | undefined;

  const call: TestService['call'] = async (method, path, { token: given, body, headers = {} } = {}) => {
    if (!usual || clock.now() > usual.until) usual = { token: token(), until: clock.now() + 3_000_000 };
    const bearer = given === null ? undefined : given ?? await usual.token;
    const response = await fetch(`${service.url}/api/v1${path}`, {
      method,
      headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : undefined };
  };

  return {
    service, url: service.url, clock, directory, logged, log: written, token, call,
    async application() {
      const { body } = await call('POST', '/applications', { body: { name: 'Test' } });
      return body.application.id;
    },
    async close() {
      await service.close();
      await database?.drop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
