// Tokens of an OpenID Connect issuer: a real one that works, and a small one that fails in every way.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createVerifier, type Verifier } from '../../server/auth.ts';
import { Problem } from '../../server/problem.ts';
import { startIssuer, type Issuer } from '../support/issuer.ts';
import { makeKey, startKeyServer, type KeyPair, type KeyServer } from '../support/key-server.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const base = { AUTH_JWKS_URL: undefined, AUTH_AUDIENCE: 'rollcall', AUTH_STALE_KEYS: HOUR, ORG_CLAIM: 'org_id', SCOPE_CLAIM: 'scope' };

const refusalOf = async (promise: Promise<unknown>): Promise<Problem> => {
  const error = await promise.then(() => 'accepted', (error: unknown) => error);
  expect(error).toBeInstanceOf(Problem);
  return error as Problem; // the line above says so
};
const expectUnavailable = async (promise: Promise<unknown>) => {
  const problem = await refusalOf(promise);
  expect(problem).toMatchObject({ code: 'issuer-unavailable', status: 503 });
  expect(problem.headers['Retry-After']).toMatch(/^[1-5]$/);
  return problem;
};

describe('tokens of a real issuer', () => {
  let issuer: Issuer;
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {}); // the issuer's, about keeping its data in memory
  beforeAll(async () => {
    issuer = await startIssuer({
      'adapter-1': { org_id: 'org_acme' },
      'adapter-2': { org_id: 'org_acme', application_id: '7c9e6679-7425-40de-944b-e07fc1f90ae7', sid: 'grant-1' },
      stranger: {},
    });
  });
  afterAll(async () => {
    warn.mockRestore();
    await issuer.close();
  });
  const trusting = (changes: object = {}) => createVerifier({ config: { ...base, AUTH_ISSUER: issuer.url, ...changes } });

  it('are found out by discovery and verify', async () => {
    const before = Date.now();
    const caller = await trusting().verify(await issuer.accessToken('adapter-1', ['sessions:read', 'sessions:revoke']));
    expect(caller).toEqual({
      subject: 'adapter-1', organizationId: 'org_acme', principal: 'org_acme\0adapter-1', scopes: new Set(['sessions:read', 'sessions:revoke']), applicationId: undefined,
      credentialId: expect.stringMatching(/^sha256:[\w-]{43}$/), expiresAt: expect.any(Number),
    });
    expect(caller.expiresAt).toBeGreaterThanOrEqual(Math.floor(before / 1000) * 1000 + 10 * MINUTE);
  });

  it('may be bound to an application and name their session', async () => {
    const caller = await trusting().verify(await issuer.accessToken('adapter-2', ['sessions:connect']));
    expect(caller).toMatchObject({ applicationId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', credentialId: 'sid:grant-1' });
  });

  it('verify with keys from AUTH_JWKS_URL', async () => {
    expect(await trusting({ AUTH_JWKS_URL: `${issuer.url}/jwks` }).verify(await issuer.accessToken('adapter-1', []))).toMatchObject({ organizationId: 'org_acme' });
  });

  it.each([['without an organization', 'stranger', {}, /no org_id claim/], ['for another audience', 'adapter-1', { AUTH_AUDIENCE: 'other' }, /audience/]])('are refused %s', async (_, client, changes, detail) => {
    expect(await refusalOf(trusting(changes).verify(await issuer.accessToken(client, [])))).toMatchObject({ code: 'unauthorized', detail: expect.stringMatching(detail) });
  });

  it.each(['RS256', 'PS256', 'EdDSA'])('may be signed with %s', async (algorithm) => {
    const other = await startIssuer({ 'adapter-1': { org_id: 'org_acme' } }, { algorithm });
    try {
      const verifier = createVerifier({ config: { ...base, AUTH_ISSUER: other.url } });
      expect(await verifier.verify(await other.accessToken('adapter-1', []))).toMatchObject({ organizationId: 'org_acme' });
    } finally {
      await other.close();
    }
  });
});

describe("an issuer's keys", () => {
  let server: KeyServer;
  let first: KeyPair;
  let second: KeyPair;
  let verifier: Verifier;
  let clock: number;
  let failures: string[];
  let count = 0;
  const pass = (ms: number) => { clock += ms; };
  const now = () => clock;
  const onIssuerFailure = (error: unknown) => { failures.push(String(error)); };
  const config = (changes: object = {}) => ({ ...base, AUTH_ISSUER: server.url, AUTH_JWKS_URL: `${server.url}/keys`, ...changes });
  /** Never the same token twice: a remembered one would say nothing about keys. */
  const token = (key = first, claims: object = {}) => key.sign({
    iss: server.url, aud: 'rollcall', sub: 'alice', org_id: 'org_acme', jti: String(count++), exp: Math.floor(clock / 1000) + 600, ...claims,
  });
  const fetches = () => server.hits.filter((path) => path === '/keys').length;

  beforeAll(async () => {
    first = await makeKey('key-1');
    second = await makeKey('key-2');
  });
  beforeEach(async () => {
    server = await startKeyServer();
    server.keys = [first.publicJwk];
    clock = Date.UTC(2026, 0, 1);
    failures = [];
    verifier = createVerifier({ config: config(), now, onIssuerFailure });
  });
  afterEach(() => server.stop());

  it('are fetched once for many callers', async () => {
    await Promise.all(Array.from({ length: 50 }, async () => verifier.verify(await token())));
    expect(fetches()).toBe(1);
  });

  it('are not fetched before somebody calls, nor for what is no token', async () => {
    await refusalOf(verifier.verify('junk'));
    await refusalOf(verifier.verify('eyJhbGciOiJub25lIn0.e30.AAAA'));
    expect(fetches()).toBe(0);
  });

  it.each(['hang', 'headers only', 'reset', 'error', 'HTML', 'no keys', 'null', 'redirect', '50 MB', 'gzip bomb'] as const)('being out of reach from the start (%s) is 503 within two seconds, until they are back', async (answer) => {
    server.answer = answer;
    const started = performance.now();
    const problem = await expectUnavailable(verifier.verify(await token()));
    expect(performance.now() - started).toBeLessThan(6_000);
    expect(problem.cause).toBeInstanceOf(Error);
    expect(problem.detail).toBeUndefined();
    expect(server.hits).toEqual(['/keys']); // and not /elsewhere
    expect(server.sent).toBeLessThan(10 * 1024 * 1024);
    expect(failures).toHaveLength(1);

    server.answer = 'keys';
    await expectUnavailable(verifier.verify(await token())); // an attempt was made just now
    pass(5_000);
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
    expect(await refusalOf(verifier.verify(await token(second)))).toMatchObject({ code: 'unauthorized' });
    expect(fetches()).toBe(2);
  });

  it('being down from the start is 503, until they are back', async () => {
    await server.stop();
    await expectUnavailable(verifier.verify(await token()));
    await server.start();
    pass(5_000);
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
  });

  it('are asked for once in five seconds while they are out of reach', async () => {
    server.answer = 'error';
    for (let seconds = 0; seconds < 20; seconds++, pass(1_000)) {
      await Promise.all(Array.from({ length: 10 }, async () => expectUnavailable(verifier.verify(await token()))));
    }
    expect(fetches()).toBe(4);
  });

  it('are used on while the issuer hangs, without waiting for it, for as long as AUTH_STALE_KEYS says', async () => {
    await verifier.verify(await token());
    server.answer = 'hang';
    pass(6 * MINUTE);
    const started = performance.now();
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
    expect(performance.now() - started).toBeLessThan(1_000);
    pass(MINUTE);
    await expectUnavailable(verifier.verify(await token(second))); // waits for the attempt that the first has begun
    expect(fetches()).toBe(2);

    server.answer = 'error';
    pass(52 * MINUTE + 59_999);
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
    await expectUnavailable(verifier.verify(await token(second)));
    pass(1);
    await expectUnavailable(verifier.verify(await token()));

    server.answer = 'keys';
    pass(5_000);
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
  });

  it('are refreshed beside the requests, not by each of them, while the issuer is down', async () => {
    await verifier.verify(await token());
    await server.stop();
    pass(10 * MINUTE);
    for (let seconds = 0; seconds < 20; seconds++, pass(1_000)) {
      await Promise.all(Array.from({ length: 10 }, async () => verifier.verify(await token())));
      await expectUnavailable(verifier.verify(await token(second))); // waits for the attempt, if there is one
    }
    expect(failures).toHaveLength(4);
  });

  it('keep a verified token going while the issuer is down', async () => {
    const good = await token();
    await verifier.verify(good);
    await server.stop();
    pass(59_999);
    expect(await verifier.verify(good)).toMatchObject({ subject: 'alice' });
    expect(failures).toEqual([]);
  });

  it('may rotate: a new one is found at once, or five seconds after the last fetch', async () => {
    await verifier.verify(await token());
    server.keys = [first.publicJwk, second.publicJwk];
    expect(await refusalOf(verifier.verify(await token(second)))).toMatchObject({ code: 'unauthorized', detail: 'The token is signed with a key that is not known here.' });
    pass(5_000);
    expect(await verifier.verify(await token(second))).toMatchObject({ subject: 'alice' });
    expect(fetches()).toBe(2);
  });

  it('may rotate without names, and are seen after the refresh', async () => {
    const [old, fresh] = [await makeKey(undefined), await makeKey(undefined)];
    server.keys = [old.publicJwk];
    await verifier.verify(await token(old));
    server.keys = [fresh.publicJwk];
    pass(5 * MINUTE);
    await refusalOf(verifier.verify(await token(fresh))); // begins the refresh, with the old key
    await vi.waitFor(async () => verifier.verify(await token(fresh)), 5_000);
    expect(fetches()).toBe(2);
  });

  it('that the issuer took back are gone after the refresh', async () => {
    await verifier.verify(await token());
    server.keys = [second.publicJwk];
    pass(5 * MINUTE);
    await verifier.verify(await token()); // begins the refresh, with the old key
    await vi.waitFor(async () => expect(await refusalOf(verifier.verify(await token()))).toMatchObject({ code: 'unauthorized' }), 5_000);
    expect(fetches()).toBe(2);
  });

  it('that the issuer took back after a quiet hour verify nothing any more, not even once', async () => {
    await verifier.verify(await token());
    server.keys = [second.publicJwk];
    pass(10 * MINUTE);
    const forged = await Promise.all(Array.from({ length: 10 }, async () => token()));
    await Promise.all(forged.map(async (token) => expect(await refusalOf(verifier.verify(token))).toMatchObject({ code: 'unauthorized' })));
    expect(fetches()).toBe(2);
  });

  it('are asked for first after a quiet hour, for two seconds at most, and once a minute: then they are used on', async () => {
    await verifier.verify(await token());
    server.answer = 'hang';
    pass(30 * MINUTE);
    const started = performance.now();
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
    expect(performance.now() - started).toBeLessThan(6_000);
    expect(failures).toHaveLength(1);
    pass(MINUTE - 1);
    const again = performance.now();
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
    expect(performance.now() - again).toBeLessThan(1_000);
    await expectUnavailable(verifier.verify(await token(second))); // waits for the attempt that has begun
    server.answer = 'keys';
    server.keys = [second.publicJwk];
    pass(MINUTE);
    expect(await refusalOf(verifier.verify(await token()))).toMatchObject({ code: 'unauthorized' });
  });

  it('are refreshed in time where AUTH_STALE_KEYS is short', async () => {
    const short = createVerifier({ config: config({ AUTH_STALE_KEYS: MINUTE }), now });
    await short.verify(await token());
    pass(MINUTE / 2);
    await short.verify(await token());
    await vi.waitFor(() => expect(fetches()).toBe(2), 5_000);
  });

  it('are used for five seconds where AUTH_STALE_KEYS is nothing', async () => {
    const strict = createVerifier({ config: config({ AUTH_STALE_KEYS: 0 }), now });
    await strict.verify(await token());
    server.answer = 'error';
    pass(4_999);
    await strict.verify(await token());
    expect(fetches()).toBe(1);
    pass(1);
    await expectUnavailable(strict.verify(await token()));
  });

  it('cost one fetch for a hundred tokens with invented names, and none when they were just fetched', async () => {
    await verifier.verify(await token());
    const invented = async () => Promise.all(Array.from({ length: 100 }, async (_, index) => token(await makeKey(`junk-${index}`))));
    const junk = await invented();
    const started = performance.now();
    await Promise.all(junk.map(async (token) => expect(await refusalOf(verifier.verify(token))).toMatchObject({ code: 'unauthorized' })));
    expect(performance.now() - started).toBeLessThan(500); // all hundred of them, on a busy machine
    expect(fetches()).toBe(1);
    pass(5_000);
    await Promise.all(junk.map(async (token) => expect(await refusalOf(verifier.verify(token))).toMatchObject({ code: 'unauthorized' })));
    expect(fetches()).toBe(2);
  });

  it('that are unknown while the issuer is down may be good: 503, not 401', async () => {
    await verifier.verify(await token());
    await server.stop();
    pass(5_000);
    await expectUnavailable(verifier.verify(await token(second)));
    pass(1_000);
    await expectUnavailable(verifier.verify(await token(second)));
    expect(failures).toHaveLength(1);
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
  });

  it('are asked for again when the clock was set back', async () => {
    await verifier.verify(await token());
    server.keys = [second.publicJwk];
    pass(-HOUR);
    expect(await verifier.verify(await token(second))).toMatchObject({ subject: 'alice' });
  });

  it.each(['RS512', 'PS384', 'ES384', 'ES512', 'Ed25519'])('may be for %s', async (algorithm) => {
    const key = await makeKey('other', algorithm);
    server.keys = [first.publicJwk, key.publicJwk];
    expect(await verifier.verify(await token(key))).toMatchObject({ subject: 'alice' });
  });

  it('must be named when there are several', async () => {
    server.keys = [{ ...first.publicJwk, kid: 'a' }, { ...second.publicJwk, kid: 'b' }];
    const nameless = await makeKey(undefined);
    expect(await refusalOf(verifier.verify(await token(nameless)))).toMatchObject({ detail: expect.stringMatching(/kid/) });
    pass(5_000);
    await refusalOf(verifier.verify(await token(nameless)));
    expect(fetches()).toBe(1); // others would not help
  });

  it.each<[string, () => object]>([
    ['no point of its curve', () => ({ ...first.publicJwk, x: first.publicJwk.y, y: first.publicJwk.x })],
    ['a short RSA key', () => ({ kty: 'RSA', kid: 'key-1', n: 'u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u', e: 'AQAB' })],
    ['a secret', () => ({ kty: 'oct', kid: 'key-1', k: 'c2VjcmV0' })],
  ])('that are %s verify nothing, and hurt no other', async (_, broken) => {
    server.keys = [broken(), second.publicJwk];
    expect(await refusalOf(verifier.verify(await token()))).toMatchObject({ code: 'unauthorized' });
    expect(await verifier.verify(await token(second))).toMatchObject({ subject: 'alice' });
  });

  it('do not count for a token that names another issuer, nor for a secret signature', async () => {
    expect(await refusalOf(verifier.verify(await token(first, { iss: `${server.url}/` })))).toMatchObject({ code: 'unauthorized', detail: expect.stringMatching(/issuer/) });
    const secret = Buffer.from(JSON.stringify(first.publicJwk));
    const forged = await new SignJWT({ iss: server.url }).setProtectedHeader({ alg: 'HS256', kid: 'key-1' }).sign(secret);
    expect(await refusalOf(verifier.verify(forged))).toMatchObject({ code: 'unauthorized', detail: expect.stringMatching(/algorithm/) });
  });

  describe('by discovery', () => {
    const discovering = (path = '') => createVerifier({ config: config({ AUTH_ISSUER: server.url + path, AUTH_JWKS_URL: undefined }), now, onIssuerFailure });

    it.each([['', '/.well-known/openid-configuration'], ['/', '/.well-known/openid-configuration'], ['/realms/acme', '/realms/acme/.well-known/openid-configuration']])('are found for an issuer with path %j', async (path, asked) => {
      server.discovery = { issuer: server.url + path, jwks_uri: `${server.url}/keys` };
      expect(await discovering(path).verify(await token(first, { iss: server.url + path }))).toMatchObject({ subject: 'alice' });
      expect(server.hits).toEqual([asked, '/keys']);
    });

    it.each<[string, () => object | undefined, RegExp]>([
      ['is missing', () => undefined, /404/],
      ['is for another issuer', () => ({ issuer: `${server.url}/`, jwks_uri: `${server.url}/keys` }), /another issuer/],
      ['names no keys', () => ({ issuer: server.url }), /may not be fetched/],
      ['names keys that are no URL', () => ({ issuer: server.url, jwks_uri: '/keys' }), /may not be fetched/],
      ['names a file', () => ({ issuer: server.url, jwks_uri: 'file:///etc/passwd' }), /may not be fetched/],
      ['names plain http elsewhere', () => ({ issuer: server.url, jwks_uri: 'http://169.254.169.254/keys' }), /may not be fetched/],
      ['carries the keys itself', () => ({ issuer: server.url, jwks_uri: 'data:application/json,{"keys":[]}' }), /may not be fetched/],
    ])('are out of reach when the document %s', async (_, discovery, reason) => {
      server.discovery = discovery();
      await expectUnavailable(discovering().verify(await token()));
      expect(failures).toEqual([expect.stringMatching(reason)]);
      expect(fetches()).toBe(0);
    });

    it.each(['http://127.0.0.1:1', 'https://127.0.0.1', 'https://127.1.2.3', 'https://2130706433', 'https://0.0.0.0', 'https://localhost', 'https://keys.localhost.', 'https://[::1]', 'https://[::]', 'https://[::ffff:127.0.0.1]', 'https://169.254.169.254', 'https://[::ffff:a9fe:a9fe]', 'https://[fe80::1]'])(
      'are not looked for on this machine or its link (%s) at the word of an issuer elsewhere', async (origin) => {
        const asked = vi.fn(async () => Response.json({ issuer: 'https://issuer.example', jwks_uri: `${origin}/keys` }));
        vi.stubGlobal('fetch', asked);
        try {
          const verifier = createVerifier({ config: config({ AUTH_ISSUER: 'https://issuer.example', AUTH_JWKS_URL: undefined }), now, onIssuerFailure });
          await expectUnavailable(verifier.verify(await token()));
          expect(failures).toEqual([expect.stringMatching(/may not be fetched/)]);
          expect(asked).toHaveBeenCalledTimes(1);
        } finally {
          vi.unstubAllGlobals();
        }
      });

    it.each(['https://keys.example', 'https://10.0.0.1', 'https://[2001:db8::1]'])('may be elsewhere: %s', async (origin) => {
      vi.stubGlobal('fetch', async (url: string) => Response.json(url === `${origin}/keys` ? { keys: server.keys } : { issuer: 'https://issuer.example', jwks_uri: `${origin}/keys` }));
      try {
        const verifier = createVerifier({ config: config({ AUTH_ISSUER: 'https://issuer.example', AUTH_JWKS_URL: undefined }), now, onIssuerFailure });
        expect(await verifier.verify(await token(first, { iss: 'https://issuer.example' }))).toMatchObject({ subject: 'alice' });
      } finally {
        vi.unstubAllGlobals();
      }
    });
  });

  it('keep no process alive', async () => {
    const program = `
      const { createVerifier } = await import(${JSON.stringify(new URL('../../server/auth.ts', import.meta.url).href)});
      const verifier = createVerifier({ config: ${JSON.stringify(config())} });
      console.log((await verifier.verify(process.argv[1])).subject);
    `;
    clock = Date.now();
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, await token()], { timeout: 10_000 });
    expect(stdout).toBe('alice\n');
  });
});
