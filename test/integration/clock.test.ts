// A clock that is set while the server runs: nobody is lost by it, the dead are lost in time, nothing ends before it began, and order stays order.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClock, startTestService, type Clock, type TestService } from '../support/service.ts';
import { openStream } from '../support/stream.ts';

const HOUR = 3_600_000, LEASE = 90_000, LATE = 10_000, STEP = 2_000;
let test: TestService, wall: Clock, steady: Clock, app: string, token: string;
beforeEach(async () => {
  [wall, steady] = [createClock(), createClock(0)];
  test = await startTestService({ clock: wall, elapsed: steady.now });
  app = `/applications/${await test.application()}`;
  wall.advance(-2 * HOUR); // old enough: one from the future is refused
  token = await test.token({ ttlMs: 10 * HOUR });
  wall.advance(2 * HOUR);
});
afterEach(() => test.close());

const call = (method: string, path: string, body?: unknown) => test.call(method, path, { token, body });
const connect = async () => (await call('POST', `${app}/sessions`, {})).body.session;
const read = async (id: string) => (await call('GET', `${app}/sessions/${id}`)).body.session;
const statusOf = async (id: string) => { const { status, disconnectReason } = await read(id); return disconnectReason ?? status; };
/** Time goes by as it does: duties are done, and these sessions are heard of. */
async function goOn(ms: number, alive: readonly string[] = []): Promise<void> {
  for (let passed = 0; passed < ms; passed += STEP) {
    wall.advance(STEP);
    steady.advance(STEP);
    test.service.streams.tick();
    if (passed % 20_000 === 0 && alive.length > 0) await call('POST', `${app}/heartbeats`, { heartbeats: alive.map((sessionId) => ({ sessionId, lastActiveAt: new Date(wall.now()).toISOString() })) });
    await test.service.store.maintain();
  }
}

describe.each([120_000, -120_000, HOUR, -HOUR])('a clock that is set by %d ms', (jump) => {
  it('makes nobody lost who is alive, and everybody who is not, a lease later', async () => {
    const [alive, dead, watched] = [await connect(), await connect(), await connect()].map(({ id }) => id as string) as [string, string, string];
    const stream = await openStream(`${test.url}/api/v1${app}/sessions/${watched}/events`, token);
    await goOn(20_000, [alive, dead]);
    wall.advance(jump);
    await goOn(LEASE - STEP, [alive]);
    expect([await statusOf(alive), await statusOf(dead), await statusOf(watched)]).toEqual(['active', 'active', 'active']);
    await goOn(LATE, [alive]);
    expect([await statusOf(alive), await statusOf(dead), await statusOf(watched)]).toEqual(['active', 'lost', 'active']);
    await goOn(2 * LEASE, [alive]);
    expect([await statusOf(alive), await statusOf(watched)]).toEqual(['active', 'active']);
    expect(stream.events).toEqual([]);
    stream.close();
  });

  it('leaves ids, moments and events in order', async () => {
    const stream = await openStream(`${test.url}/api/v1${app}/events`, token);
    const before = await connect();
    const open = await connect();
    wall.advance(jump);
    const after = [await connect(), await connect()];
    const ids = [before, open, ...after].map(({ id }) => id as string);
    expect([...ids].sort()).toEqual(ids);
    const made = [before, open, ...after].map(({ createdAt }) => Date.parse(createdAt));
    expect([...made].sort((a, b) => a - b)).toEqual(made);
    expect((await call('GET', `${app}/sessions?status=all`)).body.items.map(({ id }: { id: string }) => id)).toEqual([...ids].reverse());
    await call('POST', `${app}/sessions/${before.id}/end`);
    await call('DELETE', `${app}/sessions/${open.id}`);
    await call('DELETE', `${app}/sessions`);
    for (const id of ids) {
      const { createdAt, connectedAt, disconnectedAt } = await read(id);
      expect(Date.parse(connectedAt)).toBeGreaterThanOrEqual(Date.parse(createdAt));
      expect(Date.parse(disconnectedAt)).toBeGreaterThanOrEqual(Date.parse(connectedAt));
    }
    await test.service.hub.poll();
    const seen: unknown[] = [];
    for (let events = 0; events < 7; events++) { const { event, data } = await stream.next(); seen.push([event, data.session?.id ?? data.sessionId]); }
    expect(seen).toEqual([...ids.map((id) => ['session.connected', id]), ['session.disconnected', before.id], ['session.disconnected', open.id], ['sessions.revoked', undefined]]);
    stream.close();
  });
});
