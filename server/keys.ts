// The key the server signs its own tokens with while no issuer is configured: made once, kept, and used to mint.
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT, type JSONWebKeySet } from 'jose';
import { z } from 'zod';
import { ConfigError } from './config.ts';

const signingKey = z.object({
  kid: z.string(),
  privateJwk: z.object({ kty: z.literal('EC'), crv: z.literal('P-256'), x: z.string(), y: z.string(), d: z.string() }),
});

/** A P-256 key pair as plain JSON. `kid` is the RFC 7638 thumbprint of its public half. */
export type SigningKey = Readonly<z.output<typeof signingKey>>;

/** The `iss` of tokens the server signed itself. */
export const LOCAL_ISSUER = 'rollcall';
export const LOCAL_ALGORITHM = 'ES256';

export async function generateSigningKey(): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair(LOCAL_ALGORITHM, { extractable: true });
  const jwk = await exportJWK(privateKey);
  return signingKey.parse({ kid: await calculateJwkThumbprint(jwk), privateJwk: jwk });
}

/** @throws Error when what was stored is not a whole, consistent key. */
export async function parseSigningKey(stored: unknown): Promise<SigningKey> {
  const key = signingKey.parse(stored);
  await importJWK(key.privateJwk, LOCAL_ALGORITHM); // refuses halves that do not belong together
  if (key.kid !== await calculateJwkThumbprint(key.privateJwk)) throw new Error('kid is not the thumbprint of the key');
  return key;
}

export function publicKeys({ kid, privateJwk: { kty, crv, x, y } }: SigningKey): JSONWebKeySet {
  return { keys: [{ kid, kty, crv, x, y, alg: LOCAL_ALGORITHM, use: 'sig' }] };
}

/** The key in the data directory, undefined where there is none. @throws ConfigError when there is a file that must not be used */
export const readOwnSigningKey = (dataDirectory: string): Promise<SigningKey | undefined> => inWords(keyFile(dataDirectory), async (path) => {
  const kept = await readPrivately(path);
  return kept === undefined ? undefined : parseKept(path, kept);
});

/**
 * The key in the data directory, made on first start. Processes that start at once end up with the same one.
 * @throws ConfigError when there is a file that must not be used, or none can be made.
 */
export async function readOrCreateSigningKey(dataDirectory: string): Promise<SigningKey> {
  const own = await readOwnSigningKey(dataDirectory);
  return own ?? inWords(keyFile(dataDirectory), async (path) => {
    await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
    await writeOnce(path, JSON.stringify(await generateSigningKey()));
    return parseKept(path, await readPrivately(path) ?? ''); // read back: somebody else's may have been first
  });
}

const keyFile = (dataDirectory: string): string => join(dataDirectory, 'signing-key.json');

async function inWords<T>(path: string, work: (path: string) => Promise<T>): Promise<T> {
  try {
    return await work(path);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`DATA_DIR: ${path} cannot be read or made (${(error as NodeJS.ErrnoException).code})`, { cause: error }); // only the file system is left to fail
  }
}

async function parseKept(path: string, text: string): Promise<SigningKey> {
  try {
    return await parseSigningKey(JSON.parse(text));
  } catch { // without the cause: a JSON error quotes what it read, which may be the secret
    throw new ConfigError(`DATA_DIR: ${path} is not a signing key of this server; restore it, or move it away to get a new one`);
  }
}

/** Undefined when there is no such file. Looks at the open file, so that it cannot be swapped between look and read. */
async function readPrivately(path: string): Promise<string | undefined> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  try {
    const stat = await file?.stat();
    if (stat && process.getuid) { // Windows has neither owners nor modes of this kind
      if (stat.uid !== process.getuid()) throw new ConfigError(`DATA_DIR: ${path} belongs to another user (uid ${stat.uid})`);
      if (stat.mode & 0o077) throw new ConfigError(`DATA_DIR: ${path} is open to other users (mode 0${(stat.mode & 0o777).toString(8)}); run chmod 600 on it`);
    }
    return await file?.readFile('utf8');
  } finally {
    await file?.close();
  }
}

/** Whole or not at all, and never over another: a rename would replace, a link refuses. */
async function writeOnce(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true });
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // the file system throws nothing else
  } finally {
    await rm(draft, { force: true });
  }
}

export interface TokenOptions {
  organizationId: string;
  scopes: readonly string[];
  subject?: string;
  applicationId?: string;
  /** How long the token is valid; negative makes one that has expired. */
  ttlMs: number;
  audience: string;
  now?: () => number;
  organizationClaim?: string;
  scopeClaim?: string;
}

export async function mintToken({ kid, privateJwk }: SigningKey, options: TokenOptions): Promise<string> {
  const { organizationId, scopes, subject = 'cli', applicationId, ttlMs, audience, now = Date.now, organizationClaim = 'org_id', scopeClaim = 'scope' } = options;
  const at = now();
  return new SignJWT({
    [organizationClaim]: organizationId,
    [scopeClaim]: scopes.join(' '),
    ...(applicationId !== undefined && { application_id: applicationId }),
  })
    .setProtectedHeader({ alg: LOCAL_ALGORITHM, kid, typ: 'at+jwt' })
    .setIssuer(LOCAL_ISSUER).setAudience(audience).setSubject(subject)
    .setJti(randomUUID()) // two tokens of one second are two credentials
    .setIssuedAt(Math.floor(at / 1000)).setExpirationTime(Math.floor((at + ttlMs) / 1000))
    .sign(await importJWK(privateJwk, LOCAL_ALGORITHM));
}
