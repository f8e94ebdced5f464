// The shortest walk through everything: make an application, connect, list, beat, revoke, and be refused.
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
