// Every sample in the reference, and every block of the first chapter, run against a real server as a reader would run them.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { operations } from '../../docs/contract.ts';
import { sampleOf } from '../../docs/samples.ts';
import { curlIsThere } from '../support/needs.ts';
import { startTestService, type Answer, type TestService } from '../support/service.ts';

const CREDENTIAL = 'sid:9b7c2f'; // as the samples call it
const CLIENT = fileURLToPath(new URL('../../client/', import.meta.url));

interface Place { application: string; session: string; read(path?: string): Promise<any> } // the tests say what they expect of it
interface Outcome {
  /** What has to be so before. */
  before?: (place: Place) => Promise<unknown>;
  /** What happens while the sample waits: it is a stream. */
  meanwhile?: (place: Place) => Promise<unknown>;
  curl: (answer: any, place: Place) => void;
  typescript: (lines: string[], place: Place) => void;
  /** What the server says afterwards. */
  after?: (place: Place) => Promise<void>;
}

const hasCurl = curlIsThere("the documentation's calls with curl");

describe('docs/samples', () => {
  let test: TestService, folder: string;
  beforeAll(async () => {
    test = await startTestService();
    folder = mkdtempSync(join(tmpdir(), 'rollcall-samples-'));
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await test.close();
  });

  const ok = ({ status, text, body }: Answer) => { expect([200, 201], text).toContain(status); return body; };
  const cut = ({ application }: Place) => test.call('DELETE', `/applications/${application}/sessions`);
  const isOver = (reason: string) => async ({ read, session }: Place) => expect((await read(`/sessions/${session}`)).session).toMatchObject({ status: 'disconnected', disconnectReason: reason });

  const outcomes: Record<string, Outcome> = {
    listApplications: { curl: ({ items }, { application }) => expect(items[0].id).toBe(application), typescript: ([first], { application }) => expect(first).toBe(`${application} Test`) },
    createApplication: { curl: ({ application }) => expect(application.name).toBe('Billing MCP server'), typescript: ([id]) => expect(id).toMatch(/^[0-9a-f-]{36}$/) },
    getApplication: { curl: (answer, place) => expect(answer.application.id).toBe(place.application), typescript: ([line]) => expect(line).toBe('Test org_test') },
    deleteApplication: {
      curl: (answer) => expect(answer).toEqual({ success: true, disconnectedCount: 1 }), typescript: ([line]) => expect(line).toBe('gone; 1 cut with it'),
      after: async ({ application }) => expect((await test.call('GET', `/applications/${application}`)).status).toBe(404),
    },
    listSessions: { curl: ({ items }, { session }) => expect(items).toMatchObject([{ id: session }]), typescript: (lines, { session }) => expect(lines).toEqual([`${session} cursor active`]) },
    createSession: {
      curl: ({ session, generation }) => expect([session.name, session.userId, generation]).toEqual(['Claude Code on build-07', 'user_ada', 1]), typescript: ([line]) => expect(line).toMatch(/^[0-9a-f-]{36} Claude Code on build-07 1$/),
      after: async ({ read }) => expect((await read('/sessions?userId=user_ada')).items).toMatchObject([{ externalId: 'mcp:5f2b9c0e', clientInfo: { version: '2.1.204' } }]),
    },
    revokeSessions: { curl: (answer) => expect(answer).toEqual({ success: true, disconnectedCount: 0, matchedCount: 1 }), typescript: ([line]) => expect(line).toBe('1 thrown out') },
    getSession: { curl: (answer, { session }) => expect(answer.session.id).toBe(session), typescript: ([line]) => expect(line).toBe('cursor active never active') },
    revokeSession: { curl: (answer) => expect(answer).toEqual({ success: true, disconnectedCount: 1 }), typescript: ([line]) => expect(line).toBe('thrown out'), after: isOver('revoked') },
    endSession: { curl: ({ session }) => expect(session.disconnectReason).toBe('ended'), typescript: ([line]) => expect(line).toMatch(/^ended 20\d\d-/), after: isOver('ended') },
    streamSessionEvents: {
      meanwhile: cut, curl: (text, { session }) => expect(text).toMatch(new RegExp(`event: disconnect\ndata: \\{"sessionId":"${session}","reason":"revoked"`)),
      typescript: ([line]) => expect(line).toBe('revoked Authenticate again and create a new session.'), after: isOver('revoked'),
    },
    streamApplicationEvents: { meanwhile: cut, curl: (text) => expect(text).toMatch(/event: sessions\.revoked\ndata: \{.*"count":1\}/), typescript: (lines) => expect(lines).toEqual(['sessions.revoked']) },
    recordHeartbeats: {
      curl: (answer) => expect(answer).toEqual({ accepted: 1, ended: [] }), typescript: (lines) => expect(lines).toEqual(['1 connected']),
      after: async ({ read, session }) => expect((await read(`/sessions/${session}`)).session.lastActiveAt).toMatch(/^20/),
    },
    getSessionCounts: { curl: ({ byDerivedStatus }) => expect(byDerivedStatus).toMatchObject({ active: 1, idle: 0 }), typescript: (lines) => expect(lines).toEqual(['1 active, 0 idle', 'cursor 1']) },
    listRevocations: {
      before: cut, curl: ({ items }) => expect(items).toMatchObject([{ action: 'revokeSessions', subject: 'tester', disconnectedCount: 1 }]),
      typescript: (lines) => expect(lines).toEqual([expect.stringMatching(/^20\S+ revokeSessions tester 1$/)]),
    },
    listRevokedCredentials: {
      before: cut, curl: ({ items }) => expect(items).toMatchObject([{ credentialId: CREDENTIAL }]), typescript: (lines) => expect(lines).toEqual([expect.stringMatching(/^sid:9b7c2f 20/)]),
    },
    allowCredential: {
      before: cut, curl: (answer) => expect(answer).toEqual({ success: true }), typescript: ([line]) => expect(line).toBe('welcome again'),
      after: async ({ read }) => expect((await read('/revoked-credentials')).items).toEqual([]),
    },
  };

  it('are there for the operations of the contract, and for no others', () => {
    expect(Object.keys(outcomes).sort()).toEqual(operations.map(({ id }) => id).sort());
  });

  let place: Place, environment: Record<string, string>;
  beforeEach(async () => {
    const application = await test.application();
    const { session } = ok(await test.call('POST', `/applications/${application}/sessions`, { body: { credentialId: CREDENTIAL, clientInfo: { name: 'cursor' } } }));
    place = { application, session: session.id, read: async (path = '') => ok(await test.call('GET', `/applications/${application}${path}`)) };
    environment = { ROLLCALL_URL: test.url, ROLLCALL_TOKEN: await test.token(), ROLLCALL_APPLICATION: application, ROLLCALL_SESSION: session.id };
  });
  /** A stream is open when the server has counted it. */
  const whenOpen = async (then: () => Promise<unknown>, before: number) => { while (test.service.streams.count <= before) await new Promise((resolve) => setTimeout(resolve, 5)); await then(); };

  describe.each(Object.entries(outcomes))('%s', (id, { before, meanwhile, curl, typescript, after }) => {
    it.runIf(hasCurl)('with curl', async () => {
      await before?.(place);
      const count = test.service.streams.count;
      const shell = spawn('bash', ['-euc', sampleOf(id).curl], { env: { PATH: process.env['PATH'], ...environment }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '', said = '';
      shell.stdout.on('data', (chunk) => {
        output += chunk;
        if (output.includes('event: sessions.revoked')) process.kill(-shell.pid!); // this stream has no end: its reader leaves
      });
      shell.stderr.on('data', (chunk) => { said += chunk; });
      await Promise.all([once(shell, 'close'), meanwhile && whenOpen(() => meanwhile(place), count)]);
      curl(meanwhile ? output : JSON.parse(output || `"${said}"`), place);
      await after?.(place);
    });

    it('in TypeScript', async () => {
      await before?.(place);
      const count = test.service.streams.count, lines: string[] = [], file = join(folder, `${id}.ts`);
      // As it is published, but for where the package is.
      writeFileSync(file, sampleOf(id).typescript.replaceAll(/'@rollcall\/client(\/\w+)?'/g, (_, entry = '/index') => `'${CLIENT}${entry.slice(1)}.ts'`));
      vi.spyOn(console, 'log').mockImplementation((...words) => { lines.push(words.join(' ')); });
      for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
      try {
        await Promise.all([import(file), meanwhile && whenOpen(() => meanwhile(place), count)]);
      } finally {
        vi.restoreAllMocks();
        vi.unstubAllEnvs();
      }
      typescript(lines, place);
      await after?.(place);
    });
  });
});

describe.runIf(hasCurl)('docs/start.md', () => {
  it('leads from an empty application to a client that stays out', async () => {
    const test = await startTestService();
    try {
      const blocks = [...readFileSync(new URL('../../docs/start.md', import.meta.url), 'utf8').matchAll(/```sh\n([^]*?)```/g)].map(([, block]) => block!);
      expect(blocks.map((block) => block.split(' ', 1)[0])).toEqual(['npm', 'export', 'curl', 'export', 'curl', 'curl', 'curl', 'curl', 'curl', 'npm']);
      expect(blocks[1]!.match(/ROLLCALL_\w+/g)).toEqual(['ROLLCALL_URL', 'ROLLCALL_APPLICATION', 'ROLLCALL_TOKEN']);
      const environment: Record<string, string> = { PATH: process.env['PATH']!, ROLLCALL_URL: test.url, ROLLCALL_APPLICATION: await test.application(), ROLLCALL_TOKEN: await test.token() };
      const run = async (block: string) => (await promisify(execFile)('bash', ['-euc', block.replaceAll('\ncurl', '\necho\ncurl')], { env: environment })).stdout.trim().split('\n').map((line) => JSON.parse(line));

      const [{ session }] = await run(blocks[2]!);
      environment['ROLLCALL_SESSION'] = session.id;
      expect((await run(blocks[4]!))[0].items).toMatchObject([{ id: session.id, derivedStatus: 'active' }]);
      const listening = promisify(execFile)('bash', ['-euc', blocks[5]!], { env: environment });
      while (test.service.streams.count === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await run(blocks[6]!)).toEqual([{ success: true, disconnectedCount: 0, matchedCount: 1 }, { success: true, disconnectedCount: 1 }]);
      expect((await listening).stdout).toMatch(/event: disconnect\ndata: .*"reason":"revoked"/);
      expect((await run(blocks[7]!))[0]).toMatchObject({ status: 403, type: '/docs/errors#credential-revoked' });
      expect((await run(blocks[8]!))[0].items).toMatchObject([{ filter: { userId: 'user_ada' }, disconnectedCount: 1 }]);
    } finally {
      await test.close();
    }
  });
});
