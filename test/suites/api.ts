// What every implementation of the contract does, whoever implements it: the mock and the server run these same tests.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contract, operations } from '../contract/contract.ts';
import { operation, undocumented } from '../support/answers.ts';

export interface Implementation {
  url: string;
  /** Good for every operation. */
  token: string;
  /** Whether what was sent is there afterwards. Where it is not, an answer may be any that the contract documents. */
  stateful: boolean;
  close(): Promise<void>;
}

export interface Asked { path?: Record<string, string>; query?: string; body?: unknown; headers?: Record<string, string>; token?: string | null }
export interface Answered { status: number; headers: Headers; body: any } // what the operation answers; the suite says what it expects of it

const ABSENT = '0199ffff-ffff-7fff-8fff-ffffffffffff';
const EXAMPLE_IDS = { applicationId: ABSENT, sessionId: ABSENT, credentialId: 'sid:absent' };

export function apiSuite(name: string, start: () => Promise<Implementation>): void {
  describe(name, () => {
    let api: Implementation;
    const visited = new Set<string>();
    beforeAll(async () => { api = await start(); });
    afterAll(() => api.close());

    /** Makes one call, and holds the answer against the contract. */
    async function call(id: string, { path = {}, query = '', body, headers = {}, token = api.token }: Asked = {}): Promise<Answered> {
      const { method, path: template } = operation(id);
      const target = template.replace(/\{(\w+)\}/g, (_, parameter: string) => encodeURIComponent(path[parameter] ?? ''));
      const gone = new AbortController();
      const response = await fetch(api.url + target + query, {
        method: method.toUpperCase(), signal: gone.signal,
        headers: { 'x-request-id': 'suite.1', ...(token !== null && { authorization: `Bearer ${token}` }), ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const type = response.headers.get('content-type') ?? '';
      const answered = { status: response.status, headers: response.headers, body: /json/.test(type) ? await response.json() : undefined };
      gone.abort(); // a stream would not end
      expect(undocumented(id, { status: response.status, type, body: answered.body })).toEqual([]);
      const requestId = response.headers.get('x-request-id');
      expect(requestId).toMatch(api.stateful ? /^suite\.1$/ : /^[\w.-]{1,64}$/);
      expect(response.headers.get('cache-control')).toBe('no-store');
      if (response.status >= 400) expect(answered.body).toMatchObject({ status: response.status, requestId });
      for (const [header, { required }] of headersOf(id, response.status)) if (required) expect(response.headers.has(header), header).toBe(true);
      visited.add(`${id} ${response.status}`);
      return answered;
    }

    /** The same, where the contract leaves no doubt about the answer to one who remembers. */
    async function succeed(id: string, status: number, asked?: Asked): Promise<any> { // as in Answered
      const answered = await call(id, asked);
      if (api.stateful) expect({ id, status: answered.status, body: answered.body }).toMatchObject({ id, status });
      else expect(answered.status).toBeLessThan(300);
      return answered.body;
    }

    const makeApplication = async (): Promise<string> => (await succeed('createApplication', 201, { body: { name: 'Suite' } })).application.id;
    const connect = async (applicationId: string, body?: object): Promise<string> => (await succeed('createSession', 201, { path: { applicationId }, body })).session.id;

    /** Each visits the successes of one operation. */
    const visits: Record<string, () => Promise<void>> = {
      async createApplication() { await makeApplication(); },
      async listApplications() {
        await makeApplication();
        const { items } = await succeed('listApplications', 200, { query: '?limit=1' });
        if (api.stateful) expect(items).toHaveLength(1);
      },
      async getApplication() { await succeed('getApplication', 200, { path: { applicationId: await makeApplication() } }); },
      async deleteApplication() { await succeed('deleteApplication', 200, { path: { applicationId: await makeApplication() } }); },
      async createSession() {
        const applicationId = await makeApplication(), body = { externalId: 'one', clientInfo: { name: 'suite', nested: { deep: [1, null] } } };
        const first = await connect(applicationId, body);
        const again = await succeed('createSession', 200, { path: { applicationId }, body });
        if (api.stateful) expect(again.session.id).toBe(first);
      },
      async listSessions() {
        const applicationId = await makeApplication();
        for (let made = 0; made < 2; made++) await connect(applicationId);
        const first = await succeed('listSessions', 200, { path: { applicationId }, query: '?limit=1&status=all&derivedStatus=active,idle&includeInactive=true' });
        if (api.stateful) {
          const second = await succeed('listSessions', 200, { path: { applicationId }, query: `?derivedStatus=active,idle&cursor=${first.nextCursor}` });
          expect(second).toEqual({ items: [expect.objectContaining({ agentId: applicationId })] });
        }
      },
      async getSession() {
        const applicationId = await makeApplication(), sessionId = await connect(applicationId, { hostname: null, tokenExpiresAt: '2026-01-01T00:00:00Z' });
        await succeed('getSession', 200, { path: { applicationId, sessionId } });
      },
      async getSessionCounts() { await succeed('getSessionCounts', 200, { path: { applicationId: await makeApplication() } }); },
      async recordHeartbeats() {
        const applicationId = await makeApplication(), sessionId = await connect(applicationId);
        const result = await succeed('recordHeartbeats', 200, { path: { applicationId }, body: { heartbeats: [{ sessionId }, { sessionId: ABSENT }] } });
        if (api.stateful) expect(result).toEqual({ accepted: 1, ended: [{ sessionId: ABSENT, reason: 'unknown' }] });
      },
      async endSession() {
        const applicationId = await makeApplication(), sessionId = await connect(applicationId);
        for (let twice = 0; twice < 2; twice++) await succeed('endSession', 200, { path: { applicationId, sessionId } });
      },
      async revokeSession() {
        const applicationId = await makeApplication(), sessionId = await connect(applicationId);
        for (const disconnectedCount of [1, 0]) {
          const result = await succeed('revokeSession', 200, { path: { applicationId, sessionId } });
          if (api.stateful) expect(result).toEqual({ success: true, disconnectedCount });
        }
      },
      async revokeSessions() {
        const applicationId = await makeApplication();
        await connect(applicationId, { userId: 'ada' });
        const preview = await succeed('revokeSessions', 200, { path: { applicationId }, query: '?userId=ada&dryRun=true' });
        const result = await succeed('revokeSessions', 200, { path: { applicationId } });
        if (api.stateful) expect([preview, result]).toEqual([{ success: true, disconnectedCount: 0, matchedCount: 1 }, { success: true, disconnectedCount: 1 }]);
      },
      async listRevocations() {
        const applicationId = await makeApplication();
        await succeed('revokeSessions', 200, { path: { applicationId }, query: '?lastActiveBefore=2026-01-01T00:00:00Z' });
        const { items } = await succeed('listRevocations', 200, { path: { applicationId } });
        if (api.stateful) expect(items).toHaveLength(1);
      },
      async listRevokedCredentials() {
        const applicationId = await makeApplication();
        await succeed('revokeSession', 200, { path: { applicationId, sessionId: await connect(applicationId, { credentialId: 'grant' }) } });
        const { items } = await succeed('listRevokedCredentials', 200, { path: { applicationId } });
        if (api.stateful) expect(items).toHaveLength(1);
      },
      async allowCredential() {
        const applicationId = await makeApplication();
        await succeed('revokeSession', 200, { path: { applicationId, sessionId: await connect(applicationId, { credentialId: 'grant/1 ü' }) } });
        await succeed('allowCredential', 200, { path: { applicationId, credentialId: 'grant/1 ü' } });
        const again = await call('allowCredential', { path: { applicationId, credentialId: 'grant/1 ü' } });
        if (api.stateful) expect(again.status).toBe(404);
      },
      async streamSessionEvents() {
        const applicationId = await makeApplication(), sessionId = await connect(applicationId);
        await succeed('streamSessionEvents', 200, { path: { applicationId, sessionId } });
      },
      async streamApplicationEvents() { await succeed('streamApplicationEvents', 200, { path: { applicationId: await makeApplication() } }); },
    };

    describe.each(operations)('$id', ({ id, path: template, parameters, body }) => {
      const path = EXAMPLE_IDS;
      const sent = body?.required ? { body: {} } : {};

      it('answers as the contract documents', async () => {
        expect(Object.keys(visits), 'a visit for each operation').toContain(id);
        await visits[id]!(); // by the line above
      });

      it('is 401 without a token, whatever else is wrong', async () => {
        for (const headers of [{}, { authorization: 'Basic YTpi' }, { authorization: 'Bearer' }] as Record<string, string>[]) {
          const answered = await call(id, { path: { applicationId: 'x', sessionId: 'x', credentialId: 'x' }, query: '?nonsense=1', token: null, headers });
          expect(answered.body).toMatchObject({ type: '/docs/errors#unauthorized', detail: 'Send one as Authorization: Bearer <token>.' });
          expect(answered.headers.get('www-authenticate')).toBe('Bearer realm="rollcall"');
        }
      });

      it('is 400 for what it does not know in the query', async () => {
        const { body } = await call(id, { ...sent, path, query: '?nonsense=1' });
        expect(body).toMatchObject({ type: '/docs/errors#invalid-request', errors: expect.arrayContaining([{ pointer: '/query/nonsense', detail: 'is not a parameter of this operation' }]) });
      });

      it.each(parameters.filter((parameter) => parameter.in === 'path' && parameter.name !== 'credentialId').map((parameter) => parameter.name))('is 400 for a malformed %s', async (parameter) => {
        for (const odd of ['x', ABSENT.slice(1), `${ABSENT}0`, 'null']) {
          const { body } = await call(id, { ...sent, path: { ...path, [parameter]: odd } });
          expect(body).toMatchObject({ type: '/docs/errors#invalid-request', errors: expect.arrayContaining([expect.objectContaining({ pointer: `/path/${parameter}` })]) });
        }
      });

      it('is 404 beside its path', async () => {
        for (const target of [`${template}/and/more/of/it`, template.replace('applications', 'Applications'), `${template}/`]) {
          const response = await fetch(api.url + target.replace(/\{\w+\}/g, ABSENT), { headers: { authorization: `Bearer ${api.token}` } });
          expect(response.headers.get('content-type')).toBe('application/problem+json');
          expect(await response.json()).toMatchObject({ type: '/docs/errors#not-found', status: 404 });
        }
      });
    });

    it.each(Object.keys(contract.paths ?? {}))('%s is 405 for other methods, and says which it takes', async (template) => {
      const takes = operations.filter(({ path }) => path === template).flatMap(({ method }) => method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]);
      for (const method of ['PUT', 'PATCH']) {
        const response = await fetch(api.url + template.replace(/\{\w+\}/g, ABSENT), { method });
        expect(await response.json()).toMatchObject({ type: '/docs/errors#method-not-allowed', status: 405 });
        expect(response.headers.get('allow')?.split(', ').sort()).toEqual([...takes, 'OPTIONS'].sort());
      }
    });

    it('was asked for every success that the contract documents', () => {
      if (!api.stateful) return;
      const documented = operations.flatMap(({ id, answers }) => answers.filter(({ status }) => status.startsWith('2')).map(({ status }) => `${id} ${status}`));
      expect(documented.filter((success) => !visited.has(success))).toEqual([]);
    });
  });
}

const headersOf = (id: string, status: number) => Object.entries(operation(id).answers.find((answer) => answer.status === String(status))?.response.headers ?? {})
  .map(([name, header]) => [name, header as { required?: boolean }] as const); // the references were resolved when the contract was generated, or say nothing here
