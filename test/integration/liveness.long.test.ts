// Who is gone reads lost, within its bounds, and nobody else: real processes, real time, a short lease.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClient, type Client } from '../../client/index.ts';
import { mintToken, readOrCreateSigningKey } from '../../server/keys.ts';
import { STARTED } from '../support/command.ts';

const LEASE = 4_000, LATE = 10_000;
const root = new URL('../..', import.meta.url).pathname;

let directory: string, server: ChildProcess, url: string, token: string, client: Client, app: string;
const children: ChildProcess[] = [];

async function startServer(port = '0'): Promise<void> {
  server = spawn(process.execPath, [...STARTED, 'server/main.ts'], { cwd: root, env: { ...process.env, PORT: port, DATA_DIR: directory, LEASE: `${LEASE}ms`, DATABASE_URL: '' }, stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(server);
  for await (const line of createInterface({ input: server.stdout! })) if ((url = JSON.parse(line).url ?? '')) break;
  server.stdout!.resume();
  client = createClient({ baseUrl: url, token, retries: 10 });
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rollcall-liveness-'));
  token = await mintToken(await readOrCreateSigningKey(directory), { organizationId: 'o', scopes: ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:write'], ttlMs: 600_000, audience: 'rollcall' });
  await startServer();
  app = (await client.applications.create({ name: 'liveness' })).id;
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  rmSync(directory, { recursive: true, force: true });
});

/** A client in a process of its own that holds a session's stream open, and reopens it when it ends. */
async function holder(sessionId: string): Promise<ChildProcess> {
  const script = `
    const [url, token] = process.argv.slice(1);
    for (;;) {
      try {
        const response = await fetch(url, { headers: { authorization: 'Bearer ' + token } });
        console.log(response.status);
        for await (const chunk of response.body) void chunk;
      } catch {}
      await new Promise((resolve) => setTimeout(resolve, 200));
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, `${url}/api/v1/applications/${app}/sessions/${sessionId}/events`, token], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout!, 'data');
  child.stdout!.resume();
  return child;
}
const connect = async () => (await client.sessions.create(app)).session.id;
const status = async (id: string) => { const { status, disconnectReason } = await client.sessions.get(app, id); return disconnectReason ?? status; };

/** How long after now the session reads lost; asks until it does, or for longer than it may take. */
async function lostAfter(id: string): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < LEASE + 2 * LATE) {
    if (await status(id) === 'lost') return performance.now() - started;
    await wait(50);
  }
  return Infinity;
}

describe('a session with a stream', () => {
  it('is lost a lease after its client was killed, and the one beside it is not', async () => {
    const [dead, alive] = [await connect(), await connect()];
    const [victim] = [await holder(dead), await holder(alive)];
    await wait(LEASE + 3_000);
    expect([await status(dead), await status(alive)]).toEqual(['active', 'active']);
    victim.kill('SIGKILL');
    const after = await lostAfter(dead);
    console.log(`lost ${Math.round(after)} ms after the client was killed, with a lease of ${LEASE} ms`);
    expect(after).toBeGreaterThan(LEASE - 100);
    expect(after).toBeLessThan(LEASE + LATE);
    expect(await status(alive)).toBe('active');
  }, 60_000);

  it('survives a crash of the server if its client comes back, and is lost a lease after the service is back if not', async () => {
    const [gone, stays] = [await connect(), await connect()];
    const [victim] = [await holder(gone), await holder(stays)];
    const port = new URL(url).port;
    victim.kill('SIGKILL');
    server.kill('SIGKILL');
    await once(server, 'exit');
    await wait(LEASE + 2_000); // longer than the lease: an outage makes nobody lost
    await startServer(port);
    expect(await status(stays)).toBe('active');
    const after = await lostAfter(gone);
    console.log(`lost ${Math.round(after)} ms after the service was back`);
    expect(after).toBeGreaterThan(LEASE - 1_000);
    expect(after).toBeLessThan(LEASE + LATE);
    expect(await status(stays)).toBe('active');
  }, 60_000);

  it('of a paused server is not lost when the server goes on', async () => {
    const id = await connect();
    await holder(id);
    server.kill('SIGSTOP');
    await wait(LEASE + 3_000);
    server.kill('SIGCONT');
    for (let checks = 0; checks < 20; checks++) {
      expect(await status(id)).toBe('active');
      await wait(100);
    }
  }, 60_000);
});

describe('an acknowledged write', () => {
  it('is there after kill -9 at any moment', async () => {
    const port = new URL(url).port;
    const acknowledged: string[] = [];
    for (let kills = 0; kills < 5; kills++) {
      let killed = false;
      const writers = Array.from({ length: 8 }, async () => {
        while (!killed) await createClient({ baseUrl: url, token, retries: 0 }).sessions.create(app).then(({ session }) => acknowledged.push(session.id), () => {});
      });
      // At a random one of its writes, however fast the machine is.
      const at = acknowledged.length + 11 + Math.random() * 40;
      while (acknowledged.length < at) await wait(1);
      server.kill('SIGKILL');
      killed = true;
      await once(server, 'exit');
      await Promise.all(writers);
      await startServer(port);
    }
    const there = new Set<string>();
    for await (const { id } of client.sessions.list(app, { status: 'all' })) there.add(id);
    console.log(`${acknowledged.length} acknowledged, ${there.size} there`);
    expect(acknowledged.length).toBeGreaterThan(50);
    expect(acknowledged.filter((id) => !there.has(id))).toEqual([]);
  }, 60_000);
});
