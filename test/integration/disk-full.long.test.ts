// A disk that is full: writes are refused in words, everything else goes on, a revoke still works, and room is all it takes to go on.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RESERVE_BYTES } from '../../server/store/reserve.ts';
import { canMount, mountDisk, type Disk } from '../support/disk.ts';
import { inFile, startEmbedded, type Embedded } from '../support/embedded.ts';
import { ask, killInstances, until, type Timed } from '../support/instances.ts';
import { openStream } from '../support/stream.ts';

const REVOKED_WITHIN = 5_000;

describe.runIf(canMount())('a full disk', () => {
  let disk: Disk, server: Embedded, app: string, acknowledged: string[], refused: Timed[];
  beforeEach(async () => {
    disk = mountDisk(64);
    server = await startEmbedded(disk.directory, { env: { LEASE: '10s' } });
    app = `/applications/${(await server.call('POST', '/applications', { name: 'Full' })).body.application.id}`;
    [acknowledged, refused] = [[], []];
  });
  afterEach(async () => {
    await killInstances();
    disk.unmount();
  });

  const create = async (index: number) => {
    const answer = await server.call('POST', `${app}/sessions`, { userId: `u${index % 10}`, hostname: 'h'.repeat(200), credentialId: `c${index}` });
    if (answer.status === 201) acknowledged.push(answer.body.session.id);
    else refused.push(answer);
    return answer;
  };
  const readiness = async () => { const { status, body } = await ask(server.url, undefined, 'GET', '/readyz'); return { status, ...body }; };
  const reasonOf = async (id: string): Promise<string> => {
    const { body } = await server.call('GET', `${app}/sessions/${id}`);
    return body.session.disconnectReason ?? body.session.status;
  };
  /** Fills the disk while sessions are being made, until they are refused. */
  async function fillUp(): Promise<void> {
    for (let index = 0; index < 300; index++) await create(index);
    await until(() => statSync(join(disk.directory, 'rollcall.reserve'), { throwIfNoEntry: false })?.size === RESERVE_BYTES, 5_000, 'the reserve is there');
    disk.fill();
    for (let index = 0; refused.length < 5 && index < 20_000; index++) await create(index);
    disk.fill(); // whatever the attempts have left
  }

  it('refuses writes and says why, lets reads and streams go on, revokes all the same, and recovers when there is room', async () => {
    const [watched, filtered, single] = await Promise.all([create(1), create(2), create(3)]).then((answers) => answers.map(({ body }) => body.session.id as string)) as [string, string, string];
    const stream = await openStream(`${server.url}/api/v1${app}/sessions/${watched}/events`, server.token);
    await fillUp();
    for (const { status, body, headers } of refused) {
      expect({ status, type: body.type, retryAfter: headers.get('retry-after') }).toEqual({ status: 503, type: '/docs/errors#storage-full', retryAfter: '5' });
    }
    for (const [method, path, body] of [['POST', '/applications', { name: 'x' }], ['POST', `${app}/sessions/${single}/end`]] as const) {
      expect((await server.call(method, path, body)).body.type).toBe('/docs/errors#storage-full');
    }
    expect(await readiness()).toEqual({ status: 'unavailable', reasons: [{ code: 'storage-full', detail: 'the disk of the store is full' }] });
    expect((await ask(server.url, undefined, 'GET', '/livez')).status).toBe(200);

    const { status, body } = await server.call('GET', `${app}/sessions?limit=1000`);
    expect({ status, atLeast: body.items.length }).toEqual({ status: 200, atLeast: Math.min(1_000, acknowledged.length) });
    expect((await server.call('GET', `${app}/session-counts`)).status).toBe(200);
    expect((await server.call('POST', `${app}/heartbeats`, { heartbeats: acknowledged.slice(0, 500).map((sessionId) => ({ sessionId })) })).body).toMatchObject({ ended: [] });

    const revoke = async (path: string) => {
      const { status, body, ms } = await server.call('DELETE', path);
      expect.soft({ path, status, body }).toEqual({ path, status: 200, body: expect.objectContaining({ success: true }) });
      expect.soft(ms).toBeLessThan(REVOKED_WITHIN);
      console.log(`revoked ${body.disconnectedCount} on a full disk in ${ms.toFixed(0)} ms`);
      return body.disconnectedCount as number;
    };
    const count = acknowledged.length;
    expect(await revoke(`${app}/sessions/${single}`)).toBe(1);
    expect(await reasonOf(single)).toBe('revoked');
    const some = await revoke(`${app}/sessions?userId=u2`);
    expect(some).toBeGreaterThan(20);
    expect(await reasonOf(filtered)).toBe('revoked');
    disk.fill(); // what was given free and not used goes as well
    expect(await revoke(`${app}/sessions`)).toBe(count - 1 - some);
    expect(await stream.next()).toMatchObject({ event: 'disconnect', data: { reason: 'revoked' } });
    expect(await create(1)).toMatchObject({ status: 503 });
    expect(await readiness()).toMatchObject({ status: 'unavailable' });

    disk.makeRoom();
    const after = await until(async () => (await create(1)).status !== 503, 5_000, 'it writes again');
    console.log(`${count} sessions acknowledged, ${refused.length} writes refused; written again ${after.toFixed(0)} ms after there was room`);
    await until(async () => (await readiness()).status === 'ok', 3_000, 'it is ready again');
    expect(statSync(join(disk.directory, 'rollcall.reserve')).size).toBe(RESERVE_BYTES);
    expect((await create(4_000_001)).status).toBe(201);
    const fresh = acknowledged.slice(count);
    for (const id of fresh) expect(await reasonOf(id)).toBe('active');
    const listed = new Map<string, string>();
    for (let cursor = ''; ;) {
      const { body } = await server.call('GET', `${app}/sessions?status=all&limit=1000${cursor && `&cursor=${cursor}`}`);
      for (const { id, disconnectReason, status } of body.items) listed.set(id, disconnectReason ?? status);
      if (!(cursor = body.nextCursor)) break;
    }
    expect(acknowledged.filter((id) => !listed.has(id))).toEqual([]);
    expect(acknowledged.slice(0, count).filter((id) => listed.get(id) !== 'revoked')).toEqual([]);
    expect(inFile(disk.directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
    expect(server.logged.filter(({ msg }) => msg === 'background work failed; it is tried again').length).toBeLessThan(5);
    expect(server.running).toBe(true);
  }, 120_000);

  it('does not keep a killed server from starting, nor a revoke from being written then', async () => {
    await fillUp();
    await server.kill();
    server = await startEmbedded(disk.directory);
    expect(await create(1)).toMatchObject({ status: 503 });
    expect((await server.call('GET', `${app}/sessions?limit=1000`)).body.items).toHaveLength(Math.min(1_000, acknowledged.length));
    await wait(1_500); // nobody is called lost
    expect((await server.call('DELETE', `${app}/sessions`)).body).toMatchObject({ disconnectedCount: acknowledged.length });
    await server.kill();
    disk.makeRoom();
    server = await startEmbedded(disk.directory);
    expect(await reasonOf(acknowledged[0]!)).toBe('revoked');
    expect((await create(7_000_001)).status).toBe(201);
    expect(await server.stop()).toBe(0);
    expect(readdirSync(disk.directory).sort()).toEqual(['rollcall.db', 'rollcall.lock', 'rollcall.reserve', 'signing-key.json']);
    expect(inFile(disk.directory)).toEqual({ integrity: 'ok', wrongCounters: [] });
  }, 120_000);
});
