// Which tokens make a caller, which make a refusal, and what the refusal says.
import { createHmac, createPublicKey } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { exportSPKI, generateKeyPair, importJWK, SignJWT, type CryptoKey, type JWTHeaderParameters } from 'jose';
import { afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { bearerToken, createVerifier, type Verifier } from '../../server/auth.ts';
import { generateSigningKey, mintToken, type SigningKey } from '../../server/keys.ts';
import { Problem } from '../../server/problem.ts';

const NOW = Date.UTC(2026, 0, 1);
const SECOND = NOW / 1000;
const config = { AUTH_ISSUER: undefined, AUTH_JWKS_URL: undefined, AUTH_AUDIENCE: 'rollcall', AUTH_STALE_KEYS: 3_600_000, ORG_CLAIM: 'org_id', SCOPE_CLAIM: 'scope' };
const good = { iss: 'rollcall', aud: 'rollcall', sub: 'alice', org_id: 'org_acme', scope: 'sessions:read sessions:revoke', iat: SECOND, exp: SECOND + 600 };

const base64 = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const refusalOf = async (promise: Promise<unknown>): Promise<Problem> => {
  const error = await promise.then(() => 'accepted', (error: unknown) => error);
  expect(error).toBeInstanceOf(Problem);
  return error as Problem; // the line above says so
};

let key: SigningKey;
let privateKey: CryptoKey;
let verifier: Verifier;
let clock = NOW;
const at = (moment: number) => { clock = moment; };
afterEach(() => at(NOW));

/** A token signed with the right key; `changes` replace claims, and undefined takes one out. */
const sign = (changes: Record<string, unknown> = {}, header: Partial<JWTHeaderParameters> = {}, signWith = privateKey) =>
  new SignJWT({ ...good, ...changes }).setProtectedHeader({ alg: 'ES256', kid: key.kid, ...header }).sign(signWith);

beforeAll(async () => {
  key = await generateSigningKey();
  privateKey = await importJWK(key.privateJwk, 'ES256') as CryptoKey; // a JWK with kty EC never gives bytes
  verifier = createVerifier({ config, localKey: key, now: () => clock });
});

describe('bearerToken', () => {
  it.each(['Bearer abc.def.ghi', 'bearer abc.def.ghi', 'BEARER abc.def.ghi', 'Bearer   abc.def.ghi'])('takes the token out of %j', (header) => {
    expect(bearerToken(header)).toBe('abc.def.ghi');
  });

  it.each([undefined, '', 'Bearer', 'Bearer ', 'Basic bearerxyz', 'Bearerabc', 'abc.def.ghi', ' Bearer abc'])('asks for a token when the header is %j', (header) => {
    expect(() => bearerToken(header)).toThrow(expect.objectContaining({
      code: 'unauthorized', detail: 'Send one as Authorization: Bearer <token>.', headers: { 'WWW-Authenticate': 'Bearer realm="rollcall"' },
    }));
  });

  it.each(['Bearer a b', 'Bearer a, Bearer b', 'Bearer a,b', 'Bearer "a"', 'Bearer a\tb', 'Bearer a\u00e9', 'Bearer a=b', 'Bearer a '])('refuses %j', (header) => {
    expect(() => bearerToken(header)).toThrow(expect.objectContaining({
      code: 'unauthorized', headers: { 'WWW-Authenticate': expect.stringMatching(/^Bearer realm="rollcall", error="invalid_token", error_description="[^"\\]+"$/) },
    }));
  });
});

describe('a verifier with a local key', () => {
  it('reads the caller off a good token', async () => {
    const token = await sign({ application_id: '7c9e6679-7425-40de-944b-e07fc1f90ae7', sid: 'login-1' });
    expect(await verifier.verify(token)).toEqual({
      subject: 'alice', organizationId: 'org_acme', principal: 'org_acme\0alice', scopes: new Set(['sessions:read', 'sessions:revoke']),
      applicationId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', credentialId: 'sid:login-1', expiresAt: NOW + 600_000,
    });
  });

  it.each<[string, () => Promise<string>]>([
    ['expired by less than the leeway', () => sign({ exp: SECOND - 29 })],
    ['valid from a moment within the leeway', () => sign({ nbf: SECOND + 30 })],
    ['issued within the leeway', () => sign({ iat: SECOND + 30 })],
    ['without iat', () => sign({ iat: undefined })],
    ['for several audiences, us among them', () => sign({ aud: ['other', 'rollcall'] })],
    ['of type JWT', () => sign({}, { typ: 'JWT' })],
    ['of type at+jwt', () => sign({}, { typ: 'at+jwt' })],
    ['of type application/at+jwt', () => sign({}, { typ: 'application/at+jwt' })],
    ['without kid', () => sign({}, { kid: undefined })],
    ['with a fraction of a second in exp', () => sign({ exp: SECOND + 0.5 })],
  ])('accepts a token %s', async (_, token) => {
    expect(await verifier.verify(await token())).toMatchObject({ subject: 'alice' });
  });

  it.each<[string, unknown, string[]]>([
    ['a string', 'a b  c ', ['a', 'b', 'c']],
    ['an array', ['a', 'b'], ['a', 'b']],
    ['nothing', undefined, []],
    ['an empty string', '', []],
  ])('reads scopes from %s', async (_, scope, expected) => {
    expect([...(await verifier.verify(await sign({ scope }))).scopes]).toEqual(expected);
  });

  it('reads the organization and the scopes from the claims it is told', async () => {
    const named = createVerifier({ config: { ...config, ORG_CLAIM: 'https://acme.example/org', SCOPE_CLAIM: 'scp' }, localKey: key, now: () => NOW });
    const caller = await named.verify(await sign({ 'https://acme.example/org': 'org_b', org_id: 'org_a', scp: ['x'] }));
    expect(caller).toMatchObject({ organizationId: 'org_b', scopes: new Set(['x']) });
  });

  describe('refuses a token', () => {
    const hmac = (secret: string | Buffer, header: object) => {
      const signed = `${base64(header)}.${base64(good)}`;
      return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
    };
    const publicJwk = () => ({ kty: 'EC', crv: 'P-256', x: key.privateJwk.x, y: key.privateJwk.y });
    const stranger = async (alg = 'ES256') => (await generateKeyPair(alg)).privateKey;
    const parts = async () => (await sign()).split('.') as [string, string, string]; // a compact JWS has three

    it.each<[string, () => string | Promise<string>, RegExp]>([
      // algorithms
      ['with alg none', () => `${base64({ alg: 'none' })}.${base64(good)}.`, /not a signed JWT/],
      ['with alg none and a signature', () => `${base64({ alg: 'none' })}.${base64(good)}.AAAA`, /algorithm/],
      ['with alg NonE', () => `${base64({ alg: 'NonE' })}.${base64(good)}.AAAA`, /algorithm/],
      ['with alg NONE and our kid', () => `${base64({ alg: 'NONE', kid: key.kid })}.${base64(good)}.AAAA`, /algorithm/],
      ['with an empty alg', () => `${base64({ alg: '' })}.${base64(good)}.AAAA`, /malformed/],
      ['without alg', () => `${base64({ kid: key.kid })}.${base64(good)}.AAAA`, /malformed/],
      ['with a numeric alg', () => `${base64({ alg: 256 })}.${base64(good)}.AAAA`, /malformed/],
      ['signed HS256 with the public key as PEM', () => hmac(createPublicKey({ key: publicJwk(), format: 'jwk' }).export({ format: 'pem', type: 'spki' }), { alg: 'HS256', kid: key.kid }), /algorithm/],
      ['signed HS256 with the public key as JSON', () => hmac(JSON.stringify(publicJwk()), { alg: 'HS256', kid: key.kid }), /algorithm/],
      ['signed HS256 with nothing', () => hmac('', { alg: 'HS256' }), /algorithm/],
      ['signed ES384 by another curve under our kid', async () => sign({}, { alg: 'ES384' }, await stranger('ES384')), /algorithm/],
      ['signed RS256 under our kid', async () => sign({}, { alg: 'RS256' }, await stranger('RS256')), /algorithm/],
      // keys
      ['signed by a stranger under our kid', async () => sign({}, {}, await stranger()), /signature/],
      ['with a kid nobody knows', () => sign({}, { kid: 'other' }), /not known/],
      ['with a kid that climbs', () => sign({}, { kid: '../../../../dev/null' }), /not known/],
      ['with a kid that queries', () => sign({}, { kid: "' UNION SELECT 'k" }), /not known/],
      ['with a kid of the prototype', () => sign({}, { kid: '__proto__' }), /not known/],
      ['with a numeric kid', () => sign({}, { kid: 5 as unknown as string }), /not known/], // what an attacker writes has no types
      ['that brings its own jwk', async () => {
        const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
        const pem = createPublicKey(await exportSPKI(publicKey));
        return sign({}, { jwk: pem.export({ format: 'jwk' }) as { kty: string } }, privateKey); // an EC key has a kty
      }, /signature/],
      ['with a crit header it does not understand', async () => {
        const [, payload, signature] = await parts();
        return `${base64({ alg: 'ES256', kid: key.kid, crit: ['exp'], exp: 1 })}.${payload}.${signature}`;
      }, /malformed/],
      ['with an unencoded payload', async () => {
        const [, payload, signature] = await parts();
        return `${base64({ alg: 'ES256', kid: key.kid, crit: ['b64'], b64: false })}.${payload}.${signature}`;
      }, /signature/],
      // signatures and shapes
      ['with the signature of another', async () => `${(await parts()).slice(0, 2).join('.')}.${(await sign({ sub: 'bob' })).split('.')[2]}`, /signature/],
      ['with the payload of another', async () => `${(await parts())[0]}.${base64({ ...good, org_id: 'org_b' })}.${(await parts())[2]}`, /signature/],
      ['with half a signature', async () => (await sign()).slice(0, -43), /signature/],
      ['with a signature of zeros', async () => `${(await parts()).slice(0, 2).join('.')}.${base64('\0'.repeat(64))}`, /signature/],
      ['with a blank signature', async () => `${(await parts()).slice(0, 2).join('.')}.`, /not a signed JWT/],
      ['without its signature', async () => (await parts()).slice(0, 2).join('.'), /not a signed JWT/],
      ['that is two dots', () => '..', /not a signed JWT/],
      ['that is empty', () => '', /not a signed JWT/],
      ['that is encrypted', () => 'a.b.c.d.e', /not a signed JWT/],
      ['with a space at its end', async () => `${await sign()} `, /not a signed JWT/],
      ['with a line break inside', async () => (await sign()).replace(/.{9}$/, '\n$&'), /not a signed JWT/],
      ['with padding', async () => `${await sign()}==`, /not a signed JWT/],
      ['whose header is no JSON', async () => `${base64('{')}.${(await parts())[1]}.AAAA`, /malformed/],
      ['whose header is an array', async () => `${base64([])}.${(await parts())[1]}.AAAA`, /malformed/],
      ['that is huge', () => sign({ filler: 'x'.repeat(9_000) }), /longer than 8192/],
      // claims
      ['of another issuer', () => sign({ iss: 'https://attacker.example' }), /issuer/],
      ['without an issuer', () => sign({ iss: undefined }), /no iss claim/],
      ['for another audience', () => sign({ aud: 'other' }), /audience/],
      ['for a longer audience', () => sign({ aud: 'rollcall-admin' }), /audience/],
      ['for several audiences without us', () => sign({ aud: ['other', 'Rollcall', ''] }), /audience/],
      ['without an audience', () => sign({ aud: undefined }), /no aud claim/],
      ['that is an ID token for a client', () => sign({ aud: 'client-1', nonce: 'n', at_hash: 'h' }, { typ: 'JWT' }), /audience/],
      ['that is a logout token', () => sign({}, { typ: 'logout+jwt' }), /typ/],
      ['expired by the leeway', () => sign({ exp: SECOND - 30 }), /expired/],
      ['expired long ago', () => sign({ exp: 0 }), /expired/],
      ['without exp', () => sign({ exp: undefined }), /no exp claim/],
      ['with exp as a string', () => sign({ exp: String(SECOND + 600) }), /exp claim is malformed/],
      ['with exp null', () => sign({ exp: null }), /exp claim is malformed/],
      ['with exp beyond any date', () => sign({ exp: 1e300 }), /exp claim is not a time/],
      ['with exp in milliseconds', () => sign({ exp: NOW + 600_000 }), /exp claim is not a time/],
      ['not valid yet', () => sign({ nbf: SECOND + 31 }), /not valid yet/],
      ['with nbf as a string', () => sign({ nbf: '0' }), /nbf claim is malformed/],
      ['issued in the future', () => sign({ iat: SECOND + 31 }), /in the future/],
      ['with iat as a string', () => sign({ iat: 'now' }), /iat claim is malformed/],
      ['without sub', () => sign({ sub: undefined }), /no sub claim/],
      ['with an empty sub', () => sign({ sub: '' }), /sub claim/],
      ['with a numeric sub', () => sign({ sub: 7 }), /sub claim/],
      ['with NUL in sub', () => sign({ sub: 'a\0b' }), /sub claim/],
      ['with half a character in sub', () => sign({ sub: 'a\ud800' }), /sub claim/],
      ['without an organization', () => sign({ org_id: undefined }), /no org_id claim/],
      ['with a list of organizations', () => sign({ org_id: ['org_acme'] }), /org_id claim/],
      ['with an endless organization', () => sign({ org_id: 'x'.repeat(256) }), /org_id claim/],
      ['with numeric scopes', () => sign({ scope: 7 }), /scope claim/],
      ['with a scope that is no string', () => sign({ scope: ['a', 7] }), /scope claim/],
      ['with an application that is no UUID', () => sign({ application_id: 'all' }), /application_id claim/],
      ['with an application in upper case', () => sign({ application_id: '7C9E6679-7425-40DE-944B-E07FC1F90AE7' }), /application_id claim/],
      ['with application null', () => sign({ application_id: null }), /application_id claim/],
      ['with a list of applications', () => sign({ application_id: ['7c9e6679-7425-40de-944b-e07fc1f90ae7'] }), /application_id claim/],
    ])('%s', async (_, token, detail) => {
      const problem = await refusalOf(verifier.verify(await token()));
      expect(problem).toMatchObject({ code: 'unauthorized', status: 401, detail: expect.stringMatching(detail), cause: undefined });
      expect(problem.headers).toEqual({ 'WWW-Authenticate': `Bearer realm="rollcall", error="invalid_token", error_description="${problem.detail}"` });
    });

    it('with any other header or payload than was signed, and any text that is no token', async () => {
      const [header, payload, signature] = await parts();
      const signed = `${header}.${payload}`;
      const changed = fc.tuple(fc.nat(signed.length - 1), fc.constantFrom(...'ABab01-_.~')).map(([index, character]) => signed.slice(0, index) + character + signed.slice(index + 1));
      await fc.assert(fc.asyncProperty(fc.oneof(changed.filter((text) => text !== signed).map((text) => `${text}.${signature}`), fc.string({ unit: 'binary' })), async (token) => {
        expect(await refusalOf(verifier.verify(token))).toMatchObject({ code: 'unauthorized' });
      }), { numRuns: 300 });
    });
  });

  it('names the configured claim in words that a header can carry', async () => {
    const named = createVerifier({ config: { ...config, ORG_CLAIM: 'a"\\\r\né' }, localKey: key, now: () => NOW });
    const problem = await refusalOf(named.verify(await sign()));
    expect(problem.detail).toBe('The token has no a"\\\r\né claim.');
    expect(problem.headers['WWW-Authenticate']).toBe('Bearer realm="rollcall", error="invalid_token", error_description="The token has no a????? claim."');
  });

  it.each(['constructor', '__proto__', 'toString'])('finds no organization in what every object has: %s', async (ORG_CLAIM) => {
    const named = createVerifier({ config: { ...config, ORG_CLAIM }, localKey: key, now: () => NOW });
    expect(await refusalOf(named.verify(await sign()))).toMatchObject({ detail: `The token has no ${ORG_CLAIM} claim.` });
  });

  it('fetches nothing that a token names', async () => {
    let hits = 0;
    const trap = createServer((_, response) => { hits++; response.end('{"keys":[]}'); }).listen(0, '127.0.0.1');
    onTestFinished(() => { trap.close(); });
    await new Promise((resolve) => { trap.once('listening', resolve); });
    const url = `http://127.0.0.1:${(trap.address() as AddressInfo).port}/keys`; // a TCP server has one
    const { privateKey: own } = await generateKeyPair('ES256');
    for (const header of [{ jku: url }, { x5u: url }, { jku: url, kid: 'theirs' }, { kid: url }]) {
      await refusalOf(verifier.verify(await sign({ iss: url }, header, own)));
    }
    await verifier.verify(await sign({}, { jku: url, x5u: url })); // of no effect in a good token either
    expect(hits).toBe(0);
  });

  describe('names the credential', () => {
    it.each<[string, unknown]>([['empty', ''], ['of two lines', 'a\nb'], ['too long', 'x'.repeat(201)], ['no string', 7]])('by the hash when sid is %s', async (_, sid) => {
      expect((await verifier.verify(await sign({ sid }))).credentialId).toMatch(/^sha256:[\w-]{43}$/);
    });

    it('differently for two tokens', async () => {
      const ids = await Promise.all([1, 2].map(async () => (await verifier.verify(await mint())).credentialId));
      expect(new Set(ids).size).toBe(2);
    });

    it('alike for every valid spelling of one signature, so that none slips past a revoke', async () => {
      const token = await sign();
      const signature = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url');
      const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n; // of P-256: (r, s) and (r, order - s) are both valid
      const other = (order - BigInt(`0x${signature.toString('hex', 32)}`)).toString(16).padStart(64, '0');
      const twin = token.slice(0, token.lastIndexOf('.') + 1) + Buffer.concat([signature.subarray(0, 32), Buffer.from(other, 'hex')]).toString('base64url');
      expect((await verifier.verify(twin)).credentialId).toBe((await verifier.verify(token)).credentialId);
    });
  });

  describe('remembers a verified token', () => {
    it('for a minute', async () => {
      const token = await sign();
      const first = await verifier.verify(token);
      at(NOW + 59_999);
      expect(await verifier.verify(token)).toBe(first);
      at(NOW + 60_000);
      const second = await verifier.verify(token);
      expect(second).not.toBe(first);
      expect(second).toEqual(first);
    });

    it('no longer when the clock is set back', async () => {
      const token = await sign({ iat: undefined });
      const first = await verifier.verify(token);
      at(NOW - 3_600_000);
      expect(await verifier.verify(token)).not.toBe(first);
    });

    it('and still refuses it at the moment a new one would be', async () => {
      const token = await sign({ exp: SECOND + 5 });
      await verifier.verify(token);
      at(NOW + 34_999);
      expect(await verifier.verify(token)).toMatchObject({ expiresAt: NOW + 5_000 });
      at(NOW + 35_000);
      expect(await refusalOf(verifier.verify(token))).toMatchObject({ detail: 'The token has expired.' });
    });

    it('and forgets a refused one', async () => {
      const token = await sign({ nbf: SECOND + 60 });
      await refusalOf(verifier.verify(token));
      at(NOW + 60_000);
      expect(await verifier.verify(token)).toMatchObject({ subject: 'alice' });
    });
  });

  it('is not made without any key', () => {
    expect(() => createVerifier({ config })).toThrow('an issuer or a local key');
  });

  it('does not believe the local key once an issuer is set', async () => {
    const other = createVerifier({ config: { ...config, AUTH_ISSUER: 'http://127.0.0.1:1' }, localKey: key, now: () => NOW });
    expect(await refusalOf(other.verify(await mint()))).toMatchObject({ code: 'issuer-unavailable' });
  });
});

const mint = () => mintToken(key, { organizationId: 'org_acme', scopes: ['sessions:read'], ttlMs: 60_000, audience: 'rollcall', now: () => NOW });

describe('mintToken', () => {
  it('makes a token that the verifier reads back', async () => {
    const token = await mintToken(key, {
      organizationId: 'org_b', scopes: ['sessions:read', 'sessions:write'], subject: 'bob', applicationId: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
      ttlMs: 90_000, audience: 'aud-1', now: () => NOW, organizationClaim: 'org', scopeClaim: 'scp',
    });
    const reader = createVerifier({ config: { ...config, AUTH_AUDIENCE: 'aud-1', ORG_CLAIM: 'org', SCOPE_CLAIM: 'scp' }, localKey: key, now: () => NOW });
    expect(await reader.verify(token)).toMatchObject({
      subject: 'bob', organizationId: 'org_b', scopes: new Set(['sessions:read', 'sessions:write']),
      applicationId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', expiresAt: NOW + 90_000,
    });
  });

  it('makes one by a key that has been JSON meanwhile', async () => {
    const kept = JSON.parse(JSON.stringify(key)) as SigningKey; // the round trip of a database row
    const token = await mintToken(kept, { organizationId: 'org_acme', scopes: [], ttlMs: 60_000, audience: 'rollcall', now: () => NOW });
    expect(await verifier.verify(token)).toMatchObject({ organizationId: 'org_acme', scopes: new Set() });
  });
});
