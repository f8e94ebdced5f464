// Traces, with an SDK loaded as an operator would: before the server, in its process.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { mintToken, parseSigningKey } from '../../server/keys.ts';
import { findTracing } from '../../server/tracing.ts';
import { ask } from '../support/instances.ts';
import { EVERY_SCOPE, ORGANIZATION } from '../support/service.ts';

interface Span { name: string; kind: number; attributes: Record<string, unknown>; status: { code: number }; parentId?: string; traceId: string; spanId: string }

const root = new URL('../..', import.meta.url).pathname, SERVER = 1, ERROR = 2;
const directory = mkdtempSync(join(tmpdir(), 'rollcall-tracing-'));
const spans: Span[] = [], logged: Record<string, unknown>[] = [];
let child: ChildProcess, url: string, token: string;

beforeAll(async () => {
  child = spawn(process.execPath, ['--import', './test/support/tracing.mjs', 'server/main.ts'], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], PORT: '0', DATA_DIR: directory } });
  createInterface(child.stderr!).on('line', (line) => { if (line.startsWith('span ')) spans.push(JSON.parse(line.slice(5))); }); // both are pipes
  createInterface(child.stdout!).on('line', (line) => logged.push(JSON.parse(line)));
  await vi.waitFor(() => { url = logged.find(({ msg }) => msg === 'listening')!['url'] as string; }, { timeout: 30_000 }); // else it throws, and is tried again
  const key = await parseSigningKey(JSON.parse(readFileSync(join(directory, 'signing-key.json'), 'utf8')));
  token = await mintToken(key, { organizationId: ORGANIZATION, scopes: EVERY_SCOPE, subject: 'tester', ttlMs: 3_600_000, audience: 'rollcall', now: Date.now });
});
afterAll(async () => {
  const over = new Promise((resolve) => child.once('exit', resolve));
  if (child.exitCode === null && child.kill('SIGTERM')) await over;
  rmSync(directory, { recursive: true, force: true });
});

const spansOf = (traceId: string, count: number) => vi.waitFor(() => {
  const found = spans.filter((span) => span.traceId === traceId);
  expect(found).toHaveLength(count);
  return found;
}, { timeout: 5_000 });

describe('a request', () => {
  it("is a span of the caller's trace, with its transactions below it, and its trace is in the log", async () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c', callerSpan = 'b7ad6b7169203331';
    const { status } = await fetch(`${url}/api/v1/applications`, {
      method: 'POST', body: '{"name":"x"}', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', traceparent: `00-${traceId}-${callerSpan}-01`, 'x-request-id': 'traced' },
    });
    expect(status).toBe(201);
    const found = await spansOf(traceId, 2);
    const request = found.find(({ kind }) => kind === SERVER)!, transaction = found.find(({ kind }) => kind !== SERVER)!; // there are two
    expect(request).toMatchObject({ name: 'POST /api/v1/applications', parentId: callerSpan, status: { code: 0 }, attributes: {
      'http.request.method': 'POST', 'http.route': '/api/v1/applications', 'http.response.status_code': 201, 'rollcall.operation_id': 'createApplication' } });
    expect(transaction).toMatchObject({ name: 'rollcall.store.transaction', parentId: request.spanId });
    await vi.waitFor(() => expect(logged.filter(({ requestId }) => requestId === 'traced')).toEqual([expect.objectContaining({ trace_id: traceId })]));
  });

  it('begins a trace where the caller has none; what it says in its path is in none of them', async () => {
    const id = '01890a5d-ac96-774b-bcce-b302099a8057';
    await ask(url, token, 'GET', `/applications/${id}/sessions/${id}`, undefined, 'untraced');
    const [line] = await vi.waitFor(() => { const found = logged.filter(({ requestId }) => requestId === 'untraced'); expect(found).toHaveLength(1); return found; });
    const [span] = await spansOf(line!['trace_id'] as string, 1);
    expect(span).toMatchObject({ name: 'GET /api/v1/applications/{applicationId}/sessions/{sessionId}', attributes: { 'http.response.status_code': 404 }, status: { code: 0 } });
    expect(span).not.toHaveProperty('parentId');
    expect(JSON.stringify(spans)).not.toContain(id);
    expect(JSON.stringify(spans)).not.toContain(token.split('.')[2]);
    expect(spans.filter(({ status }) => status.code === ERROR)).toEqual([]);
  });
});

describe('without an SDK', () => {
  it('nothing is traced', () => expect(findTracing()).toBeUndefined());
});
