// A start on a damaged database, and damage while the server runs: it says so, and claims nothing that is not so.
import { closeSync, openSync, rmSync, statSync, truncateSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount, mountDisk } from '../support/disk.ts';
import { startEmbedded, startInFolder, type Embedded } from '../support/embedded.ts';
import { ask, killInstances, spawnInstance, until } from '../support/instances.ts';

let folder: string, directory: string, file: string, server: Embedded, app: string;
beforeEach(async () => { ({ folder, directory, file, server, app } = await startInFolder()); });
afterEach(async () => {
  await killInstances();
  rmSync(folder, { recursive: true, force: true });
});

const fill = async (sessions: number) => { for (let made = 0; made < sessions; made += 20) await Promise.all(Array.from({ length: 20 }, () => server.call('POST', `${app}/sessions`, {}))); };
const readiness = async () => (await ask(server.url, undefined, 'GET', '/readyz')).status;

describe('a start', () => {
  /** Tries to start. Answers the code, and what was said. */
  async function refusal(options: { args?: readonly string[]; env?: Record<string, string> } = {}) {
    const instance = await spawnInstance('', { ...options, env: { DATA_DIR: directory, ...options.env } });
    const code = await instance.exited;
    return { code, said: instance.stderr, stdout: instance.logged };
  }
  const overwrite = (from: number, length: number) => {
    const handle = openSync(file, 'r+');
    writeSync(handle, Buffer.alloc(length, 0xa5), 0, length, from);
    closeSync(handle);
  };
  const kills: [string, boolean, () => void, RegExp][] = [
    ['whose header was overwritten', false, () => overwrite(0, 4_096), /rollcall\.db is damaged \(file is not a database\); restore a backup with `rollcall restore --from FILE`/],
    ['of which 160 KB were overwritten', false, () => overwrite(40_960, 163_840), /is damaged .*restore a backup with/],
    ['that was cut short', false, () => truncateSync(file, Math.floor(statSync(file).size / 2 / 4_096) * 4_096), /is damaged .*restore a backup with/],
    ['of a newer version', false, () => { const db = new DatabaseSync(file); db.exec('pragma user_version = 99'); db.close(); }, /has schema 99, but this Rollcall knows only up to \d+; run the newer version, or restore a backup/],
    ['whose log was taken away after a crash', true, () => unlinkSync(`${file}-wal`), /rollcall\.db-wal is missing, which holds the last commits of a server that was killed; put it back, restore a backup/],
  ];
  it.each(kills)('on a database %s is refused in one line that says what to do', async (_what, killed, damage, says) => {
    await fill(300);
    if (killed) await server.kill(); else expect(await server.stop()).toBe(0);
    damage();
    const { code, said, stdout } = await refusal();
    expect({ code, stdout }).toEqual({ code: 78, stdout: [] });
    expect(said).toMatch(says);
    expect(said).toMatch(/^Rollcall cannot start: [^\n]+\n$/);
  }, 60_000);

  it.runIf(canMount())('on a disk that may only be read is refused in one line that says what to do', async () => {
    const disk = mountDisk(32);
    try {
      const there = await startEmbedded(disk.directory);
      expect(await there.stop()).toBe(0);
      disk.setReadOnly(true);
      const { code, said } = await refusal({ env: { DATA_DIR: disk.directory } });
      expect({ code, said }).toEqual({ code: 78, said: expect.stringMatching(/^Rollcall cannot start: DATA_DIR: the database in \S+ cannot be opened: EROFS[^\n]+may write[^\n]+\n$/) });
    } finally { disk.unmount(); }
  }, 60_000);

  it('beside a running server is refused, and that one goes on', async () => {
    expect(await refusal()).toMatchObject({ code: 1, said: expect.stringMatching(/^Rollcall cannot start: another Rollcall server is running on [^\n]+\n$/) });
    expect((await server.call('POST', `${app}/sessions`, {})).status).toBe(201);
  });
});

describe('while the server runs', () => {
  it.each(['was overwritten', 'was cut short'])('a file that %s makes answers 503, never an empty list or a revoke that was none', async (how) => {
    await fill(3_000);
    expect(await server.stop()).toBe(0);
    server = await startEmbedded(directory);
    if (how === 'was cut short') truncateSync(file, 8_192);
    else {
      const handle = openSync(file, 'r+');
      writeSync(handle, Buffer.alloc(statSync(file).size - 8_192, 0xa5), 0, statSync(file).size - 8_192, 8_192);
      closeSync(handle);
    }
    for (const [method, path] of [['GET', `${app}/sessions?status=all`], ['DELETE', `${app}/sessions?userId=x`], ['DELETE', `${app}/sessions`], ['GET', `${app}/sessions?status=all`]] as const) {
      const { status, body } = await server.call(method, path);
      if (status === 200 && method === 'GET') expect(body.items.length, 'what is in memory still').toBeGreaterThan(0);
      else if (status === 200) { // then it is so
        expect(path).not.toContain('userId');
        expect((await server.call('GET', `${app}/sessions`)).body).not.toMatchObject({ items: [expect.anything()] });
      } else expect({ method, path, status, type: body.type }).toEqual({ method, path, status: 503, type: '/docs/errors#store-unavailable' });
    }
    await until(async () => await readiness() === 503, 5_000, 'it says that it is not ready');
    expect((await ask(server.url, undefined, 'GET', '/livez')).status).toBe(200);
  }, 60_000);

  it('a log that was taken away stops writes before any is lost', async () => {
    await fill(200);
    const acknowledged = new Set<string>();
    unlinkSync(`${file}-wal`);
    const answer = await server.call('POST', `${app}/sessions`, {});
    expect(answer).toMatchObject({ status: 503, body: { type: '/docs/errors#store-unavailable' } });
    for (const { id } of (await server.call('GET', `${app}/sessions?limit=1000`)).body.items) acknowledged.add(id);
    expect(acknowledged.size).toBe(200);
    expect(await readiness()).toBe(503);
    await server.kill();
    rmSync(join(directory, 'rollcall.running')); // as the message of the start says
    server = await startEmbedded(directory);
    expect((await server.call('GET', `${app}/sessions?limit=1000`)).body.items.filter(({ id }: { id: string }) => acknowledged.has(id))).toHaveLength(200);
  }, 60_000);
});
