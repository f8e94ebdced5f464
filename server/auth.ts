// From a bearer token to the caller it stands for.
import { createHash } from 'node:crypto';
import { createLocalJWKSet, errors, jwtVerify, type JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Config } from './config.ts';
import { issuerKeys } from './issuer.ts';
import { LOCAL_ALGORITHM, LOCAL_ISSUER, publicKeys, type SigningKey } from './keys.ts';
import { challenge, noToken, Problem } from './problem.ts';
import { UUID } from './uuid.ts';

/** Who is calling, as a verified token says. */
export interface Caller {
  /** The token's `sub`. */
  readonly subject: string;
  readonly organizationId: string;
  /** The two as one: whose limits and whose streams these are. Not the token, of which every refresh brings another. */
  readonly principal: string;
  readonly scopes: ReadonlySet<string>;
  /** The one application the token is bound to, if any. */
  readonly applicationId: string | undefined;
  /** What a revoke denies: `sid:` and the session claim where there is one, else `sha256:` and a hash of what the token says. */
  readonly credentialId: string;
  /** When the token expires, in ms since the epoch. */
  readonly expiresAt: number;
}

export interface Verifier {
  /** @throws Problem `unauthorized`, or `issuer-unavailable` when nobody can tell. */
  verify(token: string): Promise<Caller>;
  /** Whose token this is, when it was looked at so lately that it need not be again. */
  recent(token: string): Caller | undefined;
  /** False while nobody's token can be verified. */
  canVerify(): boolean;
  /** Whether this very token was good before, and has not expired since. */
  knows(token: string): boolean;
}

type AuthConfig = Pick<Config, 'AUTH_ISSUER' | 'AUTH_AUDIENCE' | 'AUTH_JWKS_URL' | 'AUTH_STALE_KEYS' | 'ORG_CLAIM' | 'SCOPE_CLAIM'>;

const LONGEST_TOKEN = 8_192;
/** How far the issuer's clock and ours may be apart. */
const LEEWAY_S = 30;
/** So long a verified token is not looked at again, also when the issuer has taken its key back. */
const CACHED_MS = 60_000;
/** 9999-12-31T23:59:59Z: later moments are no date in JSON. */
const LAST_SECOND = 253_402_300_799;
/** Never a symmetric one: the verifying key is public, so anybody could sign with it. */
const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The token in an Authorization header (RFC 6750, section 2.1). @throws Problem `unauthorized` */
export function bearerToken(header = ''): string {
  const token = /^bearer +([\w.~+/-]+=*)$/i.exec(header)?.[1];
  if (token === undefined) throw /^bearer +[^ ]/i.test(header) ? refusal('The Authorization header must be Bearer and exactly one token.') : noToken();
  return token;
}

/** Whether it can be a token at all. What cannot is refused without any work. */
export const isTokenShaped = (token: string): boolean => token.length <= LONGEST_TOKEN && COMPACT_JWS.test(token);

export function createVerifier({ config, localKey, now = Date.now, onIssuerFailure }: {
  config: AuthConfig;
  /** Counts only while no issuer is configured. */
  localKey?: SigningKey | undefined;
  now?: () => number;
  onIssuerFailure?: (error: unknown) => void;
}): Verifier {
  const trust = trusted(config, localKey, now, onIssuerFailure);
  const verified = new LRUCache<string, { caller: Caller; at: number }>({ max: 5_000, maxSize: 16 * 1024 * 1024, sizeCalculation: (_, token) => token.length });

  async function verifyAnew(token: string): Promise<Caller> {
    if (token.length > LONGEST_TOKEN) throw refusal(`The token is longer than ${LONGEST_TOKEN} characters.`);
    if (!COMPACT_JWS.test(token)) throw refusal('The token is not a signed JWT.');
    const seconds = Math.floor(now() / 1000);
    const { payload, protectedHeader } = await jwtVerify(token, trust.keys, {
      issuer: trust.issuer, algorithms: trust.algorithms, audience: config.AUTH_AUDIENCE,
      requiredClaims: ['exp'], clockTolerance: LEEWAY_S, currentDate: new Date(now()),
    }).catch((error: unknown) => { throw error instanceof Problem ? error : whatIsWrong(error); });
    if (!/^(application\/)?(at\+)?jwt$/i.test(protectedHeader.typ ?? 'JWT')) throw refusal('The token is of a type (typ) that is not an access token.');
    if (payload.iat !== undefined && payload.iat > seconds + LEEWAY_S) throw refusal('The token was issued (iat) in the future.');
    return toCaller(token, payload, config);
  }

  function recent(token: string): Caller | undefined {
    const hit = verified.peek(token), at = now(); // each is looked at anew so often that the oldest may go first
    // In the leeway after `exp` every call goes the long way: one rule decides there, not two.
    return hit && at < hit.caller.expiresAt && Math.abs(at - hit.at) < CACHED_MS ? hit.caller : undefined;
  }

  return {
    canVerify: trust.canVerify,
    knows: (token) => now() < (verified.peek(token)?.caller.expiresAt ?? 0),
    recent,
    async verify(token) {
      const known = recent(token);
      if (known) return known;
      const at = now();
      const caller = await verifyAnew(token).catch((error: unknown) => {
        if (error instanceof Problem && error.code === 'unauthorized') verified.delete(token);
        throw error;
      });
      verified.set(token, { caller, at });
      return caller;
    },
  };
}

/** Whose tokens count, how they are signed, and with which keys. Nothing in a token has a say in it. */
function trusted(config: AuthConfig, localKey: SigningKey | undefined, now: () => number, onFailure?: (error: unknown) => void) {
  const { AUTH_ISSUER: issuer, AUTH_JWKS_URL: jwksUrl, AUTH_STALE_KEYS: staleMs } = config;
  if (issuer !== undefined) {
    const keys = issuerKeys({ issuer, jwksUrl, staleMs, now, onFailure });
    return { issuer, algorithms: ASYMMETRIC, keys, canVerify: keys.canVerify };
  }
  if (localKey) return { issuer: LOCAL_ISSUER, algorithms: [LOCAL_ALGORITHM], keys: createLocalJWKSet(publicKeys(localKey)), canVerify: () => true };
  throw new Error('a verifier needs an issuer or a local key');
}

function toCaller(token: string, claims: JWTPayload, { ORG_CLAIM, SCOPE_CLAIM }: AuthConfig): Caller {
  const { exp = NaN, sid, application_id: applicationId } = claims;
  if (!(exp > 0 && exp <= LAST_SECOND)) throw refusal("The token's exp claim is not a time.");
  if (applicationId !== undefined && !(typeof applicationId === 'string' && UUID.test(applicationId))) {
    throw refusal("The token's application_id claim must be a UUID in lower case.");
  }
  const subject = line(claims, 'sub'), organizationId = line(claims, ORG_CLAIM);
  return Object.freeze({
    subject,
    organizationId,
    principal: `${organizationId}\0${subject}`,
    scopes: scopes(claims, SCOPE_CLAIM),
    applicationId,
    credentialId: isLine(sid, 200) ? `sid:${sid}` : `sha256:${hashOf(token)}`,
    expiresAt: Math.floor(exp * 1000),
  });
}

/**
 * Of what was signed, without the signature: an ECDSA signature has a second valid form, and base64url a few more, which
 * anybody can compute. Hashed with it, a client could turn its revoked token into one that nobody has denied.
 */
function hashOf(token: string): string {
  return createHash('sha256').update(token.slice(0, token.lastIndexOf('.'))).digest('base64url');
}

const own = (claims: JWTPayload, name: string): unknown => Object.hasOwn(claims, name) ? claims[name] : undefined;

function isLine(value: unknown, longest: number): value is string {
  return typeof value === 'string' && [...value].length <= longest && /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u.test(value);
}

function line(claims: JWTPayload, name: string): string {
  const value = own(claims, name);
  if (value === undefined) throw refusal(`The token has no ${name} claim.`);
  if (!isLine(value, 255)) throw refusal(`The token's ${name} claim must be a string of 1 to 255 characters, none of them control characters.`);
  return value;
}

/** None is a valid number of scopes: such a caller is known, and may nothing. */
function scopes(claims: JWTPayload, name: string): ReadonlySet<string> {
  const value = own(claims, name) ?? [];
  const list: unknown[] = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : [undefined];
  if (!list.every((scope) => typeof scope === 'string')) throw refusal(`The token's ${name} claim must be a string, or an array of strings.`);
  return new Set(list.filter(Boolean));
}

const wrongClaims: Record<string, string> = {
  iss: 'The token is from another issuer (iss).',
  aud: 'The token is meant for another audience (aud).',
  nbf: 'The token is not valid yet (nbf).',
};
const wrongTokens: Record<string, string> = {
  ERR_JWT_EXPIRED: 'The token has expired.',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: "The token's signature is wrong.",
  ERR_JWKS_NO_MATCHING_KEY: 'The token is signed with a key that is not known here.',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'The token must say which key it is signed with (kid).',
  ERR_JOSE_ALG_NOT_ALLOWED: 'The token is signed with an algorithm that is not accepted.',
};

/** Leaves the cause out where it is jose's: those errors carry the claims, and no log should. */
function whatIsWrong(error: unknown): Problem {
  if (!(error instanceof errors.JOSEError)) return refusal('The token is signed with a key that cannot be used.', error); // importing it failed
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return refusal(`The token has no ${error.claim} claim.`);
    return refusal((error.reason === 'check_failed' && wrongClaims[error.claim]) || `The token's ${error.claim} claim is malformed.`);
  }
  return refusal(wrongTokens[error.code] ?? 'The token is malformed.');
}

/** A 401 that says what was wrong with the token (RFC 6750, section 3, which also limits the characters). */
function refusal(detail: string, cause?: unknown): Problem {
  const description = detail.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?');
  return new Problem('unauthorized', { detail, cause, headers: challenge({ error: 'invalid_token', error_description: description }) });
}
