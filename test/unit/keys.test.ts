// The signing key in the data directory: made once, private, and never a wrong one.
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../server/config.ts';
import { generateSigningKey, readOrCreateSigningKey } from '../../server/keys.ts';
import { rootIsThere } from '../support/needs.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rollcall-keys-'));
  path = join(directory, 'signing-key.json');
});
afterEach(() => rm(directory, { recursive: true }));

const refused = async (message: RegExp) => {
  const error = await readOrCreateSigningKey(directory).then(() => 'accepted', (error: unknown) => error);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).message).toMatch(message); // the line above says so
  expect((error as ConfigError).message).toContain(path);
  return error as ConfigError;
};

describe('readOrCreateSigningKey', () => {
  it('makes a key that nobody else can read, and finds it again', async () => {
    const umask = process.umask(0);
    const made = await readOrCreateSigningKey(directory).finally(() => process.umask(umask));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readOrCreateSigningKey(directory)).toEqual(made);
  });

  it('makes the directory too', async () => {
    const made = await readOrCreateSigningKey(join(directory, 'a', 'b'));
    expect(await readOrCreateSigningKey(join(directory, 'a', 'b'))).toEqual(made);
  });

  it('gives one key to all who start at once, and leaves nothing else behind', async () => {
    const keys = await Promise.all(Array.from({ length: 30 }, () => readOrCreateSigningKey(directory)));
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(1);
    expect(await readdir(directory)).toEqual(['signing-key.json']);
  });

  it.each([0o640, 0o604, 0o620])('refuses a file of mode %o', async (mode) => {
    await readOrCreateSigningKey(directory);
    await chmod(path, mode);
    await refused(/chmod 600/);
  });

  it.runIf(rootIsThere('the test of a key of another user'))('refuses a file of another user', async () => {
    await readOrCreateSigningKey(directory);
    await chown(path, 12345, 12345);
    await refused(/another user \(uid 12345\)/);
  });

  it('refuses what cannot be read as a file', async () => {
    await mkdir(path, { mode: 0o700 });
    await refused(/EISDIR/);
  });

  it.each<[string, (key: Awaited<ReturnType<typeof generateSigningKey>>, other: Awaited<ReturnType<typeof generateSigningKey>>) => unknown]>([
    ['an empty file', () => ''],
    ['no JSON', () => 'secret'],
    ['half a file', (key) => JSON.stringify(key).slice(0, 80)],
    ['other JSON', () => ({ kid: 'a', privateJwk: { kty: 'oct', k: 'AAAA' } })],
    ['a public key', ({ kid, privateJwk: { d: _, ...rest } }) => ({ kid, privateJwk: rest })],
    ['halves of two keys', ({ kid, privateJwk }, other) => ({ kid, privateJwk: { ...privateJwk, d: other.privateJwk.d } })],
    ['the name of another key', ({ privateJwk }, other) => ({ kid: other.kid, privateJwk })],
  ])('refuses %s, and leaves it alone', async (_, content) => {
    const value = content(await generateSigningKey(), await generateSigningKey());
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    await writeFile(path, text, { mode: 0o600 });
    expect(inspect(await refused(/not a signing key/))).not.toContain('secret');
    expect(await readFile(path, 'utf8')).toBe(text);
  });
});
