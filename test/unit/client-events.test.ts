// What the client makes of the bytes of an event stream, however they come.
import { describe, expect, it } from 'vitest';
import { type ApplicationEvent, subscribe } from '../../client/events.ts';
import * as at from './client-events-peer.ts';
import { peer } from './client-peer.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const idOf = (event: ApplicationEvent) => event.id;

describe('the bytes of a stream', () => {
  const TEXT = [
    '\uFEFFretry: 3000',
    ': only a comment',
    '',
    'id: e1',
    'event: session.updated',
    'data: {"session":',
    'data:{"id":"s1","name":"Zoë 🛶"}}',
    '',
    'id: e2',
    'event: sessions.revoked',
    'nonsense: of a later version',
    'data: {"revocationId":"r","generation":3,"count":172}',
    '',
    ': the end',
    '',
  ];
  const EVENTS = [
    { type: 'session.updated', id: 'e1', session: { id: 's1', name: 'Zoë 🛶' } },
    { type: 'sessions.revoked', id: 'e2', revocationId: 'r', generation: 3, count: 172 },
  ];
  const read = async (chunks: Uint8Array[]) => {
    const { timing } = at.handTiming();
    return at.take(subscribe(at.optionsOf({ url: 'http://peer' }, { fetch: at.inChunks(...chunks).fetch }), timing), 2);
  };

  it.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('may come apart anywhere, with %s at the end of a line', async (_name, end) => {
    const all = bytes(TEXT.join(end));
    for (let split = 0; split <= all.length; split += 1) {
      expect(await read([all.subarray(0, split), all.subarray(split)].filter((chunk) => chunk.length > 0))).toEqual(EVENTS);
    }
    expect(await read([...all].map((byte) => Uint8Array.of(byte)))).toEqual(EVENTS);
  });

  it('are read no faster than events are asked for', async () => {
    const { fetch, asked } = at.inChunks(...[1, 2, 3, 4, 5].map((n) => bytes(at.revoked(n))));
    for await (const event of subscribe(at.optionsOf({ url: 'http://peer' }, { fetch }), at.handTiming().timing)) {
      await new Promise(setImmediate);
      expect(asked()).toBe(Number(event.id.slice(1)));
      if (event.id === 'e3') break;
    }
  });
});

describe('an event', () => {
  it('of an unknown name is skipped, and its position counts', async () => {
    const script = [at.ended('id: e1\nevent: session.teleported\ndata: {}\n\n'), at.ended(at.revoked(2))];
    const server = await peer(...script);
    expect((await at.take(subscribe(at.optionsOf(server), at.handTiming().timing), 1)).map(idOf)).toEqual(['e2']);
    expect(server.received.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, 'e1']);
  });

  it.each(['toString', '__proto__', 'hasOwnProperty'])('called %s is unknown as well', async (name) => {
    const server = await peer(at.ended(`id: e1\nevent: ${name}\ndata: {}\n\n${at.revoked(2)}`));
    expect((await at.take(subscribe(at.optionsOf(server), at.handTiming().timing), 1)).map(idOf)).toEqual(['e2']);
  });

  it('without data is none, and moves the position', async () => {
    const server = await peer(at.ended('id: e7\ndata:\n\n'), at.ended(at.revoked(8)));
    expect((await at.take(subscribe(at.optionsOf(server), at.handTiming().timing), 1)).map(idOf)).toEqual(['e8']);
    expect(server.received[1]?.headers['last-event-id']).toBe('e7');
  });

  it('without an id is at the position of the one before', async () => {
    const server = await peer(at.ended(`${at.revoked(1)}event: reset\ndata: {}\n\n`));
    const events = await at.take(subscribe(at.optionsOf(server), at.handTiming().timing), 2);
    expect(events.map((event) => [event.type, event.id])).toEqual([['sessions.revoked', 'e1'], ['reset', 'e1']]);
  });

  it('may be large', async () => {
    const name = 'x'.repeat(500_000);
    const server = await peer(at.ended(`id: e1\nevent: session.updated\ndata: {"session":{"name":"${name}"}}\n\n`));
    expect(await at.take(subscribe(at.optionsOf(server), at.handTiming().timing), 1)).toMatchObject([{ session: { name } }]);
  });

  it.each([
    ['is not JSON', 'id: e2\nevent: sessions.revoked\ndata: {"generation":\n\n'],
    ['is no object', 'id: e2\nevent: sessions.revoked\ndata: null\n\n'],
    ['has no end', `id: e2\nevent: sessions.revoked\ndata: ${'x'.repeat(1_100_000)}`],
  ])('that %s breaks the stream off: it is asked for again, and what came before is not', async (_name, damaged) => {
    const server = await peer(at.stream(at.revoked(1) + damaged), at.ended(at.revoked(2)));
    const { timing, states } = at.handTiming();
    const onState = (state: (typeof states)[number]) => void states.push(state);
    const events = await at.take(subscribe(at.optionsOf(server, { onState }), timing), 2);
    expect(events.map(idOf)).toEqual(['e1', 'e2']);
    expect(server.received[1]?.headers['last-event-id']).toBe('e1');
    expect(states[1]).toMatchObject({ state: 'waiting', error: { name: 'ConnectionError' } });
  });
});

describe('the request for a stream', () => {
  it('says what it wants, and where it left off', async () => {
    const server = await peer(at.ended(at.revoked(2)));
    const more = { lastEventId: 'e1', headers: { 'X-Request-Id': 'mine' }, baseUrl: `${server.url}/` };
    await at.take(subscribe(at.optionsOf(server, more), at.handTiming().timing), 1);
    expect(server.received[0]).toMatchObject({
      method: 'GET',
      url: '/api/v1/applications/7c9e6679-7425-40de-944b-e07fc1f90ae7/events',
      headers: { accept: 'text/event-stream', authorization: 'Bearer secret', 'last-event-id': 'e1', 'x-request-id': 'mine' },
    });
  });

  it.each(['', '.', '..'])('is not made for an application called %j', (applicationId) => {
    expect(() => subscribe({ ...at.optionsOf({ url: 'http://peer' }), applicationId })).toThrow('is not an id');
  });

  it('is one for each loop', async () => {
    const server = await peer(at.ended(at.revoked(1)), at.ended(at.revoked(1)));
    const events = subscribe(at.optionsOf(server, { lastEventId: 'e0' }), at.handTiming().timing);
    await at.take(events, 1);
    await at.take(events, 1);
    expect(server.received.map(({ headers }) => headers['last-event-id'])).toEqual(['e0', 'e0']);
  });
});
