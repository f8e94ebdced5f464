// Tokens and Authorization headers as an attacker would make them, by name. None of them may let anybody in.
import { createHmac, createPublicKey, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { importJWK, SignJWT, type JWTHeaderParameters } from 'jose';
import type { SigningKey } from '../../server/keys.ts';

type Named<T> = readonly (readonly [name: string, value: T])[];
type Claims = Record<string, unknown>;

export const encode = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** @param elsewhere an address that must never be asked for anything. */
export async function forgedTokens(key: SigningKey, good: Claims, nowMs: number, elsewhere: string): Promise<Named<string>> {
  const { kid, privateJwk: { kty, crv, x, y } } = key;
  const privateKey = await importJWK(key.privateJwk, 'ES256');
  const seconds = Math.floor(nowMs / 1000);
  // What an attacker writes has no types.
  const sign = (changes: Claims = {}, header: object = {}, by: Parameters<SignJWT['sign']>[0] = privateKey) =>
    new SignJWT({ ...good, ...changes }).setProtectedHeader({ alg: 'ES256', kid, ...header } as JWTHeaderParameters).sign(by);
  const parts = async () => (await sign()).split('.') as [string, string, string]; // a compact JWS has three
  const unsigned = (header: object, signature = 'AAAA') => `${encode(header)}.${encode(good)}.${signature}`;
  const hmac = (secret: string | Buffer, header: object) => {
    const signed = `${encode(header)}.${encode(good)}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  const pair = (curve = 'P-256') => generateKeyPairSync('ec', { namedCurve: curve });
  const publicJwk = { kty, crv, x, y }, publicKey = createPublicKey({ key: publicJwk, format: 'jwk' });
  const own = pair(), ownJwk = own.publicKey.export({ format: 'jwk' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const withOwnKey = (header: object) => sign({}, header, own.privateKey);
  const signedBy = (by: KeyObject, header: object) => {
    const text = `${encode(header)}.${encode(good)}`;
    return `${text}.${createSign('sha256').update(text).sign({ key: by, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  };
  const [header, payload, signature] = await parts();
  const der = createSign('sha256').update(`${header}.${payload}`).sign(own.privateKey).toString('base64url');

  return Promise.all(([
    // no algorithm, or another one
    ['alg none, no signature', `${encode({ alg: 'none' })}.${encode(good)}.`],
    ['alg none, a signature', unsigned({ alg: 'none' })],
    ['alg NonE', unsigned({ alg: 'NonE', kid })],
    ['alg NONE', unsigned({ alg: 'NONE', kid }, signature)],
    ['alg empty', unsigned({ alg: '', kid }, signature)],
    ['alg missing', unsigned({ kid }, signature)],
    ['alg null', unsigned({ alg: null, kid }, signature)],
    ['alg a list', unsigned({ alg: ['none', 'ES256'], kid }, signature)],
    ['alg es256', unsigned({ alg: 'es256', kid }, signature)],
    ['HS256 with the public key as PEM', hmac(publicKey.export({ format: 'pem', type: 'spki' }), { alg: 'HS256', kid })],
    ['HS256 with the public key as PEM, trimmed', hmac(String(publicKey.export({ format: 'pem', type: 'spki' })).trim(), { alg: 'HS256', kid })],
    ['HS256 with the public key as DER', hmac(publicKey.export({ format: 'der', type: 'spki' }), { alg: 'HS256', kid })],
    ['HS256 with the public key as JSON', hmac(JSON.stringify(publicJwk), { alg: 'HS256', kid })],
    ['HS256 with an empty secret', hmac('', { alg: 'HS256' })],
    ['HS256 with the kid for a secret', hmac(kid, { alg: 'HS256', kid })],
    ['another curve, its own algorithm', sign({}, { alg: 'ES384' }, pair('P-384').privateKey)],
    ['another curve under our algorithm', signedBy(pair('P-384').privateKey, { alg: 'ES256', kid })],
    ['another curve of the same size', signedBy(pair('secp256k1').privateKey, { alg: 'ES256', kid })],
    ['RS256 under our kid', sign({}, { alg: 'RS256' }, rsa.privateKey)],
    ['PS256 under our kid', sign({}, { alg: 'PS256' }, rsa.privateKey)],
    // keys of the attacker's
    ['another key under our kid', withOwnKey({})],
    ['another key under another kid', withOwnKey({ kid: 'other' })],
    ['another key without a kid', withOwnKey({ kid: undefined })],
    ['jwk in the header', withOwnKey({ jwk: ownJwk })],
    ['jwk in the header, without a kid', withOwnKey({ jwk: ownJwk, kid: undefined })],
    ['jku in the header', withOwnKey({ jku: `${elsewhere}/keys` })],
    ['jku in the header, without a kid', withOwnKey({ jku: `${elsewhere}/keys`, kid: undefined })],
    ['x5u in the header', withOwnKey({ x5u: `${elsewhere}/certificate` })],
    ['x5c in the header', withOwnKey({ x5c: [own.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')] })],
    ['kid that climbs', withOwnKey({ kid: '../../../../../../dev/null' })],
    ['kid that is an address', withOwnKey({ kid: `${elsewhere}/kid` })],
    ['kid that queries', withOwnKey({ kid: "' union select 'k' --" })],
    ['kid of every object', withOwnKey({ kid: '__proto__' })],
    ['kid that is no text', withOwnKey({ kid: { toString: 1 } })],
    // headers that change what was signed, or how
    ['crit nobody knows', sign({}, { crit: ['x-unknown'], 'x-unknown': 1 }).catch(() => unsigned({ alg: 'ES256', kid, crit: ['x-unknown'], 'x-unknown': 1 }, signature))],
    ['crit empty', unsigned({ alg: 'ES256', kid, crit: [] }, signature)],
    ['an unencoded payload', unsigned({ alg: 'ES256', kid, crit: ['b64'], b64: false }, signature)],
    ['a header that is no JSON', `${encode('{')}.${payload}.${signature}`],
    ['a header that is a list', `${encode([])}.${payload}.${signature}`],
    ['a header that is null', `${encode('null')}.${payload}.${signature}`],
    ['a header with alg twice', `${encode(`{"alg":"none","kid":"${kid}","alg":"ES256"}`)}.${payload}.${signature}`],
    ['a compressed payload', unsigned({ alg: 'ES256', kid, zip: 'DEF' }, signature)],
    ['typ of a logout token', sign({}, { typ: 'logout+jwt' })],
    ['typ of an ID token', sign({ aud: 'client-1', nonce: 'n' }, { typ: 'JWT' })],
    ['typ of a DPoP proof', sign({}, { typ: 'dpop+jwt' })],
    ['typ of a request object', sign({}, { typ: 'oauth-authz-req+jwt' })],
    ['typ of something signed', sign({}, { typ: 'JOSE' })],
    // signatures and shapes
    ['signature of another token', sign({ sub: 'somebody' }).then((other) => `${header}.${payload}.${other.split('.')[2]}`)],
    ['payload of another token', `${header}.${encode({ ...good, sub: 'somebody' })}.${signature}`],
    ['payload with more scopes', `${header}.${encode({ ...good, scope: 'sessions:revoke', org_id: 'org_other' })}.${signature}`],
    ['signature missing', `${header}.${payload}`],
    ['signature blank', `${header}.${payload}.`],
    ['signature cut in half', `${header}.${payload}.${signature.slice(0, 43)}`],
    ['signature of zeros', `${header}.${payload}.${encode('\0'.repeat(64))}`],
    ['signature as DER', `${header}.${payload}.${der}`],
    ['signature with more behind it', `${header}.${payload}.${signature}AAAA`],
    ['two dots more', `${header}.${payload}.${signature}..`],
    ['four parts', `${header}.${payload}.${signature}.${signature}`],
    ['shape of an encrypted token', unsigned({ alg: 'dir', enc: 'A256GCM' }, 'AAAA.AAAA.AAAA')],
    ['JSON serialisation', encode({ protected: header, payload, signature })],
    ['two dots', '..'],
    ['padding', `${header}.${payload}.${signature}==`],
    ['plus and slash', `${header}.${payload}.${'+/'.repeat(43)}`],
    ['a payload that is no JSON', `${header}.${encode('{"sub":')}.${signature}`],
    ['huge', sign({ filler: 'x'.repeat(9_000) })],
    // claims
    ['expired', sign({ exp: seconds - 31 })],
    ['expired long ago', sign({ exp: 1 })],
    ['expires before it begins', sign({ exp: -1 })],
    ['not valid yet', sign({ nbf: seconds + 31 })],
    ['issued in the future', sign({ iat: seconds + 31 })],
    ['without exp', sign({ exp: undefined })],
    ['exp null', sign({ exp: null })],
    ['exp as text', sign({ exp: String(seconds + 600) })],
    ['exp beyond any date', sign({ exp: 1e300 })],
    ['exp in milliseconds', sign({ exp: nowMs + 600_000 })],
    ['exp a list', sign({ exp: [seconds + 600] })],
    ['of another issuer', sign({ iss: elsewhere })],
    ['of an issuer that sounds like ours', sign({ iss: `${String(good['iss'])}/` })],
    ['without an issuer', sign({ iss: undefined })],
    ['for another audience', sign({ aud: 'other' })],
    ['for an audience in another case', sign({ aud: String(good['aud']).toUpperCase() })],
    ['for audiences without us', sign({ aud: ['other', 'and-another'] })],
    ['for an empty list of audiences', sign({ aud: [] })],
    ['without an audience', sign({ aud: undefined })],
    ['without an organization', sign({ org_id: undefined })],
    ['an empty organization', sign({ org_id: '' })],
    ['organization null', sign({ org_id: null })],
    ['a list of organizations', sign({ org_id: [good['org_id']] })],
    ['an organization with NUL', sign({ org_id: `${String(good['org_id'])}\0` })],
    ['without a subject', sign({ sub: undefined })],
    ['application null', sign({ application_id: null })],
    ['application empty', sign({ application_id: '' })],
    ['a list of applications', sign({ application_id: [] })],
    ['application in upper case', sign({ application_id: 'ABCDEF00-0000-7000-8000-00000000000A' })],
    ['scopes that are an object', sign({ scope: { 'sessions:revoke': true } })],
  ] satisfies Named<string | Promise<string>>).map(async ([name, token]) => [name, await token] as const));
}

/** Headers that carry no token, or a good one where none is looked for. */
export const garbledHeaders = (token: string): Named<readonly (readonly [string, string])[]> => [
  ['nothing', []],
  ...[
    '', ' ', 'Bearer', 'Bearer ', 'Bearer  ', 'bearer', token, `Bearer${token}`, `Bearer:${token}`, `Bearer: ${token}`, `Bearer=${token}`, `Bearer\t${token}`, `Bearer ${token} x`, `Bearer x ${token}`,
    `Bearer ${token},`, `Bearer ${token}, Bearer ${token}`, `Bearer "${token}"`, `Bearer '${token}'`, `Bearer <${token}>`, `Bearer token="${token}"`, `Bearer access_token=${token}`, `Bearer ${token}\u00e9`,
    `Basic ${token}`, `Basic ${Buffer.from(`x:${token}`).toString('base64')}`, `Basic bearer ${token}`, `Token ${token}`, `JWT ${token}`, `DPoP ${token}`, `Negotiate ${token}`, `X-Bearer ${token}`, `Digest bearer="${token}"`,
    'Bearer null', 'Bearer undefined', 'Bearer [object Object]', 'Bearer x', 'Bearer a.b.c', `Bearer ${'x'.repeat(8_300)}`, `Bearer ${token.replace('.', '%2E')}`, `Bearer ${encodeURIComponent(`${token} `)}`,
  ].map((value) => [`Authorization: ${JSON.stringify(value).slice(0, 40)}`, [['Authorization', value]]] as const),
  ['two good ones', [['Authorization', `Bearer ${token}`], ['Authorization', `Bearer ${token}`]]],
  ['a bad one, then a good one', [['Authorization', 'Bearer x'], ['Authorization', `Bearer ${token}`]]],
  ['a good one, then a bad one', [['Authorization', `Bearer ${token}`], ['Authorization', 'Basic eDp5']]],
  ['header names that sound like it', [
    ['X-Authorization', `Bearer ${token}`], ['Proxy-Authorization', `Bearer ${token}`], ['X-Forwarded-Authorization', `Bearer ${token}`], ['X-Original-Authorization', `Bearer ${token}`],
    ['X-Access-Token', token], ['X-Auth-Token', token], ['X-Api-Key', token], ['Authorisation', `Bearer ${token}`],
  ]],
  ['cookies', [['Cookie', `authorization=Bearer ${token}; token=${token}; access_token=${token}; session=${token}`]]],
  ['what a proxy might say of a user', [['X-Remote-User', 'root'], ['X-Forwarded-User', 'root'], ['X-Forwarded-For', '127.0.0.1'], ['Forwarded', 'for=127.0.0.1;by=root'], ['X-Real-IP', '127.0.0.1'], ['X-Org-Id', 'org_test'], ['X-Original-URL', '/livez'], ['X-Rewrite-URL', '/livez']]],
];
