// When the client tries again, how long it waits, and how a call is cut short.
import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Client } from '../../client/client.ts';
import { ConnectionError, ProblemError, TimeoutError } from '../../client/problem.ts';
import { realTiming, waitMs } from '../../client/request.ts';
import * as at from './client-peer.ts';

const { APP, ID } = at;
const FAST = { timeoutMs: 40 };

afterEach(() => void vi.useRealTimers());

describe('a call that is safe to repeat', () => {
  it('is repeated until it succeeds, after growing waits', async () => {
    const peer = await at.peer(at.unavailable, at.unavailable, at.ok);
    const { client, waits } = at.clientOf(peer);
    expect(await client.sessions.get(APP, ID)).toEqual(at.SESSION.session);
    expect(waits).toEqual([100, 200]);
    expect(peer.received).toHaveLength(3);
  });

  it.each([
    ['a 408', at.page(408, '')],
    ['a 429', at.problem(429, 'rate-limited')],
    ['a 502 of a proxy', at.page(502, '<html>Bad gateway</html>')],
    ['a 504', at.page(504, '')],
    ['a broken connection', at.breaks],
    ['a body that breaks off', at.breaksOff],
    ['no answer in time', at.hangs],
    ['a body that does not end in time', at.stalls],
  ])('is repeated after %s', async (_name, failure) => {
    const peer = await at.peer(failure, at.ok);
    const { client } = at.clientOf(peer);
    expect((await client.sessions.get(APP, ID, { timeoutMs: 200 })).id).toBe(ID);
    expect(peer.received).toHaveLength(2);
  });

  it.each([400, 401, 403, 404, 409, 500])('is not repeated after a %i', async (status) => {
    const peer = await at.peer(at.problem(status, 'some-code'), at.ok);
    const { client } = at.clientOf(peer);
    await expect(client.sessions.get(APP, ID)).rejects.toMatchObject({ status, isRetryable: false });
    expect(peer.received).toHaveLength(1);
  });

  it('gives up after two repetitions, with the last error', async () => {
    const peer = await at.peer(at.breaks, at.breaks, at.unavailable, at.ok);
    const { client } = at.clientOf(peer);
    const error = await client.sessions.get(APP, ID).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({ status: 503, isRetryable: true });
    expect(peer.received).toHaveLength(3);
  });

  it('is repeated as often as the call says, else as the client says', async () => {
    const peer = await at.peer(...Array(9).fill(at.unavailable));
    const { client } = at.clientOf(peer, { retries: 0 });
    await client.sessions.get(APP, ID).catch(() => {});
    expect(peer.received).toHaveLength(1);
    await client.sessions.get(APP, ID, { retries: 4 }).catch(() => {});
    expect(peer.received).toHaveLength(6);
  });

  it('sends the same body again, with a fresh token', async () => {
    const peer = await at.peer(at.unavailable, at.json(200, { session: {}, generation: 1 }));
    const tokens = ['first', 'second'];
    const { client } = at.clientOf(peer, { token: async () => tokens.shift() ?? 'none' });
    await client.sessions.create(APP, { externalId: 'mcp:1', name: 'née' });
    expect(peer.received.map((request) => request.body)).toEqual(Array(2).fill('{"externalId":"mcp:1","name":"née"}'));
    expect(peer.received.map((request) => request.headers.authorization)).toEqual(['Bearer first', 'Bearer second']);
  });
});

describe('which calls are safe to repeat', () => {
  const calls: [string, number, (client: Client) => Promise<unknown>][] = [
    ['sessions.page', 2, (client) => client.sessions.page(APP)],
    ['sessions.revoke', 2, (client) => client.sessions.revoke(APP, ID)],
    ['sessions.revokeAll', 2, (client) => client.sessions.revokeAll(APP)],
    ['sessions.end', 2, (client) => client.sessions.end(APP, ID)],
    ['sessions.heartbeat', 2, (client) => client.sessions.heartbeat(APP, [{ sessionId: ID }])],
    ['sessions.create with an externalId', 2, (client) => client.sessions.create(APP, { externalId: 'mcp:1' })],
    ['sessions.create without one', 1, (client) => client.sessions.create(APP, { name: 'once' })],
    ['applications.create', 1, (client) => client.applications.create({ name: 'once' })],
    ['applications.delete', 2, (client) => client.applications.delete(APP)],
    ['credentials.allow', 2, (client) => client.credentials.allow(APP, 'sid:1')],
  ];

  it.each(calls)('%s is sent %i time(s)', async (_name, times, call) => {
    const peer = await at.peer(at.unavailable, at.problem(404, 'not-found'));
    await expect(call(at.clientOf(peer).client)).rejects.toThrow(ProblemError);
    expect(peer.received).toHaveLength(times);
  });
});

describe('the wait', () => {
  const error = (retryAfterMs?: number) => Object.assign(new ConnectionError('broken'), { retryAfterMs });

  it('is anywhere between nothing and a ceiling that doubles up to five seconds', () => {
    expect([0, 1, 2, 3, 4, 5, 20].map((attempt) => waitMs(attempt, error(), () => 1))).toEqual([
      200, 400, 800, 1_600, 3_200, 5_000, 5_000,
    ]);
    expect(waitMs(3, error(), () => 0)).toBe(0);
  });

  const asks = (value: string) => at.problem(429, 'rate-limited', {}, { 'retry-after': value });

  it('is what Retry-After says, a minute too, and a random little more', async () => {
    const peer = await at.peer(asks('2'), asks('0'), asks('60'), at.ok);
    const { client, waits } = at.clientOf(peer, { retries: 3 });
    await client.sessions.get(APP, ID);
    expect(waits).toEqual([2_350, 100, 62_500]);
    expect([0, 1].map((chance) => waitMs(0, error(8_000), () => chance))).toEqual([8_000, 10_200]);
  });

  it('is none where Retry-After says more than a minute: the call rejects with that', async () => {
    const { client, waits } = at.clientOf(await at.peer(asks('61'), at.ok));
    await expect(client.sessions.get(APP, ID)).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 61_000 });
    expect(waits).toEqual([]);
  });

  it('is over when the time is up', async () => {
    vi.useFakeTimers();
    const done = vi.fn();
    const slept = realTiming.sleep(5_000, new AbortController().signal).then(done);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(done).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    await slept;
  });

  it('leaves no timer behind when it is cut short', async () => {
    vi.useFakeTimers();
    const controller = new AbortController();
    const slept = realTiming.sleep(30_000, controller.signal);
    controller.abort();
    await expect(slept).rejects.toThrow('aborted');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends at once when the caller aborts', async () => {
    const peer = await at.peer(at.problem(503, 'store-unavailable', {}, { 'retry-after': '30' }), at.ok);
    const controller = new AbortController();
    const reason = new Error('the user left');
    const sleep = (ms: number, signal?: AbortSignal) => {
      const slept = realTiming.sleep(ms, signal);
      controller.abort(reason);
      return slept;
    };
    const { client } = at.clientOf(peer, {}, { sleep });
    await expect(client.sessions.get(APP, ID, { signal: controller.signal })).rejects.toBe(reason);
    expect(peer.received).toHaveLength(1);
  });
});

describe('a signal', () => {
  it('cuts off a call that is under way, and nothing is repeated', async () => {
    const controller = new AbortController();
    const reason = new Error('the user left');
    const peer = await at.peer(() => controller.abort(reason), at.ok);
    const { client, waits } = at.clientOf(peer);
    await expect(client.sessions.get(APP, ID, { signal: controller.signal })).rejects.toBe(reason);
    expect(peer.received).toHaveLength(1);
    expect(waits).toEqual([]);
  });

  it('closes the connection of the call it cuts off', async () => {
    const controller = new AbortController();
    let closed: (() => void) | undefined;
    const isClosed = new Promise<void>((resolve) => (closed = resolve));
    const peer = await at.peer((response) => {
      response.on('close', () => closed?.());
      controller.abort();
    });
    await at.clientOf(peer).client.sessions.get(APP, ID, { signal: controller.signal }).catch(() => {});
    await isClosed;
  });

  it('ends the call even when its reason is an error that would be worth another attempt', async () => {
    const controller = new AbortController();
    const reason = new ConnectionError('another call failed');
    const peer = await at.peer(() => controller.abort(reason), at.ok);
    const { client, waits } = at.clientOf(peer);
    await expect(client.sessions.get(APP, ID, { signal: controller.signal })).rejects.toBe(reason);
    expect(waits).toEqual([]);
  });

  it('that is aborted already keeps the call from being sent', async () => {
    const peer = await at.peer(at.ok);
    const signal = AbortSignal.abort();
    await expect(at.clientOf(peer).client.sessions.get(APP, ID, { signal })).rejects.toBe(signal.reason);
    expect(peer.received).toEqual([]);
  });

  it('that lives long collects no listeners', async () => {
    const peer = await at.peer(at.unavailable, at.ok);
    const { signal } = new AbortController();
    const { client } = at.clientOf(peer, {}, { random: () => 0, sleep: realTiming.sleep });
    await client.sessions.get(APP, ID, { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('the time limit', () => {
  it('ends in a TimeoutError, which is a ConnectionError too', async () => {
    const peer = await at.peer(at.hangs);
    const error = await at
      .clientOf(peer, { retries: 0 })
      .client.sessions.get(APP, ID, FAST)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ name: 'TimeoutError', timeoutMs: 40, isRetryable: true });
  });

  it.each<[string, number, object, (client: Client) => Promise<unknown>]>([
    ['ten seconds', 10_000, {}, (client) => client.sessions.get(APP, ID)],
    ['a minute for a bulk revoke', 60_000, {}, (client) => client.sessions.revokeAll(APP)],
    ['what the client says', 3_000, { timeoutMs: 3_000 }, (client) => client.sessions.revokeAll(APP)],
    ['what the call says', 7, { timeoutMs: 3_000 }, (client) => client.sessions.revokeAll(APP, { timeoutMs: 7 })],
  ])('is %s, even for a fetch that ignores its signal', async (_name, limit, options, call) => {
    vi.useFakeTimers();
    const fetch = () => new Promise<Response>(() => {});
    const { client } = at.clientOf({ url: 'http://rollcall.test' }, { fetch, retries: 0, ...options });
    const outcome = call(client).catch((reason: unknown) => reason);
    await vi.advanceTimersByTimeAsync(limit - 1);
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(await outcome).toMatchObject({ name: 'TimeoutError', timeoutMs: limit });
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([0, Infinity])('of %d is none', async (timeoutMs) => {
    vi.useFakeTimers();
    let answer = (_response: Response) => {};
    const fetch = () => new Promise<Response>((resolve) => (answer = resolve));
    const { client } = at.clientOf({ url: 'http://rollcall.test' }, { fetch });
    const outcome = client.sessions.get(APP, ID, { timeoutMs });
    await vi.advanceTimersByTimeAsync(86_400_000);
    answer(Response.json(at.SESSION));
    expect((await outcome).id).toBe(ID);
    expect(vi.getTimerCount()).toBe(0);
  });
});
