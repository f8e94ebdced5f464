// Bodies on real sockets: their types, sizes, encodings and depths, and what in them cannot be kept.
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { raw, type RawRequest } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';

const JSON_TYPE = ['Content-Type', 'application/json'] as const;
const SESSION = '0199ffff-ffff-7fff-8fff-ffffffffffff';

let test: TestService, app: string, token: string;
beforeAll(async () => {
  test = await startTestService();
  app = await test.application();
  token = await test.token();
});
afterAll(() => test.close());

const post = (body: RawRequest['body'], headers: RawRequest['headers'] = [JSON_TYPE], path = 'sessions', method = 'POST') =>
  raw(test.url, { method, target: `/api/v1/applications/${app}/${path}`, headers: [['Authorization', `Bearer ${token}`], ...headers], body });
const beat = (heartbeats: unknown) => post(typeof heartbeats === 'string' ? heartbeats : JSON.stringify({ heartbeats }), [JSON_TYPE], 'heartbeats');
const problem = (type: string, status: number, ...errors: object[]) => ({ status, body: { type: `/docs/errors#${type}`, status, ...(errors.length > 0 && { errors }) } });
const invalid = (pointer: string, detail: unknown) => problem('invalid-request', 400, { pointer, detail });
const sized = (bytes: number) => `{}${' '.repeat(bytes - 2)}`;

describe('no body', () => {
  it('is fine for createSession, whatever is said about it', async () => {
    for (const headers of [[], [JSON_TYPE], [['Content-Type', 'text/plain']], [['Content-Length', '0']]] as RawRequest['headers'][]) expect(await post(undefined, headers)).toMatchObject({ status: 201 });
    expect(await post('0\r\n\r\n', [JSON_TYPE, ['Transfer-Encoding', 'chunked']])).toMatchObject({ status: 201 });
  });

  it('is 400 for recordHeartbeats and createApplication, with what they need', async () => {
    expect(await post(undefined, [], 'heartbeats')).toMatchObject(invalid('/body/heartbeats', 'is required'));
    expect((await test.call('POST', '/applications')).body.errors).toEqual([{ pointer: '/body/name', detail: 'is required' }]);
  });

  it('is all that operations without a body take, and what they refuse changes nothing', async () => {
    const { id } = (await test.call('POST', `/applications/${app}/sessions`)).body.session;
    for (const [method, path] of [['GET', 'sessions'], ['DELETE', 'sessions'], ['DELETE', `sessions/${id}`], ['POST', `sessions/${id}/end`], ['GET', 'events'], ['DELETE', 'revoked-credentials/x'], ['DELETE', '../' + app]] as const) {
      const target = path.startsWith('..') ? `/api/v1/applications/${app}` : `/api/v1/applications/${app}/${path}`;
      for (const [body, headers] of [['{}', [JSON_TYPE]], ['x', []], ['2\r\n{}\r\n0\r\n\r\n', [['Transfer-Encoding', 'chunked']]]] as [string, [string, string][]][]) {
        expect(await raw(test.url, { method, target, headers: [['Authorization', `Bearer ${token}`], ...headers], body })).toMatchObject(invalid('/body', 'must be empty: this operation takes no body'));
      }
    }
    expect((await test.call('GET', `/applications/${app}/sessions/${id}`)).body.session.status).toBe('active');
  });
});

describe('Content-Type', () => {
  it.each(['application/json', 'Application/JSON', 'application/json;charset=utf-8', 'application/json; charset="UTF-8"', 'application/json; profile=x', 'application/json ;q=1'])('%s is JSON', async (type) =>
    expect(await post('{}', [['Content-Type', type]])).toMatchObject({ status: 201 }));

  it.each(['', 'text/plain', 'text/json', 'application/vnd.api+json', 'application/jsonx', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=latin1', 'application/json; charset=utf-16', '*/*', 'application/*', ';'])('%s is 415', async (type) =>
    expect(await post('{}', [['Content-Type', type]])).toMatchObject(problem('unsupported-media-type', 415)));

  it('spelt in hundreds of ways costs no more than in one', async () => {
    const run = async (typeOf: (n: number) => string) => {
      const started = performance.now();
      for (let n = 0; n < 200; n++) {
        expect((await test.call('POST', `/applications/${app}/heartbeats`, { body: '{"heartbeats":[]}', headers: { 'content-type': typeOf(n) } })).status).toBe(400);
        expect((await test.call('GET', `/applications/${app}`, { headers: { 'content-type': typeOf(n) } })).status).toBe(200);
      }
      return performance.now() - started;
    };
    await run(() => 'application/json');
    const same = await run(() => 'application/json');
    // Compiling a validator for each would cost ten milliseconds and more a time.
    expect(await run((n) => `application/json; x=${n}`)).toBeLessThan(same * 2 + 1_000);
  });
});

describe('JSON', () => {
  it.each(['{', 'null', '"x"', '1', ' ', '{}x', '{"a":}', "{'a':1}", '{"a":1,}', 'undefined', '\u0000', '[1,2'])('%j is 400', async (body) =>
    expect(await post(body)).toMatchObject(invalid('/body', 'is not valid JSON, or not an object')));

  it('must be an object', async () => expect(await post('[]')).toMatchObject(invalid('/body', 'must be object')));

  it('must be UTF-8', async () => {
    for (const bytes of [[0x7b, 0xff, 0x7d], [...Buffer.from('{"name":"'), 0xc3, ...Buffer.from('"}')], [...Buffer.from('{"name":"'), 0xed, 0xa0, 0x80, ...Buffer.from('"}')], [...Buffer.from('{}', 'utf16le')].slice(0, 3)]) {
      const { status, body } = await post(Uint8Array.from(bytes));
      expect(status).toBe(400);
      expect(body.errors[0].pointer).toBe('/body');
    }
  });

  it.each([['objects', '{"a":', '1', '}'], ['arrays', '[', '', ']'], ['unclosed arrays', '[', '', '']])('of 10,000 nested %s is 400', async (_what, open, inside, close) => {
    const nested = open.repeat(10_000) + inside + close.repeat(10_000);
    for (const body of [`{"clientInfo":${nested}}`, nested, `{"heartbeats":[${nested}]}`]) {
      for (const path of ['sessions', 'heartbeats']) {
        const answered = await post(body, [JSON_TYPE], path);
        expect(answered.status).toBe(400);
        expect(answered.body.errors[0]).toEqual({ pointer: '/body', detail: close ? 'is nested deeper than 20 levels' : 'is not valid JSON, or not an object' });
      }
    }
  });

  const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`f${n}`, 1]));

  it('full of mistakes is 400, with the first twenty', async () => {
    for (const heartbeats of [Array.from({ length: 9_000 }, () => ({})), [fields(9_000)]]) {
      const { status, body } = await beat(heartbeats);
      expect([status, body.errors.length, body.detail]).toEqual([400, 20, 'More than 20 parts of the request must be mended.']);
    }
  });

  it.each([
    ['260,000 numbers for heartbeats', { heartbeats: Array(260_000).fill(0) }, '/body/heartbeats', 'must not have more than 1000 items'],
    ['170,000 empty heartbeats', { heartbeats: Array(170_000).fill({}) }, '/body/heartbeats', 'must not have more than 1000 items'],
    ['2,000 full heartbeats', { heartbeats: Array(2_000).fill({ sessionId: SESSION, lastActiveAt: '2026-01-01T00:00:00Z', tokenExpiresAt: '2026-01-01T00:00:00Z', credentialId: 'x', credentialExpiresAt: '2026-01-01T00:00:00Z' }) }, '/body/heartbeats', 'must not have more than 1000 items'],
    ['260,000 numbers and something too deep', { heartbeats: Array(260_000).fill(0), deep: JSON.parse('['.repeat(30) + ']'.repeat(30)) }, '/body', 'is nested deeper than 20 levels'],
    ['40,000 unknown fields', fields(40_000), '/body', 'must not have more than 10000 values'],
    ['a heartbeat of 40,000 unknown fields', { heartbeats: [fields(40_000)] }, '/body', 'must not have more than 10000 values'],
    ['250,000 numbers and much that cannot be kept', { heartbeats: Array(250_000).fill(0), odd: Array(20).fill('\0') }, '/body/odd/19', 'must be well-formed Unicode without NUL'],
  ])('of %s is 400, and stops nobody', async (_what, body, pointer, detail) => {
    const text = JSON.stringify(body), packed = gzipSync(text), parsing: number[] = [], answering: number[] = [];
    // Of the thread, not of the clock: however busy the machine is, this is for how long others wait.
    const used = (since: NodeJS.CpuUsage) => { const { user, system } = process.threadCpuUsage(since); return (user + system) / 1_000; };
    for (let times = 0; times < 3; times++) {
      const before = process.threadCpuUsage();
      JSON.parse(text);
      parsing.push(used(before));
      const asked = process.threadCpuUsage();
      const answered = await post(packed, [JSON_TYPE, ['Content-Encoding', 'gzip']], 'heartbeats');
      answering.push(used(asked));
      expect([answered.status, answered.body.type, answered.body.errors[0]]).toEqual([400, '/docs/errors#invalid-request', { pointer, detail }]);
    }
    expect(Math.min(...answering)).toBeLessThan(4 * Math.min(...parsing) + 60); // it was fifty times as long as parsing, when the validator listed each mistake
  });
});

describe('sizes', () => {
  it('64 KB are taken and one byte more is 413; for heartbeats 512 KB', async () => {
    expect(await post(sized(65_536))).toMatchObject({ status: 201 });
    expect(await post(sized(65_537))).toMatchObject({ ...problem('payload-too-large', 413), body: { detail: 'The body may have at most 65536 bytes.' } });
    const beats = JSON.stringify({ heartbeats: [{ sessionId: SESSION }] });
    expect(await beat(beats + ' '.repeat(524_288 - beats.length))).toMatchObject({ status: 200 });
    expect(await beat(beats + ' '.repeat(524_289 - beats.length))).toMatchObject({ ...problem('payload-too-large', 413), body: { detail: 'The body may have at most 524288 bytes.' } });
  });

  it('count without a Content-Length, too', async () => {
    const chunk = `10000\r\n${' '.repeat(65_536)}\r\n`;
    expect(await post(`${chunk}${chunk}0\r\n\r\n`, [JSON_TYPE, ['Transfer-Encoding', 'chunked']])).toMatchObject(problem('payload-too-large', 413));
  });

  it('1,000 heartbeats are taken, and one more is 400', async () => {
    const beats = (count: number) => Array.from({ length: count }, () => ({ sessionId: SESSION, lastActiveAt: '2026-01-01T00:00:00Z' }));
    expect(await beat(beats(1_000))).toMatchObject({ status: 200 });
    expect(await beat(beats(1_001))).toMatchObject(invalid('/body/heartbeats', 'must not have more than 1000 items'));
  });

  it('clientInfo has at most 8 KB as JSON and 16 levels', async () => {
    const info = (bytes: number) => ({ a: 'ü'.repeat((bytes - 8) / 2) });
    const nested = (levels: number): object => levels === 1 ? {} : { a: nested(levels - 1) };
    expect(await post(JSON.stringify({ clientInfo: info(8_192) }))).toMatchObject({ status: 201 });
    expect(await post(JSON.stringify({ clientInfo: info(8_194) }))).toMatchObject(invalid('/body/clientInfo', 'must have at most 8192 bytes as JSON'));
    const deep = await post(JSON.stringify({ clientInfo: nested(16) }));
    expect(deep.body.session.clientInfo).toEqual(nested(16));
    expect(await post(JSON.stringify({ clientInfo: nested(17) }))).toMatchObject(invalid('/body/clientInfo', 'must be at most 16 levels deep'));
    expect(await post(JSON.stringify({ clientInfo: { a: [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]] } }))).toMatchObject(invalid('/body/clientInfo', 'must be at most 16 levels deep'));
  });

  it.each([['name', 200], ['hostname', 255], ['userAgent', 500], ['userId', 255], ['externalId', 255], ['credentialId', 255]])('%s has 1 to %d characters, however many bytes, none of them a control', async (field, most) => {
    for (const character of ['a', '💥', 'ü']) expect(await post(JSON.stringify({ [field]: character.repeat(most) }))).toMatchObject({ status: 201 });
    expect(await post(JSON.stringify({ [field]: 'a'.repeat(most + 1) }))).toMatchObject(invalid(`/body/${field}`, `must not have more than ${most} characters`));
    expect(await post(JSON.stringify({ [field]: '' }))).toMatchObject(invalid(`/body/${field}`, 'must not be empty'));
    for (const odd of ['\n', '\r', '\t', '\x1b', '\x7f', '\x85', '\u2028', '\u2029']) expect(await post(JSON.stringify({ [field]: `a${odd}b` }))).toMatchObject(invalid(`/body/${field}`, 'has characters that are not allowed here'));
  });
});

describe('Content-Encoding', () => {
  const encoded = (body: Uint8Array | string, encoding: string) => post(body, [JSON_TYPE, ['Content-Encoding', encoding]]);
  it('is undone', async () => {
    for (const [encoding, pack] of [['gzip', gzipSync], ['GZIP', gzipSync], ['deflate', deflateSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync]] as const) expect((await encoded(pack('{"name":"packed"}'), encoding)).body.session.name).toBe('packed');
    expect(await encoded('{}', 'identity')).toMatchObject({ status: 201 });
  });
  it('is 413 where much comes out of little', async () => {
    for (const [encoding, pack] of [['gzip', gzipSync], ['br', brotliCompressSync]] as const) expect(await encoded(pack(sized(50_000_000)), encoding)).toMatchObject(problem('payload-too-large', 413));
  });
  it('is 400 where it is not true', async () => {
    for (const encoding of ['gzip', 'deflate', 'br', 'zstd']) expect(await encoded('{}', encoding)).toMatchObject(invalid('/body', 'is not what its Content-Encoding says'));
    expect(await encoded(gzipSync('{"name":"cut"}').subarray(0, -6), 'gzip')).toMatchObject({ status: 400 });
  });
  it('is 415 where it is unknown', async () => {
    for (const encoding of ['x', 'gzip, gzip', 'compress']) expect(await encoded('{}', encoding)).toMatchObject(problem('unsupported-media-type', 415));
  });
});

describe('fields', () => {
  it('that are unknown are named, all of them, in both kinds of body', async () => {
    expect(await post('{"a/b":1,"a~b":2,"ключ":3,"clientinfo":{},"id":"x","status":"active"}')).toMatchObject(problem('invalid-request', 400,
      ...['a~1b', 'a~0b', 'ключ', 'clientinfo', 'id', 'status'].map((name) => ({ pointer: `/body/${name}`, detail: 'is not a field of this object' }))));
    expect(await post('{"":1}')).toMatchObject(invalid('/body', 'is not a field of this object'));
    expect(await post(`{"${'a'.repeat(199)}/b":1}`)).toMatchObject(invalid(`/body/${'a'.repeat(199)}~1`, 'is not a field of this object'));
    expect(await beat([{ sessionId: SESSION, 'x/y': 1 }, { sessionid: SESSION }])).toMatchObject({ status: 400, body: { errors: expect.arrayContaining([
      { pointer: '/body/heartbeats/0/x~1y', detail: 'is not a field of this object' }, { pointer: '/body/heartbeats/1/sessionid', detail: 'is not a field of this object' }, { pointer: '/body/heartbeats/1/sessionId', detail: 'is required' }]) } });
  });

  it('are found wrong together with the query', async () => {
    const { body } = await raw(test.url, { method: 'POST', target: `/api/v1/applications/${app}/sessions?x=1`, headers: [['Authorization', `Bearer ${token}`], JSON_TYPE], body: '{"name":1,"hostname":"\\u0000","userId":"","tokenExpiresAt":"soon"}' });
    expect(body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()).toEqual(['/body/hostname', '/body/name', '/body/tokenExpiresAt', '/body/userId', '/query/x']);
  });

  it.each([
    ['{"name":1}', '/body/name', 'must be string'], ['{"name":null}', '/body/name', 'must be string'], ['{"hostname":1}', '/body/hostname', 'must be string or null'], ['{"clientInfo":[]}', '/body/clientInfo', 'must be object or null'],
    ['{"clientInfo":"x"}', '/body/clientInfo', 'must be object or null'], ['{"clientInfo":{"name":1}}', '/body/clientInfo/name', 'must be string'], ['{"clientInfo":{"title":""}}', '/body/clientInfo/title', 'must not be empty'],
    ['{"tokenExpiresAt":null}', '/body/tokenExpiresAt', 'must be string'], ['{"tokenExpiresAt":1767225600}', '/body/tokenExpiresAt', 'must be string'],
    ...['2026-02-31T00:00:00Z', '2026-12-31T23:59:60Z', '9999-12-31T23:59:59-10:00', '2026-01-01'].map((text) => [`{"tokenExpiresAt":"${text}"}`, '/body/tokenExpiresAt', 'must be a date-time that exists, such as 2026-11-22T00:00:00Z']),
  ])('%s', async (body, pointer, detail) => expect(await post(body)).toMatchObject(invalid(pointer!, detail)));

  it.each(['{"name":"a\\u0000"}', '{"name":"\\ud800"}', '{"name":"\\udc00a"}', '{"clientInfo":{"name":"a\\u0000"}}', '{"clientInfo":{"a":[{"b":"\\ud83d"}]}}'])('%s cannot be kept', async (body) =>
    expect(await post(body)).toMatchObject({ status: 400, body: { errors: [{ detail: 'must be well-formed Unicode without NUL' }] } }));

  it.each(['{"clientInfo":{"a\\u0000":1}}', '{"clientInfo":{"\\ud800":1}}', '{"clientInfo":{"__proto__":{"x":1}}}', '{"__proto__":{"x":1}}', '{"clientInfo":{"a":{"__proto__":1}}}', '{"a\\u0000":1}'])('%s has a name that cannot be kept', async (body) =>
    expect(await post(body)).toMatchObject({ status: 400, body: { errors: expect.arrayContaining([expect.objectContaining({ detail: 'is not a name that can be kept' })]) } }));

  it.each(['1e400', '-1e400', '9007199254740993', '-9007199254740992', '123456789012345678901234567890'])('a number such as %s cannot be kept', async (number) =>
    expect(await post(`{"clientInfo":{"n":[${number}]}}`)).toMatchObject(invalid('/body/clientInfo/n/0', 'is too large to be exact; send it as a string')));

  it('of clientInfo come back as they were sent', async () => {
    const clientInfo = { name: 'x', constructor: { prototype: { polluted: 1 } }, toString: 'y', hasOwnProperty: null, n: [9007199254740991, -9007199254740991, 0.1, 1e-7, 1e21], 'a/b~c': 'ü💥\u2028"\\', '': {}, '0': false };
    clientInfo.n.pop();
    const created = await post(JSON.stringify({ clientInfo }));
    expect(created.status).toBe(201);
    expect(created.body.session.clientInfo).toEqual(clientInfo);
    expect((await test.call('GET', `/applications/${app}/sessions/${created.body.session.id}`)).body.session.clientInfo).toEqual(clientInfo);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it.each(['urn:uuid:0199ffff-ffff-7fff-8fff-ffffffffffff', SESSION.toUpperCase(), `{${SESSION}}`, SESSION.replaceAll('-', ''), '', ` ${SESSION}`])('a sessionId such as %j is none', async (sessionId) =>
    expect(await beat([{ sessionId }])).toMatchObject(invalid('/body/heartbeats/0/sessionId', 'must be a UUID in lower case')));
});
