// Metrics that cannot lie: each is held against what was done.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../server/config.ts';
import { createLog } from '../../server/log.ts';
import { measuredDatabase } from '../../server/measured.ts';
import { createMetrics } from '../../server/metrics.ts';
import { startService } from '../../server/service.ts';
import { statements } from '../../server/store/database.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { StoreUnavailable } from '../../server/store/store.ts';
import { scrape, type Scrape } from '../support/metrics.ts';
import { raw } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { openStream, type TestStream } from '../support/stream.ts';

let test: TestService, app: string, token: string, metricsUrl: string;
beforeAll(async () => {
  test = await startTestService({ env: { METRICS_PORT: '0' } });
  metricsUrl = test.service.metricsUrl!; // there is a port
  app = await test.application();
  token = await test.token();
});
afterAll(() => test.close());

/** What has changed in the meantime, once it is what it must be. */
async function changed(before: Scrape, expected: [name: string, labels: Record<string, string>, by: number][]): Promise<void> {
  await vi.waitFor(async () => {
    const after = await scrape(metricsUrl);
    expect(expected.map(([name, labels]) => [name, labels, after.value(name, labels) - before.value(name, labels)])).toEqual(expected);
  }, { timeout: 5_000 });
}
const connect = async (body: object = {}): Promise<string> => (await test.call('POST', `/applications/${app}/sessions`, { body })).body.session.id;
const streamOf = (path: string): Promise<TestStream> => openStream(`${test.url}/api/v1/applications/${app}${path}`, token);

describe('requests', () => {
  it('are counted however many there are between two scrapes, and once', async () => {
    const metrics = createMetrics({ version: '0', store: 'sqlite', isReady: async () => true });
    for (let request = 0; request < 1_201; request++) metrics.requestOver('getSession', request % 4 ? 200 : 404, 0.002);
    metrics.requestOver('listSessions', 'aborted', 3);
    for (let scrapes = 0; scrapes < 2; scrapes++) {
      const text = await metrics.read();
      for (const line of ['requests_total{operation="getSession",status="200"} 900', 'requests_total{operation="getSession",status="404"} 301', 'requests_total{operation="listSessions",status="aborted"} 1',
        'request_duration_seconds_bucket{le="0.0025",operation="getSession"} 1201', 'request_duration_seconds_bucket{le="0.001",operation="getSession"} 0', 'request_duration_seconds_sum{operation="listSessions"} 3']) expect(text).toContain(`\nrollcall_${line}\n`);
    }
  });

  it('are counted, each once, by operation and status, with their duration', async () => {
    const before = await scrape(metricsUrl);
    const id = await connect();
    for (let i = 0; i < 7; i++) await test.call('GET', `/applications/${app}/sessions/${id}`);
    for (let i = 0; i < 3; i++) await test.call('GET', `/applications/${app}/sessions/01890a5d-ac96-774b-bcce-b302099a8057`);
    for (let i = 0; i < 2; i++) await test.call('GET', `/applications/${app}/sessions`, { token: `${token}x` });
    await test.call('GET', '/nowhere');
    await raw(test.url, { target: '/livez' });
    await changed(before, [
      ['rollcall_requests_total', {}, 15],
      ['rollcall_requests_total', { operation: 'createSession', status: '201' }, 1],
      ['rollcall_requests_total', { operation: 'getSession', status: '200' }, 7],
      ['rollcall_requests_total', { operation: 'getSession', status: '404' }, 3],
      ['rollcall_requests_total', { operation: 'listSessions', status: '401' }, 2],
      ['rollcall_requests_total', { operation: 'unmatched', status: '404' }, 1],
      ['rollcall_requests_total', { operation: 'livez', status: '200' }, 1],
      ['rollcall_request_duration_seconds_count', { operation: 'getSession' }, 10],
      ['rollcall_request_duration_seconds_bucket', { operation: 'getSession', le: '+Inf' }, 10],
      ['rollcall_refusals_total', { code: 'unauthorized' }, 2],
      ['rollcall_refusals_total', { code: 'not-found' }, 4],
      ['rollcall_refusals_total', {}, 6],
    ]);
  });

  it('of callers who left are told apart', async () => {
    const before = await scrape(metricsUrl), { store } = test.service, { getSession } = store;
    const gone = new AbortController();
    store.getSession = () => { gone.abort(); return new Promise(() => {}); };
    try {
      await fetch(`${test.url}/api/v1/applications/${app}/sessions/01890a5d-ac96-774b-bcce-b302099a8057`, { headers: { authorization: `Bearer ${token}` }, signal: gone.signal }).catch(() => {});
    } finally { store.getSession = getSession; }
    await changed(before, [['rollcall_requests_total', { operation: 'getSession', status: 'aborted' }, 1], ['rollcall_requests_total', {}, 1]]);
  });
});

describe('revokes', () => {
  it('are counted by kind, with those they ended; a dry run and a refused one are none', async () => {
    await test.call('DELETE', `/applications/${app}/sessions`);
    const before = await scrape(metricsUrl);
    const [one] = await Promise.all([connect(), connect({ userId: 'ada' }), connect({ userId: 'ada' }), connect(), connect()]);
    const revoke = (path: string) => test.call('DELETE', `/applications/${app}/${path}`);
    await revoke('sessions?dryRun=true');
    expect((await revoke('sessions?maxCount=2')).status).toBe(409);
    expect((await revoke('sessions/01890a5d-ac96-774b-bcce-b302099a8057')).status).toBe(404);
    await revoke(`sessions/${one}`);
    await revoke('sessions?userId=ada&maxCount=2');
    await revoke('sessions');
    await revoke('sessions');
    await changed(before, [
      ['rollcall_revocations_total', { kind: 'one' }, 1], ['rollcall_revoked_sessions_total', { kind: 'one' }, 1],
      ['rollcall_revocations_total', { kind: 'filtered' }, 1], ['rollcall_revoked_sessions_total', { kind: 'filtered' }, 2],
      ['rollcall_revocations_total', { kind: 'all' }, 2], ['rollcall_revoked_sessions_total', { kind: 'all' }, 2],
      ['rollcall_revocations_total', {}, 4], ['rollcall_revoked_sessions_total', {}, 5],
    ]);
  });

  it('and their ways back', async () => {
    const before = await scrape(metricsUrl);
    await connect({ credentialId: 'sid:metrics' });
    await test.call('DELETE', `/applications/${app}/sessions?maxCount=5`);
    await test.service.store.settleRevocations(app);
    expect((await test.call('DELETE', `/applications/${app}/revoked-credentials/sid:metrics`)).status).toBe(200);
    expect((await test.call('DELETE', `/applications/${app}/revoked-credentials/sid:metrics`)).status).toBe(404);
    await changed(before, [['rollcall_revocations_total', { kind: 'credential_allowed' }, 1]]);
  });

  it('have the delay of each event that was delivered here, and of no other', async () => {
    const ids = await Promise.all([connect(), connect({ userId: 'bob' }), connect({ userId: 'bob' }), connect()]);
    const before = await scrape(metricsUrl);
    await test.call('DELETE', `/applications/${app}/sessions/${await connect()}`); // nobody listens
    const watching = await streamOf('/events'), client = await streamOf(`/sessions/${ids[3]}/events`);
    await test.call('POST', `/applications/${app}/sessions/${ids[0]}/end`); // an end is no revoke
    await test.call('DELETE', `/applications/${app}/sessions?userId=bob`);
    await test.call('DELETE', `/applications/${app}/sessions`);
    await client.ended;
    await vi.waitFor(() => expect(watching.events.map(({ event }) => event)).toEqual(['session.disconnected', 'session.disconnected', 'session.disconnected', 'sessions.revoked']));
    await changed(before, [['rollcall_revoke_event_delay_seconds_count', {}, 3], ['rollcall_revoke_event_delay_seconds_bucket', { le: '0.001' }, 3]]);
    watching.close();
  });
});

describe('streams', () => {
  it('are counted while they are open, and by their end; then none is left', async () => {
    const [one, other] = [await connect(), await connect()];
    await vi.waitFor(async () => expect((await scrape(metricsUrl)).value('rollcall_streams_open')).toBe(0));
    const before = await scrape(metricsUrl);
    const streams = await Promise.all([streamOf('/events'), streamOf(`/sessions/${one}/events`), streamOf(`/sessions/${other}/events`)]);
    expect((await streamOf('/sessions/01890a5d-ac96-774b-bcce-b302099a8057/events')).response.status).toBe(404);
    await changed(before, [['rollcall_streams_open', { kind: 'session' }, 2], ['rollcall_streams_open', { kind: 'application' }, 1]]);
    await test.call('DELETE', `/applications/${app}/sessions/${one}`);
    streams[0]!.close();
    streams[2]!.close();
    await changed(before, [
      ['rollcall_streams_open', {}, 0], ['rollcall_streams_closed_total', {}, 3],
      ['rollcall_streams_closed_total', { kind: 'session', reason: 'revoked' }, 1], ['rollcall_streams_closed_total', { kind: 'session', reason: 'client_gone' }, 1],
      ['rollcall_streams_closed_total', { kind: 'application', reason: 'client_gone' }, 1],
      ['rollcall_requests_total', { operation: 'streamSessionEvents', status: '200' }, 2], ['rollcall_requests_total', { operation: 'streamApplicationEvents', status: '200' }, 1],
    ]);
  });
});

describe('what background work says', () => {
  it('is how many sessions there are of each status, what is behind, and when each duty was done', async () => {
    const working = await startTestService({ env: { METRICS_PORT: '0' }, background: true });
    try {
      const url = working.service.metricsUrl!; // as above
      await vi.waitFor(async () => {
        const now = await scrape(url);
        for (const duty of ['streams', 'events', 'maintain', 'forget', 'survey']) expect(now.value('rollcall_background_last_success_timestamp_seconds', { duty })).toBe(working.clock.now() / 1000);
        expect(now.value('rollcall_background_failures_total')).toBe(0);
        expect(now.value('rollcall_background_backlog_age_seconds')).toBe(0);
        expect(now.text).toContain('rollcall_sessions{status="active"} 0');
      }, { timeout: 10_000 });
    } finally { await working.close(); }
  });

  it('counts the rounds that failed', async () => {
    const working = await startTestService({ env: { METRICS_PORT: '0' }, background: true });
    try {
      working.service.hub.poll = () => Promise.reject(new Error('no'));
      await vi.waitFor(async () => expect((await scrape(working.service.metricsUrl!)).value('rollcall_background_failures_total', { duty: 'events' })).toBeGreaterThanOrEqual(1), { timeout: 15_000 }); // as above
    } finally { await working.close(); }
  });
});

describe('the store', () => {
  it('is measured, and counted when it is out of reach', async () => {
    const before = await scrape(metricsUrl);
    await connect();
    await changed(before, [['rollcall_store_transaction_duration_seconds_count', {}, 1], ['rollcall_store_errors_total', {}, 0]]);

    const directory = mkdtempSync(join(tmpdir(), 'rollcall-measured-')), metrics = createMetrics({ version: '0', store: 'sqlite', isReady: async () => true });
    const db = measuredDatabase(openSqlite(directory), metrics), one = statements('metrics.test')('select 1 as one');
    expect(await db.first(one)).toEqual({ one: 1 });
    await expect(db.transaction(() => Promise.reject(new Error('ours')))).rejects.toThrow('ours');
    await db.close();
    for (const call of [() => db.first(one), () => db.all(one), () => db.transaction(() => Promise.resolve())]) await expect(call()).rejects.toThrow(StoreUnavailable);
    expect((await metrics.storeErrors.get()).values.map(({ labels: { operation }, value }) => [operation, value])).toEqual([['read', 2], ['write', 1]]);
    rmSync(directory, { recursive: true });
  });
});

describe('the metrics port', () => {
  it('serves metrics and that it lives, to GET, and nothing else', async () => {
    const page = await raw(metricsUrl, { target: '/metrics?x=1' });
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(await raw(metricsUrl, { target: '/livez' })).toMatchObject({ status: 200, body: { status: 'ok' } });
    for (const target of ['/', '/readyz', '/metrics/', '/METRICS', '//metrics', '/api/v1/applications', '/docs', '/metrics%00', '/../metrics']) expect([target, (await raw(metricsUrl, { target })).status]).toEqual([target, 404]);
    for (const method of ['POST', 'DELETE', 'OPTIONS']) expect((await raw(metricsUrl, { method, target: '/metrics' })).status).toBe(404);
  });

  it('is off unless asked for, and on loopback unless told otherwise', async () => {
    const config = readConfig({});
    expect([config.METRICS_PORT, config.METRICS_HOST]).toEqual([undefined, '127.0.0.1']);
    expect(metricsUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const without = await startTestService();
    expect(without.service.metricsUrl).toBeUndefined();
    await without.close();
    expect(() => readConfig({ METRICS_PORT: 'x' })).toThrow('METRICS_PORT must be a whole number');
  });

  it('that is taken is named, and nothing is left listening', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo; // it listens on TCP
    await expect(startService(readConfig({ PORT: '0', METRICS_PORT: String(port), DATA_DIR: test.directory }), { log: createLog('silent') })).rejects.toThrow(`METRICS_PORT ${port} on 127.0.0.1 is taken; choose another`);
    other.close();
  });

  it('carries no name of an application, a user, or a session', async () => {
    const id = await connect({ userId: 'a-name', hostname: 'a-host', name: 'a-title' });
    await test.call('GET', `/applications/${app}/sessions/${id}`);
    const { text } = await scrape(metricsUrl);
    for (const secret of [app, id, 'a-name', 'a-host', 'a-title', 'tester', token.split('.')[2]!]) expect(text).not.toContain(secret);
    expect(text.split('\n').length).toBeLessThan(1_500);
  });

  it('says of every metric what it is for, in units that its name tells', async () => {
    const { text } = await scrape(metricsUrl);
    const names = [...text.matchAll(/^# HELP (rollcall_\w+) (.+)$/gm)];
    expect(names.length).toBeGreaterThan(14);
    for (const [, name = '', help = ''] of names) {
      expect(help).toMatch(/^[A-Z1].{30,}\.$/);
      if (new RegExp(`^# TYPE ${name} counter$`, 'm').test(text)) expect(name).toMatch(/_total$/);
      if (new RegExp(`^# TYPE ${name} histogram$`, 'm').test(text)) expect(name).toMatch(/_seconds$/);
    }
    for (const name of ['nodejs_eventloop_lag_p99_seconds', 'process_resident_memory_bytes', 'process_open_fds', 'nodejs_heap_size_used_bytes', 'nodejs_gc_duration_seconds']) expect(text).toContain(`# HELP ${name} `);
  });
});

describe('/readyz', () => {
  it('says ready by 200 and in a gauge', async () => {
    expect(await raw(test.url, { target: '/readyz' })).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect((await scrape(metricsUrl)).value('rollcall_ready')).toBe(1);
  });

  it('says why not, by a code and in words; /livez stays, and asks no store', async () => {
    const { store } = test.service, { check } = store;
    let asked = 0;
    store.check = () => { asked++; return Promise.reject(new StoreUnavailable('disk I/O error')); };
    try {
      await vi.waitFor(async () => expect(await raw(test.url, { target: '/readyz' })).toMatchObject({ status: 503, body: { status: 'unavailable', reasons: [{ code: 'store-unreachable', detail: 'the store is out of reach' }] } }), { timeout: 3_000 });
      expect((await scrape(metricsUrl)).value('rollcall_ready')).toBe(0);
      asked = 0;
      const answers = await Promise.all(Array.from({ length: 50 }, () => raw(test.url, { target: '/livez' })));
      expect([answers.every(({ status }) => status === 200), asked]).toEqual([true, 0]);
      expect(test.logged.filter(({ msg }) => msg === 'not ready')).toEqual([expect.objectContaining({ level: 40, reasons: ['store-unreachable'] })]);
    } finally { store.check = check; }
  });

  it('asks the store once a second, however often it is asked', async () => {
    const { store } = test.service, { check } = store;
    let asked = 0;
    store.check = () => { asked++; return check(); };
    try {
      const started = performance.now();
      for (let i = 0; i < 100; i++) await raw(test.url, { target: '/readyz' });
      expect(asked).toBeLessThanOrEqual(1 + (performance.now() - started) / 1_000);
    } finally { store.check = check; }
  });
});
