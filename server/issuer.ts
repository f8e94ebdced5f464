// The public keys of the configured OpenID Connect issuer: where they come from, and how long they are believed.
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, type LocalJWKSet } from 'jose';
import { Problem } from './problem.ts';

/** For discovery and keys together, so that a caller has an answer within two seconds. */
const TIMEOUT_MS = 1_800;
const MOST_BYTES = 256 * 1024;
/** Between the starts of two attempts, whatever came of the first. It is also how long a rotated key may go unnoticed. */
const COOLDOWN_MS = 5_000;
/** Older keys are still used, and asked for again beside the request: a key the issuer took back is then gone. */
const REFRESH_AFTER_MS = 5 * 60_000;

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

/** Finds the key for a token. Rejects with `issuer-unavailable` when it cannot know, with jose's error when there is none. */
export function issuerKeys({ issuer, jwksUrl, staleMs, now, onFailure }: IssuerOptions): JWTVerifyGetKey {
  let keys: LocalJWKSet | undefined;
  let fetchedAt = -Infinity;
  let attemptedAt = -Infinity;
  let failure: unknown;
  let attempt: Promise<void> | undefined;

  const since = (at: number) => Math.abs(now() - at); // a clock that was set back is time gone by, not time to come
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

  return async (header, token) => {
    if (since(fetchedAt) >= Math.min(REFRESH_AFTER_MS, staleMs / 2)) {
      const done = refresh();
      if (since(fetchedAt) >= Math.max(staleMs, COOLDOWN_MS)) await done;
    }
    if (!keys || since(fetchedAt) >= Math.max(staleMs, COOLDOWN_MS)) throw unavailable();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await refresh();
      if (failure) throw unavailable(); // the key may be a new one that we cannot see
      return keys(header, token);
    }
  };
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

/** Only an issuer that is itself on loopback may send us there: others would reach what only this machine can. */
function mayFetch(url: string, issuer: string): boolean {
  const isLoopback = (text: string) => ['localhost', '127.0.0.1', '[::1]'].includes(URL.parse(text)?.hostname ?? '');
  return URL.parse(url)?.protocol === 'https:' || (URL.parse(url)?.protocol === 'http:' && isLoopback(url) && isLoopback(issuer));
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
