// That a stream is let go of, whenever and however its reader leaves: no connection, no listener and no wait stays behind.
import { getEventListeners } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { type StreamState, subscribe, watchSession } from '../../client/events.ts';
import { ConnectionError } from '../../client/problem.ts';
import * as at from './client-events-peer.ts';
import { breaks, hangs, peer } from './client-peer.ts';

const left = new Error('the user left');

/** A stream with two events, and word of when its connection is gone. */
function watched() {
  const gone = at.countdown();
  const answer = (response: ServerResponse) => {
    at.stream(at.revoked(1) + at.revoked(2))(response);
    response.on('close', gone.hit);
  };
  return { answer, gone: gone.done };
}

describe('leaving the loop', () => {
  it('by break closes the connection', async () => {
    const { answer, gone } = watched();
    for await (const _event of subscribe(at.optionsOf(await peer(answer)), at.handTiming().timing)) break;
    await gone;
  });

  it('by an error of its body closes the connection, and is that error', async () => {
    const { answer, gone } = watched();
    const events = subscribe(at.optionsOf(await peer(answer)), at.handTiming().timing);
    const loop = async () => {
      for await (const _event of events) throw left;
    };
    await expect(loop()).rejects.toBe(left);
    await gone;
  });

  it.each([1, 2, 3])('by return does not wait for an event (before number %i)', async (before) => {
    const { answer, gone } = watched();
    const events = subscribe(at.optionsOf(await peer(answer)), at.handTiming().timing)[Symbol.asyncIterator]();
    for (let n = 1; n < before; n += 1) await events.next();
    const pending = events.next();
    if (before === 3) await new Promise(setImmediate);
    else await pending;
    expect(await events.return?.()).toEqual({ done: true, value: undefined });
    if (before === 3) expect(await pending).toEqual({ done: true, value: undefined });
    expect(await events.next()).toEqual({ done: true, value: undefined });
    await gone;
  });

  it('before it began asks for nothing', async () => {
    const server = await peer(hangs);
    const events = subscribe(at.optionsOf(server), at.handTiming().timing)[Symbol.asyncIterator]();
    await events.return?.();
    expect(await events.next()).toEqual({ done: true, value: undefined });
    expect(server.received).toEqual([]);
  });

  it('leaves nothing on a signal that goes on', async () => {
    const { signal } = new AbortController();
    const { answer } = watched();
    const server = await peer(breaks, at.ended(), answer);
    await at.take(subscribe(at.optionsOf(server, { signal }), at.handTiming().timing), 2);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('is not brought about by a silence that may last for ever', async () => {
    const states: string[] = [];
    const { answer, gone } = watched();
    const options = at.optionsOf(await peer(answer), { silenceMs: Infinity, onState: ({ state }) => void states.push(state) });
    const events = subscribe(options)[Symbol.asyncIterator]();
    for (let n = 0; n < 2; n += 1) await events.next();
    const pending = events.next();
    for (let turns = 0; turns < 50; turns += 1) await new Promise(setImmediate);
    expect(states).toEqual(['open']);
    await events.return?.();
    await Promise.all([pending, gone]);
  });

  it('leaves no timer of a silence behind', async () => {
    const { answer } = watched();
    const signals: AbortSignal[] = [];
    const sleep = (_ms: number, signal?: AbortSignal) => {
      if (signal) signals.push(signal);
      return new Promise<void>(() => {});
    };
    await at.take(subscribe(at.optionsOf(await peer(answer)), { random: () => 0, sleep }), 1);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });
});

describe('a signal', () => {
  it('that is aborted already asks for nothing', async () => {
    const server = await peer(hangs);
    const events = subscribe(at.optionsOf(server, { signal: AbortSignal.abort(left) }), at.handTiming().timing);
    await expect(at.take(events, 1)).rejects.toBe(left);
    expect(server.received).toEqual([]);
  });

  it('ends the wait for a token', async () => {
    const controller = new AbortController();
    const token = () => {
      controller.abort(left);
      return new Promise<string>(() => {});
    };
    const options = at.optionsOf({ url: 'http://peer' }, { signal: controller.signal, token });
    await expect(at.take(subscribe(options, at.handTiming().timing), 1)).rejects.toBe(left);
  });

  it('ends the wait for an answer, and closes the connection', async () => {
    const controller = new AbortController();
    const gone = at.countdown();
    const server = await peer((response) => {
      response.on('close', gone.hit);
      controller.abort(left);
    });
    const events = subscribe(at.optionsOf(server, { signal: controller.signal }), at.handTiming().timing);
    await expect(at.take(events, 1)).rejects.toBe(left);
    await gone.done;
  });

  it('is not taken for a failure, whatever its reason is', async () => {
    const controller = new AbortController();
    const reason = new ConnectionError('another call failed');
    const states: unknown[] = [];
    const more = { signal: controller.signal, onState: (state: unknown) => void states.push(state) };
    const events = subscribe(at.optionsOf(await peer(() => controller.abort(reason)), more), at.handTiming().timing);
    await expect(at.take(events, 1)).rejects.toBe(reason);
    expect(states).toEqual([]);
  });

  it('ends the wait for an event, and closes the connection', async () => {
    const controller = new AbortController();
    const { answer, gone } = watched();
    const { timing } = at.handTiming();
    let reads = 0;
    const sleep: typeof timing.sleep = (ms, signal) => {
      // The first read brings both events, so this one finds nothing.
      if ((reads += 1) === 2) setImmediate(() => controller.abort(left));
      return timing.sleep(ms, signal);
    };
    const events = subscribe(at.optionsOf(await peer(answer), { signal: controller.signal }), { ...timing, sleep });
    await expect(at.take(events, 3)).rejects.toBe(left);
    await gone;
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  it('closes the connection while the loop is busy, and shows in its next turn', async () => {
    const controller = new AbortController();
    const { answer, gone } = watched();
    const seen: string[] = [];
    const loop = async () => {
      const events = subscribe(at.optionsOf(await peer(answer), { signal: controller.signal }), at.handTiming().timing);
      for await (const event of events) {
        seen.push(event.id);
        controller.abort(left);
        await gone;
      }
    };
    await expect(loop()).rejects.toBe(left);
    expect(seen).toEqual(['e1']);
  });

  it('ends the wait before the next attempt', async () => {
    const controller = new AbortController();
    const sleep = (_ms: number, signal?: AbortSignal) => {
      setImmediate(() => controller.abort(left));
      return new Promise<void>((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    };
    const server = await peer(breaks);
    const events = subscribe(at.optionsOf(server, { signal: controller.signal }), { random: () => 0, sleep });
    await expect(at.take(events, 1)).rejects.toBe(left);
    expect(server.received).toHaveLength(1);
  });

  it('that is aborted while the wait is told ends it', async () => {
    const controller = new AbortController();
    const onState = ({ state }: StreamState) => void (state === 'waiting' && controller.abort(left));
    const server = await peer(at.ended('retry: 60000\n\n'));
    await expect(at.take(subscribe(at.optionsOf(server, { signal: controller.signal, onState })), 1)).rejects.toBe(left);
  });

  it('ends watchSession', async () => {
    const controller = new AbortController();
    const gone = at.countdown();
    const server = await peer((response) => {
      response.on('close', gone.hit);
      // Not a byte comes that could wake a reader.
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    });
    const onState = () => controller.abort(left);
    const options = { ...at.optionsOf(server, { signal: controller.signal, onState }), sessionId: 's' };
    await expect(watchSession(options, at.handTiming().timing)).rejects.toBe(left);
    await gone.done;
  });
});
