// What the mock answers: every example of the contract, by its name, and none that breaks the contract.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMock, type Mock } from '../../server/dev/mock.ts';
import { CONTRACT, examplesOf, operations, statusOf, type Operation } from './contract.ts';

const SESSIONS = '/api/v1/applications/7c9e6679-7425-40de-944b-e07fc1f90ae7/sessions';
const AUTHORIZATION = { authorization: 'Bearer any' };
const JSON_BODY = { ...AUTHORIZATION, 'content-type': 'application/json' };

let mock: Mock;
beforeAll(async () => { mock = await startMock(); });
afterAll(() => mock.close());

const get = (path: string, headers: Record<string, string> = AUTHORIZATION) => fetch(mock.url + path, { headers });
const problem = (code: string, status: number) => ({ type: `/docs/errors#${code}`, status, title: expect.any(String), requestId: expect.any(String) });

function call(to: Mock, { method, path, parameters, body }: Operation, query: string): Promise<Response> {
  const concrete = path.replace(/\{(\w+)\}/g, (_all, name) => encodeURIComponent(String(parameters.find((one) => one.name === name)?.example)));
  const sent = body && JSON.stringify(examplesOf(body.content)[0]?.value);
  return fetch(`${to.url}${concrete}?${query}`, { method: method.toUpperCase(), headers: sent ? JSON_BODY : AUTHORIZATION, ...(sent && { body: sent }) });
}

describe.each(operations)('$id', (operation) => {
  it('is in the table, with every example', () => {
    const rows = mock.table.split(/\n(?=\S)/), row = rows.find((text) => text.includes(`(${operation.id})`)) ?? '', common = rows.at(-1) ?? '';
    expect(row.split(/ +/).slice(0, 2)).toEqual([operation.method.toUpperCase(), operation.path]);
    expect(common).toMatch(/^Each of them\n/);
    const listed = [...`${row} | ${common}`.matchAll(/(\d{3}) ([\w, ]+)/g)].flatMap(([, status, names]) => (names ?? '').trim().split(', ').map((name) => `${status} ${name}`));
    expect(listed.sort()).toEqual(operation.answers.flatMap((answer) => answer.examples.map((example) => `${statusOf(answer, example)} ${example.name}`)).sort());
  });

  it.each(operation.answers.flatMap((answer) => answer.examples.map((example) => ({ status: statusOf(answer, example), ...example }))))(
    'answers $status $name when asked to', async ({ status, name, value, mediaType }) => {
      const answered = await call(mock, operation, `__code=${status}&__example=${name}`);
      expect(answered.status).toBe(status);
      expect(answered.headers.get('content-type')).toBe(mediaType);
      if (mediaType === 'text/event-stream') expect(await answered.text()).toBe(value);
      else expect(await answered.json()).toEqual(value);
    });

  it('answers a success when nothing is asked for', async () => {
    const { ok, status } = await call(mock, operation, '');
    expect({ ok, status }).toEqual({ ok: true, status: operation.answers.some((answer) => answer.status === '201') ? 201 : 200 });
  });
});

describe('choosing an answer', () => {
  it('finds the status of an example by its name', async () => {
    expect((await get(`${SESSIONS}?__example=invalidCursor`)).status).toBe(400);
    expect(await (await get(`${SESSIONS}?__example=empty`)).json()).toEqual({ items: [] });
  });

  it.each([405, 408, 417, 431, 500])('finds the problem of a status that has no answer of its own: %d', async (status) => {
    const answered = await get(`${SESSIONS}?__code=${status}`);
    expect([answered.status, (await answered.json()).status]).toEqual([status, status]);
  });

  it('takes a Prefer header too', async () => {
    const answered = await get(SESSIONS, { ...AUTHORIZATION, prefer: 'code=503, example=issuerUnavailable' });
    expect(await answered.json()).toMatchObject(problem('issuer-unavailable', 503));
    expect(answered.headers.get('retry-after')).toBe('2');
  });

  it.each([['__example=emtpy', '/query/__example', 'sessions, more, empty'], ['__code=418', '/query/__code', '200, 400'], ['__delay=99999', '/query/__delay', '10000']])(
    'refuses %s and says what there is', async (query, pointer, detail) => {
      const answered = await get(`${SESSIONS}?${query}`);
      expect(answered.status).toBe(400);
      expect(await answered.json()).toMatchObject({ ...problem('invalid-request', 400), errors: [{ pointer, detail: expect.stringContaining(detail) }] });
    });

  it('waits when told to, refusals included', async () => {
    for (const path of [`${SESSIONS}?__delay=120`, `${SESSIONS}?__delay=120&limit=0`]) {
      const started = performance.now();
      await get(path);
      expect(performance.now() - started).toBeGreaterThanOrEqual(115); // timers may fire a little early
    }
  });

  it('waits before every answer when it was started so, and as the call says where it does', async () => {
    const slow = await startMock({ delay: 120 });
    const timed = async (prefer: string) => {
      const started = performance.now();
      expect((await fetch(slow.url + SESSIONS, { headers: { ...AUTHORIZATION, prefer } })).status).toBe(200);
      return performance.now() - started;
    };
    expect(await timed('')).toBeGreaterThanOrEqual(115);
    expect(await timed('delay=300')).toBeGreaterThanOrEqual(295);
    await slow.close();
  });

  it('answers a dry run as one, unless something else is asked for', async () => {
    const revoke = operations.find(({ id }) => id === 'revokeSessions') as Operation; // it is the one that has dry runs
    expect(await (await call(mock, revoke, 'dryRun=true')).json()).toMatchObject({ disconnectedCount: 0, matchedCount: expect.any(Number) });
    expect(await (await call(mock, revoke, 'dryRun=false')).json()).not.toHaveProperty('matchedCount');
    expect((await call(mock, revoke, 'dryRun=true&__code=409')).status).toBe(409);
  });

  it('does not pass off an example that breaks the contract', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rollcall-mock-'));
    await writeFile(join(folder, 'broken.yaml'), (await readFile(CONTRACT, 'utf8')).replace('disconnectedCount: 42', 'disconnectedCount: many'));
    const broken = await startMock({ spec: join(folder, 'broken.yaml') });
    try {
      const revoke = operations.find(({ id }) => id === 'revokeSessions') as Operation; // the sentence above is about it
      expect((await call(broken, revoke, '__example=revoked')).status).toBe(500);
      expect((await call(broken, revoke, '__example=preview')).status).toBe(200);
    } finally {
      await broken.close();
      await rm(folder, { recursive: true });
    }
  });
});

describe('npm run mock', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('says what it is, and leaves at once on %s', async (signal) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../../server/dev/mock.ts', import.meta.url)), '--port', '0']);
    let printed = '';
    for await (const chunk of child.stdout) if ((printed += chunk).includes('(allowCredential)')) break;
    const [first, second] = printed.split('\n');
    const url = /^Rollcall mock on (http:\/\/127\.0\.0\.1:\d+)$/.exec(first ?? '')?.[1] ?? '';
    expect(second).toMatch(/stateless/);
    const hanging = fetch(`${url}${SESSIONS}?__delay=10000`, { headers: AUTHORIZATION }).catch(() => 'cut');
    expect((await fetch(url + SESSIONS, { headers: AUTHORIZATION })).status).toBe(200);
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(await hanging).toBe('cut');
  });

  it('says what to do about a port that is taken', async () => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../../server/dev/mock.ts', import.meta.url)), '--port', new URL(mock.url).port]);
    let said = '';
    for await (const chunk of child.stderr) said += chunk;
    expect(said).toBe('The mock cannot start: its port is taken; --port chooses another\n');
  });
});
