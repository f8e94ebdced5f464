// The shortest walk through everything: make an application, connect, list, beat, revoke, be refused; and the way out.
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestService, type TestService } from '../support/service.ts';

describe('a session from connect to revoke', () => {
  let test: TestService;
  beforeAll(async () => { test = await startTestService(); });
  afterAll(() => test.close());

  it('is seen while it is connected, and refused after it was thrown out', async () => {
    const app = `/applications/${await test.application()}`;
    const created = await test.call('POST', `${app}/sessions`, { body: { clientInfo: { name: 'claude-code', title: 'Claude Code' }, hostname: 'build-07', credentialId: 'grant-1' } });
    expect(created.status).toBe(201);
    expect(created.body.session).toMatchObject({ name: 'Claude Code on build-07', status: 'active', derivedStatus: 'active' });
    const { id } = created.body.session;

    expect((await test.call('GET', `${app}/sessions`)).body.items).toEqual([created.body.session]);
    expect((await test.call('POST', `${app}/heartbeats`, { body: { heartbeats: [{ sessionId: id }] } })).body).toEqual({ accepted: 1, ended: [] });

    expect((await test.call('DELETE', `${app}/sessions`)).body).toEqual({ success: true, disconnectedCount: 1 });
    expect((await test.call('GET', `${app}/sessions`)).body).toEqual({ items: [] });
    expect((await test.call('GET', `${app}/sessions/${id}`)).body.session).toMatchObject({ status: 'disconnected', disconnectReason: 'revoked' });
    expect((await test.call('POST', `${app}/heartbeats`, { body: { heartbeats: [{ sessionId: id }] } })).body).toEqual({ accepted: 0, ended: [{ sessionId: id, reason: 'revoked' }] });
    expect((await test.call('POST', `${app}/sessions`, { body: { credentialId: 'grant-1' } })).body.type).toBe('/docs/errors#credential-revoked');
  });

  it('answers everything that is wrong with a request at once', async () => {
    const { status, body } = await test.call('GET', `/applications/${await test.application()}/sessions?limit=0&nonsense=1&userId=`);
    expect(status).toBe(400);
    expect(body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()).toEqual(['/query/limit', '/query/nonsense', '/query/userId']);
  });
});

describe('shutting down', () => {
  it('answers the request in hand, and is gone as soon as it has', async () => {
    const test = await startTestService();
    const app = await test.application();
    const body = JSON.stringify({ name: 'in hand' });
    const sent = request(`${test.url}/api/v1/applications/${app}/sessions`, {
      method: 'POST', agent: new Agent({ keepAlive: true }),
      headers: { authorization: `Bearer ${await test.token()}`, 'content-type': 'application/json', 'content-length': body.length, expect: '100-continue' },
    });
    sent.flushHeaders();
    await once(sent, 'continue'); // the server has it
    const started = performance.now();
    const closing = test.close();
    sent.end(body);
    const [response] = await once(sent, 'response');
    response.resume();
    await closing;
    expect(response.statusCode).toBe(201);
    expect(performance.now() - started).toBeLessThan(3_000); // not the ten seconds that an idle connection is kept
  });
});
