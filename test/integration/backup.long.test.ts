// `rollcall backup` beside a server that works, and `rollcall restore`: everything is there again, nothing comes to life, and whatever is refused changes nothing.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backUp, restore } from '../../server/store/backup.ts';
import { STARTED } from '../support/command.ts';
import { inFile, startEmbedded, type Embedded } from '../support/embedded.ts';
import { killInstances } from '../support/instances.ts';

vi.setConfig({ testTimeout: 60_000 }); // each starts several processes
const root = new URL('../..', import.meta.url).pathname;
let folder: string, directory: string, to: string, server: Embedded;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rollcall-backup-'));
  [directory, to] = [join(folder, 'data'), join(folder, 'a.backup')];
  server = await startEmbedded(directory);
});
afterEach(async () => {
  await killInstances();
  rmSync(folder, { recursive: true });
});

async function rollcall(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { DATABASE_URL: _, ...env } = process.env;
  return promisify(execFile)(process.execPath, [...STARTED, 'server/cli.ts', ...args], { cwd: root, env: { ...env, DATA_DIR: directory } })
    .then((output) => ({ code: 0, ...output }), (error: { code: number; stdout: string; stderr: string }) => error);
}
const application = async () => `/applications/${(await server.call('POST', '/applications', { name: 'Backup' })).body.application.id as string}`;
const connect = async (app: string, body: object = {}) => (await server.call('POST', `${app}/sessions`, body)).body.session.id as string;
const restart = async () => { server = await startEmbedded(directory); };
/** Every session, by what became of it. */
async function walk(app: string): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  for (let cursor = ''; ;) {
    const { body } = await server.call('GET', `${app}/sessions?status=all&limit=50${cursor && `&cursor=${cursor}`}`);
    for (const { id, disconnectReason, status } of body.items) seen[id] = disconnectReason ?? status;
    if (!(cursor = body.nextCursor ?? '')) return seen;
  }
}

describe('backup', () => {
  it('is one consistent moment of a server that goes on writing, private, and never replaces a file unasked', async () => {
    const app = await application();
    const acknowledged: string[] = [];
    let writing = true;
    const writers = Array.from({ length: 4 }, async () => { while (writing) acknowledged.push(await connect(app)); });
    const all = Promise.all(writers);
    while (acknowledged.length < 50) await wait(10);
    const before = [...acknowledged];
    const made = await rollcall('backup', '--to', to);
    expect(made).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^\S+a\.backup has 2 applications and \d+ sessions \(\d+\.\d MB, checked\)\. The signing key is in it: keep it secret\.\n$/) });
    const again = await rollcall('backup', '--to', to);
    expect(again).toMatchObject({ code: 1, stderr: `rollcall: ${to} exists; choose another file, or replace it with --force\n` });
    expect((await rollcall('backup', '--to', to, '--force')).code).toBe(0);
    writing = false;
    await all;
    expect(statSync(to).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).sort()).toEqual(['a.backup', 'data']);
    const copy = new DatabaseSync(to, { readOnly: true });
    const ids = new Set(copy.prepare('select id from sessions').all().map(({ id }) => id));
    expect(copy.prepare('select max(connected) as connected, (select count(*) from sessions) as sessions from applications').get()).toEqual({ connected: ids.size, sessions: ids.size });
    copy.close();
    expect(before.filter((id) => !ids.has(id))).toEqual([]);
  });

  it('says so when there is nothing to copy, and leaves that to PostgreSQL where it is the database', async () => {
    await server.stop();
    rmSync(directory, { recursive: true });
    expect(await rollcall('backup', '--to', to)).toMatchObject({ code: 1, stderr: `rollcall: there is no database in ${directory}; see that DATA_DIR is the server's\n` });
    const { stderr } = await promisify(execFile)(process.execPath, ['server/cli.ts', 'backup'], { cwd: root, env: { ...process.env, DATABASE_URL: 'postgres://db/x' } }).catch((error: { stderr: string }) => error);
    expect(stderr).toContain('pg_dump --format=custom');
  });
});

describe('restore', () => {
  it('brings everything back; who was connected is lost until it is heard of, who was cut stays cut, and the old database is kept', async () => {
    const app = await application();
    const [connected, revokedLater, ended, revoked] = [await connect(app, { credentialId: 'c1' }), await connect(app, { credentialId: 'c2' }), await connect(app), await connect(app, { credentialId: 'c4' })];
    for (let more = 0; more < 60; more++) await connect(app, { externalId: `x${more}` });
    await server.call('POST', `${app}/sessions/${ended}/end`);
    await server.call('DELETE', `${app}/sessions/${revoked}`);
    const then = await walk(app);
    expect((await rollcall('backup', '--to', to)).code).toBe(0);
    await server.call('DELETE', `${app}/sessions/${revokedLater}`);
    const later = await connect(app);

    expect(await rollcall('restore', '--from', to)).toMatchObject({ code: 1, stderr: expect.stringContaining(`another Rollcall server is running on ${directory}; stop it`) });
    expect((await walk(app))[later]).toBe('active');
    await server.kill(); // what it has written last is in the log only
    const { code, stdout } = await rollcall('restore', '--from', to);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Restored 2 applications and 64 sessions as of 2\d{3}-.*Z\.\n62 connections are lost until their clients come back\. .*--revoke-all\.\nThe database that was there is .*\.\n$/);
    await restart();
    expect(await walk(app)).toEqual(Object.fromEntries(Object.entries(then).map(([id, state]) => [id, state === 'active' ? 'lost' : state])));
    expect((await server.call('GET', `${app}/sessions/${later}`)).status).toBe(404);
    expect((await server.call('POST', `${app}/sessions`, { credentialId: 'c4' })).body.type).toBe('/docs/errors#credential-revoked');
    expect((await server.call('POST', `${app}/heartbeats`, { heartbeats: [{ sessionId: connected }, { sessionId: revoked }, { sessionId: later }] })).body)
      .toMatchObject({ accepted: 1, ended: [{ sessionId: later, reason: 'unknown' }, { sessionId: revoked, reason: 'revoked' }].sort((a, b) => [revoked, later].indexOf(a.sessionId) - [revoked, later].indexOf(b.sessionId)) });
    expect(await walk(app)).toMatchObject({ [connected]: 'active', [revokedLater]: 'lost' });
    expect((await server.call('DELETE', `${app}/sessions`)).body).toMatchObject({ disconnectedCount: 1 });
    await server.stop();
    expect(inFile(directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
    const kept = readdirSync(directory).find((name) => /^rollcall\.db\.2\d{3}-[\dT-]+Z$/.test(name))!;
    const previous = new DatabaseSync(join(directory, kept), { readOnly: true });
    expect(previous.prepare('select count(*) as n from sessions where id = ?').get(later)).toEqual({ n: 1 });
    previous.close();
  });

  it('with --revoke-all lets nobody come back, and denies what they came with', async () => {
    const app = await application();
    const id = await connect(app, { credentialId: 'c1', credentialExpiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    await rollcall('backup', '--to', to);
    await server.stop();
    expect((await rollcall('restore', '--from', to, '--revoke-all')).stdout).toContain('1 connections were revoked.');
    await restart();
    expect(await walk(app)).toEqual({ [id]: 'revoked' });
    expect((await server.call('POST', `${app}/heartbeats`, { heartbeats: [{ sessionId: id }] })).body).toMatchObject({ accepted: 0, ended: [{ sessionId: id, reason: 'revoked' }] });
    expect((await server.call('POST', `${app}/sessions`, { credentialId: 'c1' })).status).toBe(403);
    expect((await server.call('GET', `${app}/revocations`)).body.items).toEqual([expect.objectContaining({ action: 'revokeSessions', subject: 'restore', disconnectedCount: 1, state: 'done' })]);
  });

  it('works on an empty directory, and the tokens of the server that was there go on', async () => {
    const app = await application(), { token } = server;
    await rollcall('backup', '--to', to);
    await server.stop();
    rmSync(directory, { recursive: true });
    expect((await rollcall('restore', '--from', to)).stdout).toContain('The signing key is the one of the backup.');
    await restart();
    const response = await fetch(`${server.url}/api/v1${app}`, { headers: { authorization: `Bearer ${token}` } });
    expect(response.status).toBe(200);
    expect(statSync(join(directory, 'signing-key.json')).mode & 0o777).toBe(0o600);
  });

  it('is not written over by the log of a database that was moved away', async () => {
    const app = await application(), id = await connect(app);
    await rollcall('backup', '--to', to);
    const later = await connect(app);
    await server.kill(); // what it has written last is in the log only
    renameSync(join(directory, 'rollcall.db'), join(directory, 'moved.db'));
    expect((await rollcall('restore', '--from', to)).code).toBe(0);
    await restart();
    expect(await walk(app)).toEqual({ [id]: 'lost' });
    await server.stop();
    expect(inFile(directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
    const moved = join(directory, 'moved.db'), log = readdirSync(directory).find((name) => /^rollcall\.db\.2\d{3}-[\dT-]+Z-wal$/.test(name))!;
    renameSync(join(directory, log), `${moved}-wal`); // nothing of it is lost
    const db = new DatabaseSync(moved);
    expect(db.prepare('select count(*) as n from sessions where id = ?').get(later)).toEqual({ n: 1 });
    db.close();
  });

  it('refuses a file that is not good, in one line, and leaves everything as it was', async () => {
    const app = await application(), id = await connect(app);
    await server.stop();
    await backUp(directory, to);
    const good = readFileSync(to), before = readFileSync(join(directory, 'rollcall.db')), files = readdirSync(directory);
    const change = (text: string) => { const db = new DatabaseSync(to); db.exec(text); db.close(); };
    const bad: [string, () => void, RegExp][] = [
      ['not a database', () => writeFileSync(to, 'nothing of that kind '.repeat(500)), /cannot be restored: file is not a database/],
      ['another database', () => { rmSync(to); change('create table x (y)'); }, /is not a backup of Rollcall/],
      ['cut short', () => truncateSync(to, good.length - 20_000), /malformed|damaged/],
      ['overwritten in the middle', () => writeFileSync(to, Buffer.concat([good.subarray(0, 40_960), Buffer.alloc(8_192, 0xff), good.subarray(49_152)])), /malformed|damaged/],
      ['of a newer version', () => change('pragma user_version = 99'), /has schema 99/],
      ['not there', () => rmSync(to), /there is no/],
    ];
    for (const [what, make, says] of bad) {
      writeFileSync(to, good);
      make();
      await expect(restore(directory, to), what).rejects.toThrow(says);
      await expect(restore(directory, to), what).rejects.toThrow(/^[^\n]+$/);
      expect(readdirSync(directory), what).toEqual(files);
      expect(readFileSync(join(directory, 'rollcall.db')).equals(before), what).toBe(true);
    }
    await restart();
    expect(await walk(app)).toEqual({ [id]: 'active' });
  });
});
