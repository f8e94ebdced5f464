// What the client sends: ids, filters, headers, pages, and what it refuses to send.
import { describe, expect, it } from 'vitest';
import type { Client } from '../../client/client.ts';
import { RollcallError } from '../../client/problem.ts';
import type { RevokeFilters } from '../../client/types.ts';
import * as at from './client-peer.ts';

const { APP, ID } = at;
const LIST = `/api/v1/applications/${APP}/sessions`;
const none = at.json(200, { items: [] });

describe('filters', () => {
  const sent = async (call: (client: Client) => Promise<unknown>) => {
    const peer = await at.peer(none);
    await call(at.clientOf(peer).client);
    return peer.received[0]?.url;
  };

  it('go into the query, lists with commas, and the options of the call do not', async () => {
    const { signal } = new AbortController();
    const filters = { derivedStatus: ['idle', 'expired'] as ['idle', 'expired'], userId: 'a&b=c d', clientName: undefined };
    expect(await sent((client) => client.sessions.page(APP, { ...filters, limit: 5, signal, retries: 1, timeoutMs: 900 }))).toBe(
      `${LIST}?derivedStatus=idle,expired&userId=a%26b%3Dc%20d&limit=5`,
    );
  });

  it('that are empty or unknown reach the server, which refuses them', async () => {
    const untyped = JSON.parse('null');
    expect(await sent((client) => client.sessions.revokeAll(APP, { derivedStatus: [] }))).toBe(`${LIST}?derivedStatus=`);
    expect(await sent((client) => client.sessions.page(APP, { userId: untyped }))).toBe(`${LIST}?userId=`);
    // Untyped callers misspell; dropped, the filter would revoke everything.
    const misspelt = { clientname: 'cursor' } as RevokeFilters;
    expect(await sent((client) => client.sessions.revokeAll(APP, misspelt))).toBe(`${LIST}?clientname=cursor`);
  });

  it.each([
    ['userId', undefined],
    ['derivedStatus', undefined],
    ['hostname', null],
    ['maxCount', undefined],
    ['dryRun', undefined],
  ])('never widen a revoke: %s as %s is refused', async (name, value) => {
    const peer = await at.peer(none);
    const { client } = at.clientOf(peer);
    await expect(client.sessions.revokeAll(APP, { [name]: value })).rejects.toThrow(`The option ${name} is ${value}.`);
    expect(peer.received).toEqual([]);
  });

  it('go along with what bounds a revoke', async () => {
    const options = { hostname: 'build-07', dryRun: true, maxCount: 5, signal: undefined };
    const url = `${LIST}?hostname=build-07&dryRun=true&maxCount=5`;
    expect(await sent((client) => client.sessions.revokeAll(APP, options))).toBe(url);
  });
});

describe('ids', () => {
  it('are encoded', async () => {
    const peer = await at.peer(at.json(200, { success: true }));
    await at.clientOf(peer).client.credentials.allow(APP, 'grant/1?x=%2e#{a}');
    expect(peer.received[0]?.url).toBe(`/api/v1/applications/${APP}/revoked-credentials/grant%2F1%3Fx%3D%252e%23%7Ba%7D`);
  });

  // Each of these would be the URL of another call: "revoke all sessions", or "delete the application".
  it.each(['', '.', '..', undefined])('of %j are refused before anything is sent', async (id) => {
    const peer = await at.peer(at.ok, at.ok);
    const { client } = at.clientOf(peer);
    // What an untyped caller passes when a lookup found nothing.
    const lookedUp = id as string;
    await expect(client.sessions.revoke(APP, lookedUp)).rejects.toThrow('sessionId must be an id');
    await expect(client.credentials.allow(APP, lookedUp)).rejects.toThrow(RollcallError);
    await expect(client.applications.delete(lookedUp)).rejects.toThrow('applicationId must be an id');
    expect(peer.received).toEqual([]);
  });
});

describe('a request', () => {
  it('carries the token, without the line break that a file brings along, and the headers of the client', async () => {
    const peer = await at.peer(at.ok);
    const headers = { 'X-Request-Id': 'mine', authorization: 'Bearer other' };
    await at.clientOf(peer, { token: 'secret\n', headers }).client.sessions.get(APP, ID);
    expect(peer.received[0]?.headers).toMatchObject({ authorization: 'Bearer secret', 'x-request-id': 'mine' });
  });

  it('does not follow a redirect, so no method changes on the way', async () => {
    const peer = await at.peer(at.page(301, '', { location: '/elsewhere' }), at.ok);
    await expect(at.clientOf(peer).client.sessions.create(APP)).rejects.toMatchObject({ status: 301 });
    expect(peer.received).toHaveLength(1);
  });

  it('goes through the fetch it was given, which is called as a plain function', async () => {
    const self: unknown[] = [];
    const fetch = async function (this: unknown, url: string, init: RequestInit) {
      self.push(this);
      expect([url, init.method]).toEqual([`http://rollcall.test${LIST}/${ID}`, 'GET']);
      return Response.json(at.SESSION);
    };
    await at.clientOf({ url: 'http://rollcall.test/' }, { fetch }).client.sessions.get(APP, ID);
    expect(self).toEqual([undefined]);
  });
});

describe('a list', () => {
  const item = (id: number) => ({ id: `session-${id}` });
  const pages = [
    at.json(200, { items: [item(1), item(2)], nextCursor: 'two' }),
    at.json(200, { items: [], nextCursor: 'three' }),
    at.json(200, { items: [item(3)] }),
  ];
  const ids = async (list: AsyncIterable<{ id: string }>, enough = Infinity) => {
    const seen: string[] = [];
    for await (const { id } of list) if (seen.push(id) >= enough) break;
    return seen;
  };

  it('walks all pages with the same filters, empty ones too, until there is no cursor', async () => {
    const peer = await at.peer(...pages);
    const { client } = at.clientOf(peer);
    expect(await ids(client.sessions.list(APP, { hostname: 'h', limit: 2 }))).toEqual(['session-1', 'session-2', 'session-3']);
    expect(peer.received.map((request) => request.url)).toEqual([
      `${LIST}?hostname=h&limit=2`,
      `${LIST}?hostname=h&limit=2&cursor=two`,
      `${LIST}?hostname=h&limit=2&cursor=three`,
    ]);
  });

  it('asks for nothing before the loop begins, and for no more once it is left', async () => {
    const peer = await at.peer(...pages);
    const list = at.clientOf(peer).client.sessions.list(APP);
    expect(peer.received).toHaveLength(0);
    expect(await ids(list, 2)).toEqual(['session-1', 'session-2']);
    expect(peer.received).toHaveLength(1);
  });

  it('starts again at the newest with every loop', async () => {
    const peer = await at.peer(...pages, none);
    const list = at.clientOf(peer).client.sessions.list(APP);
    expect(await ids(list)).toHaveLength(3);
    expect(await ids(list)).toEqual([]);
    expect(peer.received[3]?.url).toBe(LIST);
  });

  it('repeats a page that failed, and loses nothing', async () => {
    const [first, second, third] = pages as [typeof none, typeof none, typeof none];
    const peer = await at.peer(first, at.unavailable, second, at.breaks, third);
    expect(await ids(at.clientOf(peer).client.sessions.list(APP))).toEqual(['session-1', 'session-2', 'session-3']);
  });

  it('stops between pages when the caller aborts', async () => {
    const peer = await at.peer(...pages);
    const controller = new AbortController();
    const reason = new Error('the user left');
    const list = at.clientOf(peer).client.sessions.list(APP, { signal: controller.signal });
    const walk = async () => {
      for await (const _session of list) controller.abort(reason);
    };
    await expect(walk()).rejects.toBe(reason);
    expect(peer.received).toHaveLength(1);
  });

  it('refuses to walk in circles', async () => {
    const same = at.json(200, { items: [item(1)], nextCursor: 'same' });
    const peer = await at.peer(same, same, same);
    await expect(ids(at.clientOf(peer).client.sessions.list(APP))).rejects.toThrow('does not advance');
    expect(peer.received).toHaveLength(2);
  });
});
