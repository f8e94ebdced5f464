// kill -9 fifty times amid everything at once: what was acknowledged is there, who was revoked stays revoked, and the file is sound.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { inFile, startEmbedded, type Embedded } from '../support/embedded.ts';
import { killInstances, type Timed } from '../support/instances.ts';
import { openStream } from '../support/stream.ts';

const KILLS = 50;
const directory = mkdtempSync(join(tmpdir(), 'rollcall-kill-'));
afterAll(async () => {
  await killInstances();
  rmSync(directory, { recursive: true });
});

describe(`${KILLS} kills at random moments`, () => {
  it('lose nothing that was acknowledged, and bring nobody back', async () => {
    let server: Embedded = await startEmbedded(directory), down = false, doing = true, calls = 0;
    const made = async () => `/applications/${(await server.call('POST', '/applications', { name: 'Kill' })).body.application.id as string}`;
    const apps = await Promise.all(Array.from({ length: 3 }, made));
    /** What was acknowledged, and what was merely asked for. */
    const created = new Map<string, string>(), over = new Map<string, 'ended' | 'revoked'>(), inDoubt = new Set<string>();
    const denied = new Set<string>(), allowed = new Set<string>(), deleted: string[] = [];
    /** An answer, or none: then it may or may not have been done. */
    const ask = async (method: string, path: string, body?: unknown): Promise<Timed | undefined> => {
      while (down && doing) await wait(5);
      calls++;
      return server.call(method, path, body).then((answer) => answer.status < 500 ? answer : undefined, () => undefined);
    };
    const pick = () => apps[Math.floor(Math.random() * apps.length)]!;
    let number = 0;
    const create = async () => {
      const app = pick(), credentialId = `c${++number}`;
      const answer = await ask('POST', `${app}/sessions`, { userId: `u${number % 5}`, credentialId, credentialExpiresAt: new Date(Date.now() + 3_600_000).toISOString() });
      if (answer?.status === 201) created.set(`${app}/sessions/${answer.body.session.id}`, credentialId);
    };
    /** Only those count for which the answer came before anything else was asked of them. */
    const finish = async (how: 'ended' | 'revoked') => {
      const path = [...created.keys()].find((path) => !over.has(path) && !inDoubt.has(path));
      if (path === undefined) return;
      inDoubt.add(path);
      const answer = await ask(how === 'ended' ? 'POST' : 'DELETE', how === 'ended' ? `${path}/end` : path);
      if (answer?.status !== 200 || (how === 'revoked' && answer.body.disconnectedCount !== 1)) return;
      if (how === 'ended' && answer.body.session.disconnectReason !== 'ended') return;
      over.set(path, how);
      if (how === 'revoked') denied.add(created.get(path)!);
    };
    const revokeMany = async (query: string) => {
      const app = pick();
      const before = [...created].filter(([path]) => path.startsWith(app));
      if (query !== '') return void await ask('DELETE', `${app}/sessions${query}`);
      before.forEach(([path]) => inDoubt.add(path));
      const answer = await ask('DELETE', `${app}/sessions`);
      if (answer?.status !== 200) return;
      for (const [path] of before) if (!over.has(path)) over.set(path, 'revoked');
    };
    const allow = async () => {
      const credential = [...denied].find((id) => !allowed.has(id));
      const path = [...created].find(([, id]) => id === credential)?.[0];
      if (credential === undefined || path === undefined) return;
      allowed.add(credential);
      await ask('DELETE', `${path.split('/sessions/')[0]}/revoked-credentials/${credential}`);
    };
    const drop = async () => {
      const app = `/applications/${(await ask('POST', '/applications', { name: 'Short' }))?.body?.application?.id as string}`;
      if (app.endsWith('undefined')) return;
      await ask('POST', `${app}/sessions`, {});
      if ((await ask('DELETE', app))?.status === 200) deleted.push(app);
    };
    const beat = async () => {
      const app = pick();
      const ids = [...created.keys()].filter((path) => path.startsWith(app)).slice(-50).map((path) => ({ sessionId: path.split('/').at(-1)! }));
      if (ids.length > 0) await ask('POST', `${app}/heartbeats`, { heartbeats: ids });
    };
    const deeds: (() => Promise<void>)[] = [create, create, create, create, beat, () => finish('ended'), () => finish('revoked'), () => revokeMany('?userId=u1'), () => revokeMany(''), allow, drop];
    const weights = [...deeds, create, create, create, beat];
    const load = Array.from({ length: 6 }, async () => { while (doing) await weights[Math.floor(Math.random() * weights.length)]!(); });

    for (let kills = 0; kills < KILLS; kills++) {
      // At a random one of its calls, however fast the machine is.
      const at = calls + 1 + Math.random() * 40, patience = performance.now() + 2_000;
      while (calls < at && performance.now() < patience) await wait(1);
      down = true;
      await server.kill();
      expect(inFile(directory), `after kill ${kills + 1}`).toEqual({ integrity: 'ok', wrongCounters: [] });
      server = await startEmbedded(directory, { port: Number(new URL(server.url).port) });
      down = false;
    }
    doing = false;
    await Promise.all(load);

    const wrong: string[] = [];
    for (const [path] of created) {
      const { status, body } = await server.call('GET', path);
      if (status !== 200) wrong.push(`${path} is gone: ${status}`);
      else if (over.has(path) && body.session.status !== 'disconnected') wrong.push(`${path} was ${over.get(path)} and is ${body.session.status}`);
      else if (over.has(path) && body.session.disconnectReason === 'lost') wrong.push(`${path} was ${over.get(path)} and is lost`);
    }
    for (const app of deleted) if ((await server.call('GET', app)).status !== 404) wrong.push(`${app} was deleted`);
    const gone = [...over].filter(([, how]) => how === 'revoked').map(([path]) => path);
    for (const path of gone.slice(-100)) {
      const credential = created.get(path)!;
      if (allowed.has(credential)) continue;
      const { status } = await server.call('POST', `${path.split('/sessions/')[0]}/sessions`, { credentialId: credential });
      if (status !== 403) wrong.push(`${credential} was denied: ${status}`);
    }
    for (const app of apps) {
      const audit = (await server.call('GET', `${app}/revocations?limit=1000`)).body.items as { state: string }[];
      if (audit.some(({ state }) => state === 'running')) wrong.push(`${app} has a revoke that runs for ever`);
    }
    console.log(`${KILLS} kills, ${calls} calls: ${created.size} sessions acknowledged, ${over.size} of them over, ${denied.size} revoked one by one, ${deleted.length} applications deleted`);
    expect(wrong).toEqual([]);
    expect(created.size).toBeGreaterThan(50);
    expect(over.size).toBeGreaterThan(20);
    expect(deleted.length).toBeGreaterThan(0);
    expect(await server.stop()).toBe(0);
    expect(inFile(directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
  }, 400_000);
});

describe('a revoke-all', () => {
  it('that was killed in the middle is told once to a reader who comes late, or it was not done', async () => {
    let server: Embedded = await startEmbedded(join(directory, 'late')), done = 0;
    for (let kills = 0; kills < 6; kills++) {
      const app = `/applications/${(await server.call('POST', '/applications', { name: 'Late' })).body.application.id as string}`, events = `/api/v1${app}/events`;
      const early = await openStream(`${server.url}${events}`, server.token);
      const { body: { session } } = await server.call('POST', `${app}/sessions`, {});
      const { id: lastId } = await early.next();
      early.close();
      const asked = server.call('DELETE', `${app}/sessions`).then(({ status }) => status, () => undefined);
      if (kills % 2 === 0) await asked; else await wait(Math.random() * 10); // just after it, or in the middle
      await server.kill();
      const status = await asked;
      server = await startEmbedded(join(directory, 'late'), { port: Number(new URL(server.url).port) });
      const isOver = (await server.call('GET', `${app}/sessions/${session.id}`)).body.session.status === 'disconnected';
      if (status === 200) expect(isOver).toBe(true);
      const late = await openStream(`${server.url}${events}`, server.token, { 'last-event-id': lastId! }); // events have one
      await server.call('POST', `${app}/sessions`, { name: 'the last' });
      while ((await late.next()).data.session?.name !== 'the last');
      late.close();
      expect(late.events.map(({ event }) => event).filter((event) => event === 'sessions.revoked')).toEqual(isOver ? ['sessions.revoked'] : []);
      done += Number(isOver);
    }
    console.log(`of 6 that were killed ${done} were done`);
    expect(await server.stop()).toBe(0);
  }, 120_000);
});
