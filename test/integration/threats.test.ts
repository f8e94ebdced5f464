// Attacks of the ledger (docs/threats.md) that no other test makes; and that the ledger names tests which are there.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contract, operations } from '../contract/contract.ts';
import { raw, type RawRequest } from '../support/raw.ts';
import { ON_POSTGRES, startTestService, type TestService } from '../support/service.ts';
import { openStream } from '../support/stream.ts';
import { json, printable, table } from '../../server/cli/print.ts';
import { readConfig } from '../../server/config.ts';
import { isDateTime } from '../../server/query.ts';

const root = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

let test: TestService, app: string, token: string;
beforeAll(async () => {
  test = await startTestService();
  app = await test.application();
  token = await test.token();
});
afterAll(() => test.close());
const send = (request: RawRequest) => raw(test.url, request);

describe('the ledger', () => {
  const rows = readFileSync(root('docs/threats.md'), 'utf8').split('\n').filter((line) => /^\| \d+ \|/.test(line)).map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
  // A dollar stands for the operation or the path in a test that runs for each of them.
  const named = rows.flatMap(([number = '', , , tests = '']) => [...tests.matchAll(/`(test\/[\w./-]+)`: ([^;]+)/g)].map(([, file = '', name = '']) => ({ number, file, name: name.trim() })));

  it('has a row for each of the 34 threats, with an answer, and a test or the reason why there is none', () => {
    expect(rows.map(([number]) => Number(number))).toEqual(Array.from({ length: 34 }, (_, index) => index + 1));
    for (const [number, threat, answer, tests = ''] of rows) {
      expect([number, threat, answer].every(Boolean), number).toBe(true);
      expect(tests, `row ${number}`).toMatch(/^(`test\/|None: )/);
    }
  });

  it.each(named)('row $number: $file has "$name"', ({ file, name }) => {
    const source = readFileSync(root(file), 'utf8').replaceAll("\\'", "'");
    // Some names go on after a semicolon, which ends them here.
    expect(['\'', '`', '"'].some((quote) => source.includes(`${quote}${name}`)), name).toBe(true);
  });
});

/** ms; of three, because the machine has other things to do. */
function quickest(work: () => unknown): number {
  return Math.min(...[1, 2, 3].map(() => {
    const started = performance.now();
    work();
    return performance.now() - started;
  }));
}

describe('patterns and formats', () => {
  // Found in the contract, wherever they stand: a new one is timed from the day it is written.
  const patterns = new Set<string>();
  JSON.stringify(contract, (name, value: unknown) => { if (name === 'pattern' && typeof value === 'string') patterns.add(value); return value; });
  const long = ['a', '0', '-', ' ', '%', '\u00e9', '.', '0-', 'a.', ' a', '2026-01-01T00:00:00.0'].flatMap((part) => [part.repeat(50_000 / part.length), `${part.repeat(50_000 / part.length)}!`, `${part.repeat(50_000 / part.length)}\n`]);

  it.each([...patterns])('%s takes 50,000 characters in no time', (pattern) => {
    const validate = new Ajv2020({ strict: false }).compile({ type: 'string', pattern });
    for (const text of long) {
      expect(quickest(() => validate(text)), text.slice(0, 30)).toBeLessThan(50);
    }
  });

  it('date-times, too', () => {
    for (const text of [...long, `2026-01-01T00:00:00.${'0'.repeat(50_000)}Z`, `2026-01-01T00:00:00.${'0'.repeat(50_000)}`]) {
      expect(quickest(() => isDateTime(text)), text.slice(0, 30)).toBeLessThan(50);
    }
  });

  it('as parameters and in bodies of requests', async () => {
    const auth = [['Authorization', `Bearer ${token}`]] as const;
    const started = performance.now();
    let sent = 0;
    for (const part of ['a', '%20a', '2026-01-01T00:00:00.0']) {
      const text = part.repeat(12_000 / part.length);
      for (const name of ['cursor', 'userId', 'clientName', 'hostname', 'lastActiveBefore', 'derivedStatus', 'limit']) { expect((await send({ target: `/api/v1/applications/${app}/sessions?${name}=${text}!`, headers: auth })).status).toBe(400); sent++; }
      const body = JSON.stringify({ name: `${part.repeat(50_000 / part.length)}\n` });
      expect((await send({ method: 'POST', target: `/api/v1/applications/${app}/sessions`, headers: [...auth, ['Content-Type', 'application/json']], body })).status).toBe(400);
      sent++;
    }
    expect((performance.now() - started) / sent).toBeLessThan(300); // each: the network, the validator and a loaded machine included
  });
});

describe('what is not in the contract', () => {
  const WORDS = ['admin', 'administrator', 'actuator', 'actuator/env', 'actuator/heapdump', 'backup', 'config', 'config.json', 'data', 'data/rollcall.db', 'debug', 'debug/pprof', 'env', 'generated/api.ts', 'graphql', 'health', 'heapdump', 'info', 'internal', 'inspector', 'json', 'json/version', 'login', 'logs', 'node_modules', 'package.json', 'package-lock.json', 'phpinfo.php', 'private', 'rollcall.db', 'server/main.ts', 'server-status',
    'setup', 'signing-key.json', 'data/signing-key.json', 'status', 'swagger', 'swagger-ui', 'swagger.json', 'test', 'token', 'tokens', 'trace', 'users', 'v1', 'v2', '.env', '.git/config', '.git/HEAD', '.well-known/openid-configuration', '.well-known/jwks.json', 'jwks', 'keys', 'api', 'api/v0', 'api/v2', 'api/v2/applications', 'api/v1', 'api/v1/users', 'api/v1/sessions', 'api/v1/tokens', 'api/v1/admin', 'api/v1/organizations', 'api/v1/keys', 'api/internal', 'api-docs', 'console.log', 'socket.io', 'ws', 'rpc', 'mcp', 'sse', 'events'];

  it('is not there, with a token or without', async () => {
    for (const headers of [[], [['Authorization', `Bearer ${token}`]]] as const) {
      for (const word of WORDS) for (const method of ['GET', 'POST']) {
        const { status, body } = await send({ method, target: `/${word}`, headers });
        expect([word, status, body?.type]).toEqual([word, 404, '/docs/errors#not-found']);
      }
    }
  });

  it('is not there as a method either', async () => {
    for (const path of Object.keys(contract.paths ?? {})) {
      const target = path.replace('{applicationId}', app).replace('{sessionId}', app).replace('{credentialId}', 'x');
      const takes = operations.filter((operation) => operation.path === path).map(({ method }) => method);
      for (const method of ['get', 'post', 'put', 'patch', 'delete'].filter((one) => !takes.includes(one))) {
        expect([method, path, (await send({ method: method.toUpperCase(), target, headers: [['Authorization', `Bearer ${token}`]] })).status]).toEqual([method, path, 405]);
      }
    }
  });
});

describe('a value', () => {
  it('with frames of an event stream in it is one event, in its data', async () => {
    const stream = await openStream(`${test.url}/api/v1/applications/${app}/events`, token);
    const evil = 'x\n\nevent: sessions.revoked\nid: 1\ndata: {"generation":99}\n\n:\r\nretry: 1\r\n\r\n\u2028data: x';
    try {
      const { session } = (await test.call('POST', `/applications/${app}/sessions`, { body: { name: 'event: disconnect', clientInfo: { name: 'data: x', note: evil } } })).body;
      const event = await stream.next();
      expect([event.event, event.data.session]).toEqual(['session.connected', session]);
      await test.call('POST', `/applications/${app}/sessions/${session.id}/end`);
      expect((await stream.next()).event).toBe('session.disconnected');
      expect(stream.events.map(({ event: name }) => name)).toEqual(['session.connected', 'session.disconnected']);
      expect(stream.text.match(/^event:/gm)).toHaveLength(2);
    } finally { stream.close(); }
  });

  it('named after what every object has is data or refused, and changes nothing for others', async () => {
    const plain = (await test.call('POST', `/applications/${app}/sessions`, { body: {} })).body;
    for (const body of ['{"clientInfo":{"constructor":{"prototype":{"polluted":1,"hostname":"x"}}}}', '{"clientInfo":{"prototype":{"polluted":1}}}', '{"clientInfo":{"toString":1,"valueOf":2,"toJSON":3,"then":4}}', '{"clientInfo":{"__proto__":{"polluted":1}}}', '{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}']) {
      const { status, body: answer } = await test.call('POST', `/applications/${app}/sessions`, { body });
      expect(status).toBe(body.includes('__proto__') || !body.startsWith('{"clientInfo') ? 400 : 201);
      if (status === 201) expect(answer.session.clientInfo).toEqual(JSON.parse(body).clientInfo);
    }
    for (const query of ['__proto__=1', '__proto__[polluted]=1', 'constructor[prototype][polluted]=1', 'limit[__proto__]=1', 'constructor=1']) expect((await test.call('GET', `/applications/${app}/sessions?${query}`)).status).toBe(400);
    const again = (await test.call('POST', `/applications/${app}/sessions`, { body: {} })).body;
    expect(Object.keys(again.session)).toEqual(Object.keys(plain.session));
    expect(again.session).toMatchObject({ hostname: null, clientInfo: null });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('a browser on another site', () => {
  it.each([
    ['a form', 'POST', [['Content-Type', 'application/x-www-form-urlencoded']], 'name=x'],
    ['a form of plain text', 'POST', [['Content-Type', 'text/plain']], '{"name":"x"}'],
    ['a beacon', 'POST', [['Content-Type', 'text/plain;charset=UTF-8']], '{}'],
    ['a fetch with cookies', 'DELETE', [], undefined],
    ['an image', 'GET', [['Sec-Fetch-Dest', 'image'], ['Sec-Fetch-Site', 'cross-site']], undefined],
  ] as const)('cannot do anything with %s: nothing but the header is a token', async (_what, method, headers, body) => {
    for (const cookie of [`token=${token}`, `access_token=${token}; session=${token}`]) {
      const answered = await send({ method, target: `/api/v1/applications/${app}/sessions`, headers: [['Origin', 'https://evil.example'], ['Cookie', cookie], ...headers], ...(body !== undefined && { body }) });
      expect(answered.status).toBe(401);
      expect(Object.keys(answered.headers).filter((name) => name.startsWith('access-control') || name === 'set-cookie')).toEqual([]);
    }
  });
});

describe('streamApplicationEvents', () => {
  it('tells nothing of another application to one who brings the id of its event', async () => {
    const other = await test.application(), own = await test.application();
    const theirs = await openStream(`${test.url}/api/v1/applications/${other}/events`, token);
    await test.call('POST', `/applications/${other}/sessions`, { body: { name: 'secret-of-the-other' } });
    const { id } = await theirs.next();
    theirs.close();
    // As it is, and with the part that says whose it is exchanged.
    for (const forged of [id!, `${id!.slice(0, -6)}${own.slice(-6)}`, `0.0.0.${own.slice(-6)}`]) {
      const stream = await openStream(`${test.url}/api/v1/applications/${own}/events`, token, { 'last-event-id': forged });
      const made = (await test.call('POST', `/applications/${own}/sessions`, { body: { name: 'mine' } })).body.session.id;
      for (let event = await stream.next(); event.data.session?.id !== made; event = await stream.next()) expect(['reset', 'session.connected']).toContain(event.event);
      stream.close();
      expect(stream.text).not.toContain('secret-of-the-other');
      expect(stream.text).not.toContain(other);
    }
  });
});

describe.skipIf(process.env[ON_POSTGRES])('very many applications', () => {
  it('do not stop others while the server looks over them', async () => {
    const crowded = await startTestService(), db = new DatabaseSync(join(crowded.directory, 'rollcall.db'));
    db.exec(`insert into applications (id, organization_id, name, created_at)
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 20000) select printf('01990000-0000-7000-8000-%012d', i), 'org_many', 'x', 0 from n`);
    db.close();
    await new Promise(setImmediate); // what another process writes is seen from the next turn on
    let turns = 0, over = false;
    const count = () => { turns++; if (!over) setImmediate(count); };
    setImmediate(count);
    await crowded.service.store.interruptRevocations(0);
    over = true;
    expect(turns).toBeGreaterThan(2); // twenty thousand statements take more than a few turns of 5 ms
    await crowded.close();
  });
});

describe.skipIf(process.env[ON_POSTGRES])('the files of the data directory', () => {
  it('are for their owner alone, in a directory that is not', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rollcall-open-')), umask = process.umask(0o022);
    chmodSync(directory, 0o755);
    const shared = await startTestService({ directory });
    await shared.application();
    process.umask(umask);
    const modes = Object.fromEntries(readdirSync(directory).map((name) => [name, statSync(join(directory, name)).mode & 0o777]));
    expect(Object.keys(modes)).toEqual(expect.arrayContaining(['rollcall.db', 'rollcall.db-wal', 'rollcall.lock', 'signing-key.json']));
    expect(Object.entries(modes).filter(([, mode]) => (mode & 0o077) !== 0)).toEqual([]);
    await shared.close();
  });
});

describe('a password in a variable', () => {
  it.each([
    ['DATABASE_URL', 'postgres://rollcall:hunter/2@db/rollcall'], ['DATABASE_URL', 'mysql://rollcall:hunter2@db/rollcall'], ['AUTH_ISSUER', 'http://me:hunter2@issuer.example'],
  ])('of %s is in no message', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(name);
    expect(() => readConfig({ [name]: value })).toThrow(/^(?!.*hunter)/s);
  });
});

describe('what moves a terminal', () => {
  it('is told as its code, and JSON stays what it was', () => {
    const hostile = 'a\u001b[2J\u009b31m\u202e\u2028\u200b\u{e0001}\u007f"\n';
    for (const text of [printable(hostile), table(['A'], [[hostile]]), json({ [hostile]: [hostile] })]) expect(text).toMatch(/^[\x20-\x7e\n]+$/);
    expect(printable(hostile)).not.toContain('\n');
    expect(JSON.parse(json({ [hostile]: ['é', hostile] }))).toEqual({ [hostile]: ['é', hostile] });
  });
});
