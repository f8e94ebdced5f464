// When a stream is opened again, after how long, and what is final.
import { describe, expect, it } from 'vitest';
import { type StreamState, subscribe, type SubscribeOptions, watchSession } from '../../client/events.ts';
import { RollcallError } from '../../client/problem.ts';
import * as at from './client-events-peer.ts';
import * as peers from './client-peer.ts';

const { problem, page } = peers;
const ONE = at.ended(at.revoked(1));
const busy = (after: string) => problem(429, 'rate-limited', {}, { 'retry-after': after });

/** Reads so many events of a scripted peer. */
async function read(script: Parameters<typeof peers.peer>, { count = 1, ...more }: Partial<SubscribeOptions> & { count?: number } = {}) {
  const server = await peers.peer(...script);
  const { timing, waits } = at.handTiming();
  const states: StreamState[] = [];
  const options = at.optionsOf(server, { onState: (state) => void states.push(state), ...more });
  let error: unknown;
  const events = await at.take(subscribe(options, timing), count).catch((reason: unknown) => void (error = reason));
  const sent = (header: string) => server.received.map(({ headers }) => headers[header]);
  return { events, error, waits, states, sent };
}

describe('a stream that ends', () => {
  it('is opened again after the last event', async () => {
    const { sent, events } = await read([ONE, at.ended(at.revoked(2) + at.revoked(3)), at.ended(at.revoked(4))], { count: 4 });
    expect(sent('last-event-id')).toEqual([undefined, 'e1', 'e3']);
    expect(events).toHaveLength(4);
  });

  it.each([
    ['as soon as the server said', 'retry: 2500\n\n', 2_500],
    ['at random within a second when it said nothing', '', 500],
    ['not at once, whatever it said', 'retry: 0\n\n', 100],
    ['within a minute, whatever it said', 'retry: 99999999999\n\n', 60_000],
    ['as before when what it said makes no sense', 'retry: soon\n\n', 500],
  ])('is opened again %s', async (_name, text, wait) => {
    expect((await read([at.ended(text), ONE])).waits).toEqual([wait]);
  });

  it.each(['token_expired', 'server_shutdown'])('with %s is opened again, and nothing is wrong', async (name) => {
    // The server does not even close it.
    const { events, states } = await read([at.stream(`retry: 2000\nevent: ${name}\ndata: {}\n\n`), ONE]);
    expect(events).toMatchObject([{ id: 'e1' }]);
    expect(states).toEqual([{ state: 'waiting', retryInMs: 2_000 }, { state: 'open' }]);
  });

  it('by breaking off is opened again, and the error is told', async () => {
    const breaks: typeof ONE = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('retry: 4000\n\n', () => response.socket?.resetAndDestroy());
    };
    const { states } = await read([breaks, ONE]);
    expect(states[0]).toMatchObject({ state: 'waiting', retryInMs: 4_000, error: { name: 'ConnectionError' } });
  });

  it('is open from its first position on, and not before', async () => {
    const { states } = await read([at.ended(at.revoked(1) + at.revoked(2)), at.ended('retry: 7\n:\n\n'), ONE], { count: 3 });
    expect(states.map(({ state }) => state)).toEqual(['open', 'waiting', 'waiting', 'open']);
  });
});

describe('a stream that is silent', () => {
  it('is closed after three keep-alives, and opened again after the last event', async () => {
    const gone = at.countdown();
    const server = await peers.peer((response) => {
      at.stream(at.revoked(1))(response);
      response.on('close', gone.hit);
    }, at.ended(at.revoked(2)));
    const { timing, silences } = at.handTiming();
    const states: StreamState[] = [];
    const events = subscribe(at.optionsOf(server, { onState: (state) => void states.push(state) }), timing)[Symbol.asyncIterator]();
    expect(await events.next()).toMatchObject({ value: { id: 'e1' } });
    const second = events.next();
    await new Promise(setImmediate);
    silences.at(-1)?.();
    expect(await second).toMatchObject({ value: { id: 'e2' } });
    await gone.done;
    expect(server.received[1]?.headers['last-event-id']).toBe('e1');
    expect(states[1]).toMatchObject({ state: 'waiting', error: { message: 'The stream was silent for 45000 ms.' } });
  });

  it('is not while bytes arrive, even if they say nothing', async () => {
    const chunks = [':\n\n', ':\n\n', at.revoked(1)].map((text) => new TextEncoder().encode(text));
    const { timing, silences } = at.handTiming();
    await at.take(subscribe(at.optionsOf({ url: 'http://peer' }, { fetch: at.inChunks(...chunks).fetch }), timing), 1);
    expect(silences).toHaveLength(3);
  });
});

describe('a failure', () => {
  it.each([
    ['a broken connection', peers.breaks],
    ['a 500', problem(500, 'internal-error')],
    ['a 502 of a proxy', page(502, '<html>Bad gateway</html>')],
    ['a 503', peers.unavailable],
    ['a 408', page(408, '')],
    ['no answer in time', peers.hangs],
  ])('such as %s is tried again', async (_name, failure) => {
    const { events, waits, states } = await read([failure, ONE], { timeoutMs: 200 });
    expect(events).toHaveLength(1);
    expect(waits).toEqual([100]);
    expect(states[0]).toMatchObject({ state: 'waiting', retryInMs: 100, error: expect.any(RollcallError) });
  });

  it('is followed by growing waits, until a stream opens', async () => {
    const down = Array(7).fill(peers.unavailable);
    const { waits } = await read([...down, at.ended('retry: 1500\n\n'), peers.unavailable, ONE]);
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 2_500, 2_500, 1_500, 100]);
  });

  it('that says how long to wait is obeyed, and a little more; a minute is enough', async () => {
    expect((await read([busy('2'), busy('3600'), ONE])).waits).toEqual([2_350, 62_500]);
  });
});

describe('a refusal', () => {
  it.each([400, 401, 403, 404, 410])('with %i is final', async (status) => {
    const { error, waits } = await read([problem(status, 'some-code'), ONE], { token: () => 'secret' });
    expect(error).toMatchObject({ name: 'ProblemError', status, code: 'some-code' });
    expect(waits).toEqual([]);
  });

  it.each([
    ['a redirect', page(302, '', { location: '/elsewhere' })],
    ['a page', page(200, '<html>Welcome to the hotel</html>')],
    ['nothing', page(204, '', { 'content-type': 'text/event-stream' })],
  ])('is also final when it is %s', async (_name, answer) => {
    const { error, waits } = await read([answer, ONE]);
    expect(error).toMatchObject({ name: 'ResponseError' });
    expect(waits).toEqual([]);
  });

  it('ends the subscription after the events before it', async () => {
    const { error, sent } = await read([ONE, problem(404, 'not-found'), ONE], { count: 2 });
    expect(error).toMatchObject({ status: 404 });
    expect(sent('last-event-id')).toEqual([undefined, 'e1']);
  });
});

describe('the token', () => {
  const unauthorized = problem(401, 'unauthorized');
  const expired = at.ended('event: token_expired\ndata: {}\n\n');
  const numbered = () => {
    let count = 0;
    return async () => `token-${(count += 1)}`;
  };

  it('is asked for before every attempt', async () => {
    const { sent } = await read([peers.unavailable, expired, ONE], { token: numbered() });
    expect(sent('authorization')).toEqual(['Bearer token-1', 'Bearer token-2', 'Bearer token-3']);
  });

  it('that is refused after it was good gets one more attempt', async () => {
    const { events, sent } = await read([expired, unauthorized, ONE], { token: numbered() });
    expect(events).toHaveLength(1);
    expect(sent('authorization')).toEqual(['Bearer token-1', 'Bearer token-2', 'Bearer token-3']);
  });

  it('that is refused twice is final', async () => {
    const { error, sent } = await read([expired, unauthorized, unauthorized, ONE], { token: numbered() });
    expect(error).toMatchObject({ status: 401 });
    expect(sent('authorization')).toHaveLength(3);
  });

  it('is not tried again when it is always the same', async () => {
    const { error, sent } = await read([expired, unauthorized, ONE]);
    expect(error).toMatchObject({ status: 401 });
    expect(sent('authorization')).toHaveLength(2);
  });

  it('that cannot be had is final', async () => {
    const { error } = await read([ONE], { token: () => Promise.reject(new Error('logged out')) });
    expect(error).toMatchObject({ message: 'The token function failed.', cause: { message: 'logged out' } });
  });
});

describe('watchSession', () => {
  const END = { sessionId: peers.ID, reason: 'revoked', detail: 'Authenticate again and create a new session.' };
  const end = at.stream(`event: greeting\ndata: hello\n\nretry: 8000\nevent: disconnect\ndata: ${JSON.stringify(END)}\n\n`);
  const watch = async (...script: Parameters<typeof peers.peer>) => {
    const server = await peers.peer(...script);
    const states: string[] = [];
    const options = { ...at.optionsOf(server), sessionId: peers.ID, onState: ({ state }: StreamState) => void states.push(state) };
    const result = await watchSession(options, at.handTiming().timing).catch((error: unknown) => error);
    return { result, states, received: server.received };
  };

  it('resolves with the end of the session, and when to come back', async () => {
    const { result, received } = await watch(end);
    expect(result).toEqual({ ...END, retryAfterMs: 8_000 });
    expect(received[0]?.url).toBe(`/api/v1/applications/${peers.APP}/sessions/${peers.ID}/events`);
  });

  it('opens the stream again for as long as the session lives', async () => {
    const { result, states, received } = await watch(at.ended('event: token_expired\ndata: {}\n\n'), peers.unavailable, at.ended(), end);
    expect(result).toMatchObject({ reason: 'revoked' });
    expect(states).toEqual(['open', 'waiting', 'waiting', 'open', 'waiting', 'open']);
    expect(received.map(({ headers }) => headers['last-event-id'])).toEqual(Array(4).fill(undefined));
  });

  it('rejects when there is no such session', async () => {
    expect((await watch(problem(404, 'not-found'))).result).toMatchObject({ name: 'ProblemError', code: 'not-found' });
  });

  it('does not go by the path of another', async () => {
    await expect(watchSession({ ...at.optionsOf({ url: 'http://peer' }), sessionId: '..' })).rejects.toThrow('is not an id');
  });
});
