// The public keys of the configured OpenID Connect issuer: where they come from, and how long they are believed.
import { BlockList, isIP } from 'node:net';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, type LocalJWKSet } from 'jose';
import { Problem } from './problem.ts';

/** For discovery and keys together, so that a caller has an answer within two seconds. */
const TIMEOUT_MS = 1_800;
const MOST_BYTES = 256 * 1024;
/** Between the starts of two attempts, whatever came of the first. It is also how long a rotated key may go unnoticed. */
const COOLDOWN_MS = 5_000;
/** Older keys are still used, and asked for again beside the request: a key the issuer took back is then gone. */
const REFRESH_AFTER_MS = 5 * 60_000;
/** Older ones, as after a quiet hour, are asked for again before the request: else the first forged token would pass. */
const OLD_MS = 10 * 60_000;
/** So long after an attempt that failed nobody waits for the next one: a hanging issuer would slow down everybody. */
const FORGIVEN_MS = 60_000;

export interface IssuerOptions {
  issuer: string;
  /** Where the keys are; without it, discovery says. */
  jwksUrl: string | undefined;
  /** How long after they were last fetched keys are believed. */
  staleMs: number;
  now: () => number;
  /** Told of every attempt that failed, also of those no caller notices. */
  onFailure?: ((error: unknown) => void) | undefined;
}

export interface IssuerKeys extends JWTVerifyGetKey {
  /** False when no token can be verified just now. Asks for the keys where there are none, so that it is known before a caller comes. */
  canVerify(): boolean;
}

/** Finds the key for a token. Rejects with `issuer-unavailable` when it cannot know, with jose's error when there is none. */
export function issuerKeys({ issuer, jwksUrl, staleMs, now, onFailure }: IssuerOptions): IssuerKeys {
  let keys: LocalJWKSet | undefined;
  let fetchedAt = -Infinity;
  let attemptedAt = -Infinity;
  let failure: unknown;
  let attempt: Promise<void> | undefined;

  const since = (at: number) => Math.abs(now() - at); // a clock that was set back is time gone by, not time to come
  const tooOld = () => since(fetchedAt) >= Math.max(staleMs, COOLDOWN_MS);
  const unavailable = () => new Problem('issuer-unavailable', {
    headers: { 'Retry-After': String(Math.max(1, Math.ceil((COOLDOWN_MS - since(attemptedAt)) / 1000))) }, cause: failure,
  });

  async function fetchAgain(): Promise<void> {
    attemptedAt = now();
    try {
      keys = await fetchKeys(issuer, jwksUrl);
      fetchedAt = now();
      failure = undefined;
    } catch (error) {
      failure = error;
      onFailure?.(error);
    } finally {
      attempt = undefined;
    }
  }

  /** Joins the attempt under way, begins one when the last is long enough ago, else is done at once. Never rejects. */
  async function refresh(): Promise<void> {
    if (!attempt && since(attemptedAt) >= COOLDOWN_MS) attempt = fetchAgain();
    await attempt;
  }

  const getKey: JWTVerifyGetKey = async (header, token) => {
    if (since(fetchedAt) >= Math.min(REFRESH_AFTER_MS, staleMs / 2)) {
      const failedLately = failure !== undefined && since(attemptedAt) < FORGIVEN_MS, done = refresh();
      if (tooOld() || (since(fetchedAt) >= OLD_MS && !failedLately)) await done;
    }
    if (!keys || tooOld()) throw unavailable();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await refresh();
      if (failure) throw unavailable(); // the key may be a new one that we cannot see
      return keys(header, token);
    }
  };
  return Object.assign(getKey, {
    canVerify(): boolean {
      if (keys && !tooOld()) return true;
      void refresh();
      return failure === undefined; // until the first attempt is over, nobody knows
    },
  });
}

async function fetchKeys(issuer: string, jwksUrl: string | undefined): Promise<LocalJWKSet> {
  const signal = AbortSignal.timeout(TIMEOUT_MS); // does not keep the process alive
  const keys = await fetchJson(jwksUrl ?? await discover(issuer, signal), signal);
  return createLocalJWKSet(keys as JSONWebKeySet); // checks the shape itself
}

/** @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation */
async function discover(issuer: string, signal: AbortSignal): Promise<string> {
  const document = await fetchJson(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, signal);
  const { issuer: named, jwks_uri: url } = Object(document) as { issuer?: unknown; jwks_uri?: unknown }; // JSON of a stranger: both are checked below
  if (named !== issuer) throw new Error(`the discovery document is for another issuer: ${JSON.stringify(named)}`);
  if (typeof url !== 'string' || !mayFetch(url, issuer)) throw new Error(`the discovery document names keys that may not be fetched: ${JSON.stringify(url)}`);
  return url;
}

/** What only this machine can reach: itself, and on its link such as the metadata of a cloud. */
const near = new BlockList();
for (const [network, bits] of [['0.0.0.0', 8], ['127.0.0.0', 8], ['169.254.0.0', 16]] as const) near.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of [['::', 127], ['fe80::', 10]] as const) near.addSubnet(network, bits, 'ipv6');

function isNear(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, ''), version = isIP(address);
  return version > 0 ? near.check(address, version === 6 ? 'ipv6' : 'ipv4') : /^(?:.*\.)?localhost\.?$/.test(host);
}

/** Only an issuer that is itself on loopback may send us there. What a name leads to is the certificate's to say. */
function mayFetch(url: string, issuer: string): boolean {
  const isLoopback = (host: string) => ['localhost', '127.0.0.1', '[::1]'].includes(host);
  const { protocol, hostname } = URL.parse(url) ?? {}, isTrusted = isLoopback(new URL(issuer).hostname);
  if (hostname === undefined) return false;
  return protocol === 'https:' ? isTrusted || !isNear(hostname) : protocol === 'http:' && isTrusted && isLoopback(hostname);
}

async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { signal, redirect: 'manual', headers: { Accept: 'application/json, application/jwk-set+json' } });
  if (response.status !== 200 || !response.body) {
    await response.body?.cancel();
    throw new Error(`${url} answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body) { // leaving the loop cancels the rest
    bytes += chunk.byteLength;
    if (bytes > MOST_BYTES) throw new Error(`${url} answered more than ${MOST_BYTES} bytes`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}
