// Each reason that /readyz may give, by the trouble that it names; `starting`, `store-unreachable` and `storage-full` are where a database or a disk is taken away.
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it, type TestContext } from 'vitest';
import type { Duty, DutyName } from '../../server/background.ts';
import { createHealth, type Reason } from '../../server/health.ts';
import { StoreUnavailable } from '../../server/store/store.ts';
import { ask, inCI, until } from '../support/instances.ts';
import { startKeyServer } from '../support/key-server.ts';
import { createClock, startTestService, type TestService } from '../support/service.ts';
import { openStream } from '../support/stream.ts';

describe('/readyz', () => {
  // Most of the time they wait, so they wait side by side.
  const begin = async (options: Parameters<typeof startTestService>[0], onTestFinished: TestContext['onTestFinished']) => {
    const test = await startTestService(options);
    onTestFinished(() => test.close().catch(() => {})); // of a damaged store it is refused
    return test;
  };
  const ready = async ({ url }: TestService) => { const { status, body } = await ask(url, undefined, 'GET', '/readyz'); return { status, codes: (body.reasons ?? []).map(({ code }: Reason) => code) }; };
  const is = (test: TestService, ...codes: string[]) => until(async () => JSON.stringify(await ready(test)) === JSON.stringify({ status: codes.length ? 503 : 200, codes }), inCI(6_000), `/readyz says ${codes.join() || 'ok'}`, 100);
  const toldInTheLog = ({ logged }: TestService) => logged.filter(({ msg }) => msg === 'not ready' || msg === 'ready').map(({ msg, reasons }) => reasons ?? msg);

  it.concurrent('says schema-newer while the schema is of a newer version, and goes on when it is not', async ({ onTestFinished }) => {
    const test = await begin({}, onTestFinished);
    await is(test);
    const beside = new DatabaseSync(join(test.directory, 'rollcall.db'));
    const { user_version: version } = beside.prepare('pragma user_version').get() as { user_version: number };
    beside.exec(`pragma user_version = ${version + 1}`);
    await is(test, 'schema-newer');
    expect((await ask(test.url, undefined, 'GET', '/livez')).status).toBe(200);
    beside.exec(`pragma user_version = ${version}`);
    beside.close();
    await is(test);
    expect(toldInTheLog(test)).toEqual([['schema-newer'], 'ready']);
  });

  it.concurrent('says store-not-writable when nothing can be written for three seconds, and what can be read is', async ({ onTestFinished }) => {
    const test = await begin({ background: true }, onTestFinished);
    const app = `/applications/${await test.application()}`;
    const beside = new DatabaseSync(join(test.directory, 'rollcall.db'));
    beside.exec('begin immediate');
    const locked = performance.now();
    await is(test, 'store-not-writable');
    expect(performance.now() - locked).toBeGreaterThan(3_000);
    expect((await test.call('GET', `${app}/sessions`)).status).toBe(200);
    expect(await test.call('POST', `${app}/sessions`, { body: {} })).toMatchObject({ status: 503, body: { type: '/docs/errors#store-unavailable' } });
    beside.exec('rollback');
    beside.close();
    await is(test);
    expect((await test.call('POST', `${app}/sessions`, { body: {} })).status).toBe(201);
  });

  it.concurrent('says store-damaged when the files were taken away', async ({ onTestFinished }) => {
    const test = await begin({}, onTestFinished);
    const app = `/applications/${await test.application()}`;
    rmSync(join(test.directory, 'rollcall.db'));
    expect(await test.call('POST', `${app}/sessions`, { body: {} })).toMatchObject({ status: 503, body: { type: '/docs/errors#store-unavailable' } });
    await is(test, 'store-damaged');
  });

  it.concurrent("says issuer-unavailable while there are no keys, and is ready once it has been able to fetch them", async ({ onTestFinished }) => {
    const issuer = await startKeyServer(), clock = createClock();
    issuer.answer = 'error';
    const test = await begin({ clock, env: { AUTH_ISSUER: issuer.url, AUTH_JWKS_URL: `${issuer.url}/keys` } }, onTestFinished);
    await is(test, 'issuer-unavailable');
    issuer.answer = 'keys';
    clock.advance(60_000); // it is not asked again at once
    await is(test);
    await issuer.stop();
  });

  it('says shutting-down to who is still connected, and ends the streams', async () => {
    const leaving = await startTestService();
    const stream = await openStream(`${leaving.url}/api/v1/applications/${await leaving.application()}/events`, await leaving.token());
    const { hostname, port } = new URL(leaving.url), socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    let text = '';
    socket.on('data', (chunk: Buffer) => { text += chunk; });
    await new Promise((resolve) => socket.write('GET /readyz HTTP/1.1\r\nHost: here\r\n', resolve));
    await ready(leaving); // what was written before has arrived
    const closed = leaving.close();
    socket.write('\r\n');
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1.1 503 /);
    expect(text).toMatch(/\r\nconnection: close\r\n/i);
    expect(JSON.parse(text.split('\r\n\r\n')[1]!)).toEqual({ status: 'unavailable', reasons: [{ code: 'shutting-down', detail: 'the server is shutting down' }] });
    expect((await stream.ended).map(({ event }) => event)).toEqual(['server_shutdown']);
    await closed;
  });

  describe('looks at the background work', () => {
    const codes = async (given: Partial<Record<DutyName, { doneAgo?: number; failingFor?: number; failure?: unknown }>>) => {
      const now = performance.now();
      const duties = new Map(Object.entries(given).map(([name, { doneAgo = 0, failingFor, failure }]): [DutyName, Duty] =>
        [name as DutyName, { doneAt: now - doneAgo, failure, failingSince: failingFor === undefined ? undefined : now - failingFor }]));
      const health = createHealth({ check: async () => {}, duties: () => duties, canVerify: () => true, isLeaving: () => false, onChange: () => {} });
      return (await health()).map(({ code }) => code);
    };
    it.each<[string, Parameters<typeof codes>[0], string[]]>([
      ['streams that were not looked at for half a minute', { streams: { doneAgo: 30_500 } }, ['background-behind']],
      ['streams that were looked at a little less long ago', { streams: { doneAgo: 29_000 } }, []],
      ['events that were not looked for for half a minute', { events: { doneAgo: 30_500 } }, ['background-behind']],
      ['sweeping that has failed for a minute', { maintain: { failingFor: 60_500, failure: new Error('x') } }, ['background-behind']],
      ['sweeping that has failed for less', { maintain: { failingFor: 59_000, failure: new Error('x') } }, []],
      ['sweeping that takes its time', { maintain: { doneAgo: 3_600_000 }, forget: { doneAgo: 3_600_000 } }, []],
      ['writes that have failed for more than three seconds', { maintain: { failingFor: 3_500, failure: new StoreUnavailable('x') } }, ['store-not-writable']],
      ['writes that have failed for less', { maintain: { failingFor: 2_000, failure: new StoreUnavailable('x') } }, []],
      ['writes that fail for want of room', { maintain: { failingFor: 3_500, failure: new StoreUnavailable('x', { trouble: 'full' }) } }, ['storage-full']],
    ])('%s', async (_what, duties, expected) => { expect(await codes(duties)).toEqual(expected); });
  });
});
