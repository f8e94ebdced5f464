// Who may see and do what, through HTTP: organizations, tokens bound to one application, clients with `sessions:connect`, scopes; and the audit.
import { importJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { operations } from '../contract/contract.ts';
import { ORGANIZATION, startTestService, type Answer, type TestService } from '../support/service.ts';

const ABSENT = '0199ffff-ffff-7fff-8fff-ffffffffffff';

let test: TestService;
beforeAll(async () => { test = await startTestService({ validateResponses: false }); });
afterAll(() => test.close());

const connect = async (app: string, body?: object, token?: string) => (await test.call('POST', `/applications/${app}/sessions`, { body, token })).body.session;
const scopesOf = (id: string): string[][] => (operations.find((operation) => operation.id === id)?.spec.security ?? []).map((way) => Object.values(way).flat() as string[]);

/** Calls an operation of the contract by its name. */
function call(id: string, ids: Record<string, string>, options: Parameters<TestService['call']>[2] = {}): Promise<Answer> {
  const { method, path } = operations.find((operation) => operation.id === id)!; // the names are the contract's
  const target = path.replace('/api/v1', '').replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(ids[name] ?? ABSENT));
  const body = id === 'recordHeartbeats' ? { heartbeats: [{ sessionId: ids['sessionId'] ?? ABSENT }] } : undefined;
  return test.call(method.toUpperCase(), target, { body, ...options });
}

const under = operations.filter(({ path }) => path.includes('{applicationId}'));
const REQUEST_ID = { 'x-request-id': 'the.same' };
const whole = ({ status, headers, text }: Answer) => {
  const { date, ratelimit, ...rest } = Object.fromEntries(headers); // every call counts
  return { status, headers: rest, text };
};

describe('what belongs to another', () => {
  it.each(under)('$id answers it to the byte as what was never made', async ({ id }) => {
    const app = await test.application(), session = await connect(app, { credentialId: 'grant' });
    await test.call('DELETE', `/applications/${app}/sessions/${session.id}`);
    const live = await connect(app);
    const ids = { applicationId: app, sessionId: live.id, credentialId: 'grant' };
    const absent = { applicationId: ABSENT, sessionId: ABSENT, credentialId: 'grant' };
    const before = await test.call('GET', `/applications/${app}/sessions?status=all`), audit = await test.call('GET', `/applications/${app}/revocations`);

    const foreign = await test.token({ organizationId: 'org_other' });
    const bound = await test.token({ applicationId: await test.application() });
    for (const token of [foreign, bound]) {
      const [theirs, nowhere] = [await call(id, ids, { token, headers: REQUEST_ID }), await call(id, absent, { token, headers: REQUEST_ID })];
      expect(whole(theirs)).toEqual(whole(nowhere));
      expect(theirs.body).toEqual({ type: '/docs/errors#not-found', title: 'There is nothing here.', status: 404, requestId: 'the.same' });
    }
    expect((await test.call('GET', `/applications/${app}/sessions?status=all`)).body).toEqual(before.body);
    expect((await test.call('GET', `/applications/${app}/revocations`)).body).toEqual(audit.body);
  });

  it.each(under.filter(({ path }) => path.includes('{sessionId}')))('$id does not find a session under another application', async ({ id }) => {
    const [mine, other] = [await test.application(), await test.application()];
    const { id: sessionId } = await connect(mine);
    const [misplaced, nowhere] = [await call(id, { applicationId: other, sessionId }, { headers: REQUEST_ID }), await call(id, { applicationId: other }, { headers: REQUEST_ID })];
    expect(whole(misplaced)).toEqual(whole(nowhere));
    expect(misplaced.status).toBe(404);
    expect((await test.call('GET', `/applications/${mine}/sessions/${sessionId}`)).body.session.status).toBe('active');
  });

  it('recordHeartbeats calls the sessions of others unknown', async () => {
    const [mine, other] = [await test.application(), await test.application()];
    const { id } = await connect(mine);
    expect((await test.call('POST', `/applications/${other}/heartbeats`, { body: { heartbeats: [{ sessionId: id }] } })).body).toEqual({ accepted: 0, ended: [{ sessionId: id, reason: 'unknown' }] });
  });

  it('listApplications shows an organization its own', async () => {
    const token = await test.token({ organizationId: 'org_lists' });
    expect((await test.call('GET', '/applications', { token })).body).toEqual({ items: [] });
    const made = (await test.call('POST', '/applications', { token, body: { name: 'Só' } })).body.application;
    expect(made).toEqual({ id: expect.any(String), name: 'Só', organizationId: 'org_lists', createdAt: new Date(test.clock.now()).toISOString() });
    expect((await test.call('GET', '/applications', { token })).body).toEqual({ items: [made] });
  });
});

describe('a token bound to one application', () => {
  it('lists only that one, cannot make another, and works in its own', async () => {
    const app = await test.application();
    await test.application();
    const token = await test.token({ applicationId: app });
    expect((await test.call('GET', '/applications', { token })).body.items.map(({ id }: { id: string }) => id)).toEqual([app]);
    expect(await test.call('POST', '/applications', { token, body: { name: 'x' } })).toMatchObject({ status: 403, body: { type: '/docs/errors#application-bound', detail: `This token is bound to application ${app}.` } });
    const session = await connect(app, undefined, token);
    expect((await test.call('GET', `/applications/${app}/sessions`, { token })).body.items).toEqual([session]);
  });

  it('bound to what is not there, or is foreign, lists nothing', async () => {
    for (const token of [await test.token({ applicationId: ABSENT }), await test.token({ organizationId: 'org_other', applicationId: await test.application() })]) {
      expect((await test.call('GET', '/applications', { token })).body).toEqual({ items: [] });
    }
  });
});

describe('scopes', () => {
  const EVERY = [...new Set(operations.flatMap(({ id }) => scopesOf(id).flat()))];

  it.each(operations)('$id is 403 with any other scopes, whether or not there is something', async ({ id }) => {
    const app = await test.application(), session = await connect(app, { credentialId: 'grant' });
    const ways = scopesOf(id);
    const lacking = [...ways.flatMap((way) => way.map((missing) => EVERY.filter((scope) => scope !== missing && !ways.some((other) => other !== way && other.includes(scope))))), []];
    for (const scopes of lacking) {
      const token = await test.token({ scopes });
      const something: Record<string, string> = { applicationId: app, sessionId: session.id, credentialId: 'grant' };
      const answers = await Promise.all([something, {}].map((ids) => call(id, ids, { token, headers: REQUEST_ID })));
      expect(answers.map(({ status, body }) => [status, body.type])).toEqual(Array(2).fill([403, '/docs/errors#insufficient-scope']));
      expect(whole(answers[0]!)).toEqual(whole(answers[1]!));
    }
    for (const scopes of ways) expect((await call(id, {}, { token: await test.token({ scopes }) })).status).not.toBe(403);
  });

  it('deleteApplication needs both, and then every path under the application is 404', async () => {
    const app = await test.application(), session = await connect(app, { credentialId: 'grant' });
    for (const scopes of [['applications:write'], ['sessions:revoke']]) expect((await test.call('DELETE', `/applications/${app}`, { token: await test.token({ scopes }) })).status).toBe(403);
    expect(await test.call('DELETE', `/applications/${app}`, { token: await test.token({ scopes: ['applications:write', 'sessions:revoke'] }) })).toMatchObject({ status: 200, body: { success: true, disconnectedCount: 1 } });
    for (const { id } of under) expect([id, (await call(id, { applicationId: app, sessionId: session.id, credentialId: 'grant' })).status]).toEqual([id, 404]);
    expect((await test.call('GET', '/applications?limit=1000')).body.items.filter((item: { id: string }) => item.id === app)).toEqual([]);
  });
});

describe('sessions:connect', () => {
  it('denies a session claim beyond the token that carried it, and a token without one for as long as it may be accepted', async () => {
    const application = await test.application(), { kid, privateJwk } = test.service.signingKey!;
    const signed = async (sid: string | undefined, seconds: number) => new SignJWT({ org_id: ORGANIZATION, scope: 'sessions:connect', ...(sid && { sid }) })
      .setProtectedHeader({ alg: 'ES256', kid }).setIssuer('rollcall').setAudience('rollcall').setSubject('agent').setExpirationTime(Math.floor(test.clock.now() / 1000) + seconds)
      .sign(await importJWK(privateJwk, 'ES256'));
    const create = async (token: string) => (await test.call('POST', `/applications/${application}/sessions`, { token })).status;
    expect(await create(await signed('login-1', 600))).toBe(201);
    const token = await signed(undefined, 600);
    expect(await create(token)).toBe(201);
    await test.call('DELETE', `/applications/${application}/sessions`);
    const denied = async () => (await test.call('GET', `/applications/${application}/revoked-credentials`)).body.items.map(({ credentialId }: { credentialId: string }) => credentialId.split(':')[0]);
    expect(await denied()).toEqual(['sha256', 'sid']);
    test.clock.advance(601_000);
    expect(await create(token)).toBe(403); // within the leeway
    test.clock.advance(299_000);
    expect(await denied()).toEqual(['sid']);
    expect(await create(await signed('login-1', 600))).toBe(403);
    expect(await create(await signed('login-2', 600))).toBe(201);
  });

  const client = (subject: string, ttlMs?: number) => test.token({ scopes: ['sessions:connect'], subject, ttlMs });

  it('opens sessions for the token: its subject, its expiry, its credential', async () => {
    const app = await test.application(), token = await client('ada', 600_000);
    const session = await connect(app, { name: 'mine', userId: 'ada' }, token);
    expect(session).toMatchObject({ userId: 'ada', tokenExpiresAt: new Date(test.clock.now() + 600_000).toISOString() });
    expect(await connect(app, undefined, token)).toMatchObject({ userId: 'ada' });
    await test.call('DELETE', `/applications/${app}/sessions/${session.id}`);
    expect(await test.call('POST', `/applications/${app}/sessions`, { token })).toMatchObject({ status: 403, body: { type: '/docs/errors#credential-revoked' } });
    expect((await test.call('POST', `/applications/${app}/sessions`, { token: await client('ada', 700_000) })).status).toBe(201);
  });

  it('refuses claims in the body, each with its pointer', async () => {
    const app = await test.application(), token = await client('ada'), { id: sessionId } = await connect(app, undefined, token);
    const claims = { credentialId: 'x', credentialExpiresAt: '2027-01-01T00:00:00Z', tokenExpiresAt: '2027-01-01T00:00:00Z' };
    const created = await test.call('POST', `/applications/${app}/sessions`, { token, body: claims });
    expect([created.status, created.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()]).toEqual([400, ['/body/credentialExpiresAt', '/body/credentialId', '/body/tokenExpiresAt']]);
    const beaten = await test.call('POST', `/applications/${app}/heartbeats`, { token, body: { heartbeats: [{ sessionId }, { sessionId, ...claims }] } });
    expect([beaten.status, beaten.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()]).toEqual([400, ['/body/heartbeats/1/credentialExpiresAt', '/body/heartbeats/1/credentialId', '/body/heartbeats/1/tokenExpiresAt']]);
    expect(await test.call('POST', `/applications/${app}/sessions`, { token, body: { userId: 'eve' } })).toMatchObject({ status: 400, body: { errors: [{ pointer: '/body/userId' }] } });
  });

  it('finds its own sessions only: others are 404 and unknown, as are those of a backend', async () => {
    const app = await test.application(), [ada, eve] = [await client('ada'), await client('eve')];
    const own = await connect(app, undefined, ada), backends = await connect(app, { userId: 'eve' });
    for (const sessionId of [own.id, backends.id]) {
      const [theirs, nowhere] = [await call('endSession', { applicationId: app, sessionId }, { token: eve, headers: REQUEST_ID }), await call('endSession', { applicationId: app }, { token: eve, headers: REQUEST_ID })];
      expect(whole(theirs)).toEqual(whole(nowhere));
      expect((await call('streamSessionEvents', { applicationId: app, sessionId }, { token: eve })).status).toBe(404);
      expect((await test.call('POST', `/applications/${app}/heartbeats`, { token: eve, body: { heartbeats: [{ sessionId }] } })).body).toEqual({ accepted: 0, ended: [{ sessionId, reason: 'unknown' }] });
    }
    expect((await test.call('POST', `/applications/${app}/heartbeats`, { token: ada, body: { heartbeats: [{ sessionId: own.id }] } })).body).toEqual({ accepted: 1, ended: [] });
    expect((await call('endSession', { applicationId: app, sessionId: own.id }, { token: ada })).body.session).toMatchObject({ id: own.id, disconnectReason: 'ended' });
  });

  it('has externalIds of its own', async () => {
    const app = await test.application(), body = { externalId: 'same' };
    const ids = [await connect(app, body, await client('ada')), await connect(app, body, await client('eve')), await connect(app, body), await connect(app, body, await client('ada'))].map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
    expect(ids[3]).toBe(ids[0]);
  });
});

describe('the audit', () => {
  it('has a row for every revoke, with who, what, how many, and the request', async () => {
    const app = await test.application();
    const token = await test.token({ subject: 'user_ops' });
    const sessions = [];
    for (const credentialId of ['a', 'b', 'c']) sessions.push(await connect(app, { credentialId, userId: credentialId }));
    const at = new Date(test.clock.now()).toISOString();
    const ask = (method: string, path: string, id: string) => test.call(method, `/applications/${app}${path}`, { token, headers: { 'x-request-id': id } });
    await ask('DELETE', `/sessions/${sessions[0].id}`, 'one');
    await ask('DELETE', '/sessions?userId=b&derivedStatus=idle,active&lastActiveBefore=2030-01-01t01:00:00%2b01:00', 'two');
    await ask('DELETE', '/sessions', 'three');
    await ask('DELETE', '/revoked-credentials/b', 'four');
    await ask('DELETE', '/sessions?dryRun=true', 'five');
    await ask('DELETE', '/sessions?userid=b', 'six');
    const row = { id: expect.stringMatching(/^[0-9a-f-]{36}$/), createdAt: at, subject: 'user_ops', state: 'done' };
    const { body } = await test.call('GET', `/applications/${app}/revocations`);
    expect(body).toEqual({ items: [
      { ...row, action: 'allowCredential', filter: { credentialId: 'b' }, disconnectedCount: 0, requestId: 'four' },
      { ...row, action: 'revokeSessions', filter: {}, disconnectedCount: 1, requestId: 'three' },
      { ...row, action: 'revokeSessions', filter: { userId: 'b', derivedStatus: ['idle', 'active'], lastActiveBefore: '2030-01-01T00:00:00.000Z' }, disconnectedCount: 1, requestId: 'two' },
      { ...row, action: 'revokeSession', filter: { sessionId: sessions[0].id }, disconnectedCount: 1, requestId: 'one' },
    ] });
    const page = await test.call('GET', `/applications/${app}/revocations?limit=3`);
    expect(page.body.items).toHaveLength(3);
    expect((await test.call('GET', `/applications/${app}/revocations?cursor=${page.body.nextCursor}`)).body).toEqual({ items: [body.items[3]] });
  });

  it('names the request as the answer and the log do', async () => {
    const app = await test.application();
    const { headers } = await test.call('DELETE', `/applications/${app}/sessions`);
    const requestId = headers.get('x-request-id');
    expect((await test.call('GET', `/applications/${app}/revocations`)).body.items).toMatchObject([{ requestId, subject: 'tester' }]);
    await vi.waitFor(() => expect(test.logged.filter((line) => line['requestId'] === requestId)).toMatchObject([{ operationId: 'revokeSessions', status: 200 }]));
  });
});

describe('allowCredential', () => {
  it.each(['plain', 'a/b', '/', 'a%2Fb', '100%', 'ü 💥', 'a?b#c', '+', 'a;b,c', "it's*(x)!", '..x', 'sid:9b7c2f', 'x'.repeat(255)])('takes back what was denied: %s', async (credentialId) => {
    const app = await test.application();
    await test.call('DELETE', `/applications/${app}/sessions/${(await connect(app, { credentialId })).id}`);
    await connect(app, { credentialId: 'other' });
    await test.call('DELETE', `/applications/${app}/sessions`);
    const denied = async () => (await test.call('GET', `/applications/${app}/revoked-credentials`)).body.items.map((item: { credentialId: string }) => item.credentialId);
    expect((await denied()).sort()).toEqual([credentialId, 'other'].sort());
    expect((await test.call('POST', `/applications/${app}/sessions`, { body: { credentialId } })).body.type).toBe('/docs/errors#credential-revoked');
    const allow = () => test.call('DELETE', `/applications/${app}/revoked-credentials/${encodeURIComponent(credentialId)}`);
    expect(await allow()).toMatchObject({ status: 200, body: { success: true } });
    expect((await allow()).status).toBe(404);
    expect(await denied()).toEqual(['other']);
    expect((await test.call('POST', `/applications/${app}/sessions`, { body: { credentialId } })).status).toBe(201);
  });

  it('answers when each credential may come back, and pages through them by name', async () => {
    const app = await test.application(), names = ['b', 'B', 'ä', '💥', '\uff5e', 'a', '~'];
    for (const credentialId of names) await connect(app, { credentialId, credentialExpiresAt: '2027-01-01T00:00:00Z' });
    await test.call('DELETE', `/applications/${app}/sessions`);
    const seen: { credentialId: string; deniedUntil: string }[] = [];
    for (let cursor = ''; ;) {
      const { body } = await test.call('GET', `/applications/${app}/revoked-credentials?limit=2${cursor}`);
      seen.push(...body.items);
      if (!body.nextCursor) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    expect(seen.map(({ credentialId }) => credentialId)).toEqual(names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    expect(new Set(seen.map(({ deniedUntil }) => deniedUntil))).toEqual(new Set(['2027-01-01T00:00:00.000Z']));
  });
});
