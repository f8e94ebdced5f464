// The access matrix: every operation of the contract against everything that is not the right token. Nobody gets in, and nothing is changed.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations, type Operation } from '../contract/contract.ts';
import { undocumented } from '../support/answers.ts';
import { callOf, withHeaders } from '../support/calls.ts';
import { contentsOfPostgres, contentsOfSqlite } from '../support/contents.ts';
import { createDatabase, postgresIsThere } from '../support/postgres.ts';
import type { RawAnswer, RawRequest } from '../support/raw.ts';
import { EVERY_SCOPE, ORGANIZATION, startTestService, type TestService } from '../support/service.ts';
import { forgedTokens, garbledHeaders } from '../support/tokens.ts';
import { openWire, type Wire } from '../support/wire.ts';

const ABSENT = { applicationId: '0199ffff-ffff-7fff-8fff-ffffffffffff', sessionId: '0199ffff-ffff-7fff-8fff-fffffffffffe', credentialId: 'grant' };
/** What belongs to the organization itself: another one may call these, and sees its own. */
const ORGANIZATION_WIDE = ['listApplications', 'createApplication'];
const EVERY = [...new Set(operations.flatMap(scopesOf).flat())];

function scopesOf({ spec }: Operation): string[][] {
  return (spec.security ?? []).map((way) => Object.values(way).flat() as string[]); // OpenAPI's shape for them
}

type Ids = Record<string, string>;
interface World {
  test: TestService; wire: Wire; contents(): Promise<string>; close(): Promise<void>;
  /** An application with a session that is connected and a credential that is denied. */
  application(): Promise<Ids>;
  ids: Ids;
}

async function openWorld(databaseUrl?: string): Promise<World> {
  const test = await startTestService({ env: databaseUrl ? { DATABASE_URL: databaseUrl } : {}, validateResponses: false });
  const wire = openWire(test.url);
  const application = async () => {
    const applicationId = await test.application();
    const connect = async (body: object) => (await test.call('POST', `/applications/${applicationId}/sessions`, { body })).body.session.id as string;
    const over = await connect({ credentialId: 'grant', userId: 'ada' });
    await test.call('DELETE', `/applications/${applicationId}/sessions/${over}`);
    return { applicationId, sessionId: await connect({ externalId: 'connection-1' }), credentialId: 'grant' };
  };
  return {
    test, wire, application, ids: await application(),
    async contents() {
      await test.service.store.flush();
      return databaseUrl ? contentsOfPostgres(databaseUrl) : contentsOfSqlite(test.directory);
    },
    async close() { wire.close(); await test.close(); },
  };
}

/** What must hold of every refusal, whatever it refuses. */
function refusalOf({ id }: Operation, answered: RawAnswer, secret: string | undefined): unknown {
  const { status, headers, text, body } = answered;
  return {
    undocumented: undocumented(id, { status, type: headers['content-type'] ?? '', body }), status, type: body?.type,
    cache: headers['cache-control'], sniff: headers['x-content-type-options'], requestId: body?.requestId === headers['x-request-id'],
    tells: secret !== undefined && secret.length > 8 && (text + JSON.stringify(headers)).includes(secret), cookies: headers['set-cookie'],
    challenge: headers['www-authenticate'],
  };
}
const refused = (status: number, code: string, challenge: unknown) => ({
  undocumented: [], status, type: `/docs/errors#${code}`, cache: 'no-store', sniff: 'nosniff', requestId: true, tells: false, cookies: undefined, challenge,
});
const NO_TOKEN = 'Bearer realm="rollcall"';
const UNAUTHORIZED = /^Bearer realm="rollcall"(, error="invalid_(token|request)", error_description="[\x20\x21\x23-\x5b\x5d-\x7e]+")?$/;

/** The last part is nobody's to know. */
const secretOf = (token: string): string => token.split('.').at(-1) ?? '';
const bearer = (token: string) => ['Authorization', `Bearer ${token}`] as const;

/** All at once, each answer under its name: a failure shows the one that is different. */
async function each(wire: Wire, cases: readonly (readonly [name: string, request: RawRequest])[], look: (answered: RawAnswer, name: string) => unknown): Promise<Record<string, unknown>> {
  return Object.fromEntries(await Promise.all(cases.map(async ([name, request]) => [name, look(await wire.send(request), name)] as const)));
}
const all = (names: readonly string[], value: unknown) => Object.fromEntries(names.map((name) => [name, value]));

describe.each(['SQLite', 'PostgreSQL'] as const)('on %s', (database) => {
  let world: World, drop = async () => {};
  beforeAll(async () => {
    const own = database === 'PostgreSQL' && postgresIsThere() ? await createDatabase() : undefined;
    if (own) drop = own.drop;
    world = await openWorld(own?.url);
  });
  afterAll(async () => { await world.close(); await drop(); });

  describe.skipIf(database === 'PostgreSQL' && !postgresIsThere())('what belongs to somebody else', () => {
    it.each(operations.filter(({ path }) => path.includes('{applicationId}')))('$id is there for nobody but its organization and its application', async (operation) => {
      const { test, wire, ids } = world;
      const before = await world.contents();
      const ownOther = await test.application();
      const theirs = (await test.call('POST', '/applications', { token: await test.token({ organizationId: 'org_other' }), body: { name: 'Theirs' } })).body.application.id;
      const changed = await world.contents();
      const tokens = {
        'another organization': await test.token({ organizationId: 'org_other' }),
        'an organization that begins alike': await test.token({ organizationId: `${ORGANIZATION}2` }),
        'an organization in another case': await test.token({ organizationId: ORGANIZATION.toUpperCase() }),
        'another organization, bound to this application': await test.token({ organizationId: 'org_other', applicationId: ids['applicationId']! }),
        'another organization, bound to its own': await test.token({ organizationId: 'org_other', applicationId: theirs }),
        'bound to another application': await test.token({ applicationId: ownOther }),
        'bound to one of another organization': await test.token({ applicationId: theirs }),
        'bound to nothing that is there': await test.token({ applicationId: ABSENT.applicationId }),
      };
      const cases = Object.entries(tokens).map(([name, token]) => [name, withHeaders(callOf(operation, ids), bearer(token))] as const);
      expect(await each(wire, cases, (answered) => refusalOf(operation, answered, undefined))).toEqual(all(Object.keys(tokens), refused(404, 'not-found', undefined)));
      expect(await world.contents()).toBe(changed);
      expect(changed).not.toBe(before); // or the comparison would compare nothing
    });

    it('no operation is without an application but those that are about the organization', () => {
      expect(operations.filter(({ path }) => !path.includes('{applicationId}')).map(({ id }) => id)).toEqual(ORGANIZATION_WIDE);
    });
  });
});

describe('with everything that is not the right token', () => {
  let world: World, garbled: ReturnType<typeof garbledHeaders>, forged: Awaited<ReturnType<typeof forgedTokens>>, good: string;
  const asked: string[] = [];
  const elsewhere = createServer((request, response) => { asked.push(request.url ?? ''); response.end('{"keys":[]}'); });

  beforeAll(async () => {
    world = await openWorld();
    await new Promise<void>((resolve) => { elsewhere.listen(0, '127.0.0.1', resolve); });
    const { test } = world;
    good = await test.token({ scopes: EVERY });
    garbled = garbledHeaders(good);
    const seconds = Math.floor(test.clock.now() / 1000);
    forged = await forgedTokens(test.service.signingKey!, { iss: 'rollcall', aud: 'rollcall', sub: 'mallory', org_id: ORGANIZATION, scope: EVERY.join(' '), iat: seconds, exp: seconds + 600 }, // no issuer is configured, so there is a key
      test.clock.now(), `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`); // it listens on TCP
  });
  afterAll(async () => { elsewhere.close(); await world.close(); });

  it.each(operations)('$id says 401 without a token, and nothing happens', async (operation) => {
    const before = await world.contents(), call = callOf(operation, world.ids);
    const cases = [
      ...garbled.map(([name, headers]) => [name, withHeaders(call, ...headers)] as const),
      ...['access_token', 'token', 'jwt', 'authorization', 'bearer', 'id_token'].map((name) => [`?${name}=`, { ...call, target: `${call.target}${call.target.includes('?') ? '&' : '?'}${name}=${good}` }] as const),
      ['a form', { ...call, headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: `access_token=${good}` } satisfies RawRequest] as const,
    ];
    expect(cases.length).toBeGreaterThan(50);
    const answers = await each(world.wire, cases, (answered) => refusalOf(operation, answered, secretOf(good)));
    expect(answers).toEqual(all(cases.map(([name]) => name), refused(401, 'unauthorized', expect.stringMatching(UNAUTHORIZED))));
    expect(answers['nothing']).toMatchObject({ challenge: NO_TOKEN });
    expect(await world.contents()).toBe(before);
  });

  it.each(operations)('$id says 401 to every forged token, and nothing happens', async (operation) => {
    const before = await world.contents(), call = callOf(operation, world.ids);
    const cases = forged.map(([name, token]) => [name, withHeaders(call, bearer(token))] as const);
    expect(cases.length).toBeGreaterThan(80);
    const secrets = new Map(forged.map(([name, token]) => [name, secretOf(token)]));
    expect(await each(world.wire, cases, (answered, name) => refusalOf(operation, answered, secrets.get(name))))
      .toEqual(all(cases.map(([name]) => name), refused(401, 'unauthorized', expect.stringMatching(/^Bearer realm="rollcall", error="invalid_token", error_description="[\x20\x21\x23-\x5b\x5d-\x7e]+"$/))));
    expect(await world.contents()).toBe(before);
  });

  it('no token has made the server ask anybody for anything, and no token is in the log', () => {
    expect(asked).toEqual([]);
    const log = JSON.stringify(world.test.logged);
    expect([...forged.map(([, token]) => secretOf(token)), secretOf(good)].filter((secret) => secret.length > 8 && log.includes(secret))).toEqual([]);
  });

  it.each(operations)('$id says 403 to a token that lacks a scope, and nothing happens', async (operation) => {
    const before = await world.contents(), ways = scopesOf(operation);
    expect(ways.length).toBeGreaterThan(0);
    const lacking = new Map<string, readonly string[]>([['none', []], ['of others', ['sessions:admin', '*', 'sessions:*', 'sessions', ...EVERY.map((scope) => scope.toUpperCase())]]]);
    for (const missing of new Set(ways.flat())) {
      const rest = EVERY.filter((scope) => scope !== missing && !ways.some((way) => !way.includes(missing) && way.includes(scope)));
      lacking.set(`all but ${missing}`, rest);
    }
    const cases = await Promise.all([...lacking].map(async ([name, scopes]) => [name, withHeaders(callOf(operation, world.ids), bearer(await world.test.token({ scopes })))] as const));
    expect(await each(world.wire, cases, (answered) => refusalOf(operation, answered, undefined)))
      .toEqual(all([...lacking.keys()], refused(403, 'insufficient-scope', `Bearer realm="rollcall", error="insufficient_scope", scope="${ways[0]!.join(' ')}"`)));
    expect(await world.contents()).toBe(before);
  });

  it('createApplication says 403 to a token that is bound to an application', async () => {
    const before = await world.contents(), operation = operations.find(({ id }) => id === 'createApplication')!;
    const token = await world.test.token({ scopes: EVERY, applicationId: world.ids['applicationId']! });
    expect(refusalOf(operation, await world.wire.send(withHeaders(callOf(operation, world.ids), bearer(token))), undefined)).toEqual(refused(403, 'application-bound', undefined));
    expect(await world.contents()).toBe(before);
  });

  it.each(ORGANIZATION_WIDE)('%s shows another organization nothing of this one', async (id) => {
    const operation = operations.find((candidate) => candidate.id === id)!;
    const answered = await world.wire.send(withHeaders(callOf(operation, world.ids), bearer(await world.test.token({ organizationId: 'org_third' }))));
    expect(answered.status).toBeLessThan(300);
    expect(answered.text).not.toContain(ORGANIZATION);
    expect(answered.text).not.toContain(world.ids['applicationId']);
  });

  // The other half: the calls are refused for the token and for nothing else.
  it.each(operations)('$id takes the same call with the right token, by each of its scopes', async (operation) => {
    const { test, wire } = world;
    for (const scopes of scopesOf(operation)) {
      const ids = await world.application(), token = await test.token({ scopes, subject: 'client' });
      let call = callOf(operation, ids);
      if (scopes.includes('sessions:connect')) { // only its own sessions, and what the token says of them is not repeated
        ids['sessionId'] = (await test.call('POST', `/applications/${ids['applicationId']}/sessions`, { token })).body.session.id;
        call = { ...callOf(operation, ids), ...(operation.body && { body: JSON.stringify(operation.id === 'createSession' ? {} : { heartbeats: [{ sessionId: ids['sessionId'] }] }) }) };
      }
      const { status, text } = await wire.send(withHeaders(call, bearer(token)));
      expect({ scopes, status, text: status < 300 ? '' : text }).toEqual({ scopes, status: expect.toSatisfy((found: number) => found >= 200 && found < 300), text: '' });
    }
  });
});

it('the scopes of the tests are those of the contract', () => {
  expect(EVERY.filter((scope) => scope !== 'sessions:connect').sort()).toEqual([...EVERY_SCOPE].sort());
});
