// The fake service answers as the real one does: the same calls to both, with the same answers and the same events.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFakeRollcall } from '../../client/testing.ts';
import { startTestService, type TestService } from '../support/service.ts';

type Ask = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>;
interface Side { ask: Ask; applicationId: string; /** Lets so many ms pass. */ pass(ms: number): Promise<void> }

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const MOMENT = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;
const LATER = '2099-01-01T00:00:00.000Z';

/** One conversation with a service, as lines in which ids and moments are told apart only by when they first came. */
async function converse({ ask, applicationId, pass }: Side): Promise<string[]> {
  const lines: string[] = [], ids = new Map<string, string>();
  const plain = (text: string) => text.replaceAll(applicationId, 'APP').replace(UUID, (id) => ids.get(id) ?? ids.set(id, `ID${ids.size + 1}`).get(id)!)
    .replace(MOMENT, (moment) => moment === LATER ? 'LATER' : 'NOW').replace(/"requestId":"[^"]+"/, '"requestId":"-"').replaceAll(/"organizationId":"[^"]+"/g, '"organizationId":"-"');
  const say = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const answer = await ask(method, path, body, headers), text = await answer.text();
    const { errors: _, detail: __, ...content } = JSON.parse(text); // how a mistake is worded may differ
    lines.push(plain(`${method} ${path} -> ${answer.status} ${answer.headers.get('content-type')} ${JSON.stringify(sorted(content))}`));
    return content;
  };
  const events = await ask('GET', '/events');
  const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader(); // a stream has one
  let heard = '';
  const hear = async (until: string) => { while (!heard.includes(until)) heard += (await reader.read()).value ?? ''; };
  await hear('\ndata');

  const { session: first, generation } = await say('POST', '/sessions', { externalId: 'one', hostname: 'build-07', userId: 'ada', credentialId: 'grant', tokenExpiresAt: LATER, clientInfo: { name: 'cursor', title: 'Cursor', version: '1' } });
  expect(generation).toBe(1);
  await say('POST', '/sessions', { externalId: 'one', userId: 'ada', tokenExpiresAt: LATER });
  const { session: second } = await say('POST', '/sessions', {});
  await say('GET', '/sessions');
  await say('GET', `/sessions/${first.id}`);
  await say('GET', '/sessions?userId=ada');
  await say('GET', '/sessions?clientName=cursor&limit=1');
  await say('GET', '/sessions?status=inactive');
  await say('POST', '/heartbeats', { heartbeats: [{ sessionId: first.id, lastActiveAt: LATER }, { sessionId: second.id }, { sessionId: crypto.randomUUID() }] });
  await say('POST', `/sessions/${second.id}/end`);
  await say('POST', `/sessions/${second.id}/end`);
  await say('DELETE', '/sessions?dryRun=true');
  await say('DELETE', '/sessions?userId=nobody');
  await say('DELETE', '/sessions?maxCount=0');
  await say('DELETE', `/sessions/${first.id}`);
  await say('DELETE', `/sessions/${first.id}`);
  await say('POST', '/heartbeats', { heartbeats: [{ sessionId: first.id }, { sessionId: second.id }] });
  await say('GET', '/revoked-credentials');
  await say('POST', '/sessions', { credentialId: 'grant', externalId: 'one' });
  await say('DELETE', '/revoked-credentials/grant');
  await say('DELETE', '/revoked-credentials/grant');
  await say('POST', '/sessions', { credentialId: 'grant', externalId: 'one', name: 'again' });
  await say('DELETE', '/sessions?clientName=cursor');
  await say('DELETE', '/sessions');
  await say('DELETE', '/sessions');
  const { session: lost } = await say('POST', '/sessions', {});
  for (const userId of ['eve', 'eve']) await say('POST', '/sessions', { userId, credentialId: 'asleep', tokenExpiresAt: LATER });
  await say('POST', '/sessions', { userId: 'frank' });
  await pass(10_000); // a lease and some, and longer than it takes to be idle
  await say('GET', '/sessions?userId=eve&status=inactive');
  await say('DELETE', `/sessions/${lost.id}`);
  await say('POST', '/sessions', { userId: 'eve' });
  await say('DELETE', '/sessions?userId=eve');
  await say('DELETE', '/sessions?userId=frank&derivedStatus=active');
  await say('GET', '/revoked-credentials');
  await say('GET', '/sessions?userId=eve&status=all');
  await say('POST', '/sessions', { name: 'of the next generation' });
  await say('GET', '/sessions?includeInactive=true');
  await say('GET', '/sessions/00000000-0000-7000-8000-000000000000');
  await say('POST', '/sessions', { nonsense: 1 });
  await say('GET', '/sessions?nonsense=1');
  await say('POST', '/heartbeats', { heartbeats: [] });
  await say('GET', '/sessions', undefined, { authorization: 'nonsense' });
  await hear('of the next generation');
  await reader.cancel();

  // Without comments and positions; from the first on, somebody who comes back gets the rest.
  const told = [...heard.matchAll(/^(?:id: (.+)\n)?event: (.+)\ndata: (.+)$/gm)].map(([, id, event, data = '']) => ({ id, line: plain(`${event} ${JSON.stringify(sorted(JSON.parse(data)))}`) }));
  const again = await ask('GET', '/events', undefined, { 'last-event-id': told[0]!.id! }); // there are some, and each has an id
  const rest = again.body!.pipeThrough(new TextDecoderStream()).getReader();
  let reread = '';
  while (!reread.includes('of the next generation')) reread += (await rest.read()).value ?? '';
  await rest.cancel();
  const stale = (await ask('GET', '/events', undefined, { 'last-event-id': 'not-one-of-yours' })).body!.pipeThrough(new TextDecoderStream()).getReader();
  let afresh = '';
  while (!afresh.includes('event:')) afresh += (await stale.read()).value ?? '';
  await stale.cancel();
  return [...lines, ...told.map(({ line }) => line), ...[...reread.matchAll(/^event: (.+)$/gm)].map(([, event]) => `then ${event}`), /event: (.+)/.exec(afresh)![1]!];
}

/** With the keys of every object in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, of]) => [key, sorted(of)]));
}

describe('the fake service', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService({ env: { LEASE: '5s', IDLE_AFTER: '8s' } }); });
  afterAll(() => test.close());

  const side = (applicationId: string, baseUrl: string, token: string, fetch: typeof globalThis.fetch, pass: Side['pass'] = async () => {}): Side => ({
    applicationId, pass,
    ask: (method, path, body, headers) => fetch(`${baseUrl}/api/v1/applications/${applicationId}${path}`, {
      method, headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }), ...headers }, ...(body !== undefined && { body: JSON.stringify(body) }),
    }),
  });

  it('says what the real one says', async () => {
    const { service, advance } = createFakeRollcall({ leaseMs: 5_000, idleAfterMs: 8_000 });
    const pass = async (ms: number) => {
      for (let left = ms; left > 0; left -= 1_000) { // a service that does nothing for longer takes nobody for lost
        test.clock.advance(1_000);
        await test.service.store.maintain();
      }
    };
    const real = await converse(side(await test.application(), test.url, await test.token(), fetch, pass));
    expect(real.length).toBeGreaterThan(40);
    expect(await converse(side(service.applicationId, service.baseUrl, service.token, service.fetch, async (ms) => advance(ms)))).toEqual(real);
  });

  it('lets time pass when it is told to', async () => {
    const rollcall = createFakeRollcall({ idleAfterMs: 60_000, leaseMs: 90_000 }), { ask } = side(rollcall.service.applicationId, rollcall.service.baseUrl, 'any', rollcall.fetch);
    const { session } = await (await ask('POST', '/sessions', { tokenExpiresAt: new Date(Date.now() + 80_000).toISOString() })).json();
    const status = () => rollcall.sessions().map(({ derivedStatus, disconnectReason }) => disconnectReason ?? derivedStatus);
    const seen = [status()];
    for (const ms of [61_000, 20_000, 10_000]) {
      rollcall.advance(ms);
      seen.push(status());
    }
    expect(seen).toEqual([['active'], ['idle'], ['expired'], ['lost']]);
    expect(await (await ask('POST', '/heartbeats', { heartbeats: [{ sessionId: session.id }] })).json()).toEqual({ accepted: 1, ended: [] });
    expect(rollcall.sessions()).toMatchObject([{ id: session.id, status: 'active' }]); // back, as the same
    rollcall.advance(91_000);
    expect(rollcall.revoke(session.id)).toBe(false); // it was not connected, but does not sleep through it
    expect(status()).toEqual(['revoked']);
  });

  it('refuses what it does not have, and what would be wider than meant', async () => {
    const rollcall = createFakeRollcall(), { ask } = side(rollcall.service.applicationId, rollcall.service.baseUrl, 'any', rollcall.fetch);
    expect((await ask('GET', '/session-counts')).status).toBe(501);
    expect(() => rollcall.revokeAll({ userId: undefined })).toThrow('undefined');
  });
});
