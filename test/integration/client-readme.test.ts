// The examples of the client's README, each run as it is printed, on a real service.
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import * as connecting from '../../client/connect.ts';
import * as events from '../../client/events.ts';
import * as main from '../../client/index.ts';
import * as testing from '../../client/testing.ts';
import { startTestService, type TestService } from '../support/service.ts';

const README = readFileSync(new URL('../../client/README.md', import.meta.url), 'utf8');
const PACKAGE: Record<string, object> = { '@rollcall/client': main, '@rollcall/client/events': events, '@rollcall/client/connect': connecting, '@rollcall/client/testing': testing };

/** The code under each heading. */
const examples = README.split(/^## /m).flatMap((section, index) => {
  const heading = index === 0 ? 'The first' : section.slice(0, section.indexOf('\n'));
  return [...section.matchAll(/```ts\n(.*?)```/gs)].map(([, code = ''], at) => ({ name: at === 0 ? heading : `${heading}, ${at + 1}`, code }));
});

const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as FunctionConstructor; // it has no name of its own

/** Runs it with what its application would have around it. Imports become what the package exports. */
async function runExample(name: string, around: Record<string, unknown>): Promise<unknown> {
  const example = examples.find((one) => one.name === name);
  if (!example) throw new Error(`there is no example ${name}`);
  const imported: Record<string, unknown> = {};
  const body = example.code.replace(/^import \{ (.*) \} from '(.*)';$/gm, (_line, names: string, from: string) => {
    for (const one of names.split(', ')) imported[one] = (PACKAGE[from] as Record<string, unknown>)[one]; // an unknown one fails where it is used
    return '';
  });
  const known = { ProblemError: main.ProblemError, ...around, ...imported };
  // In a function of its own: one may return, and types are not JavaScript.
  const code = stripTypeScriptTypes(`async function example() {${body}\n}`);
  return new AsyncFunction(...Object.keys(known), `${code}\nreturn example();`)(...Object.values(known));
}

describe('the README of the client', () => {
  let test: TestService, applicationId: string, baseUrl: string, token: string, client: main.Client;
  beforeAll(async () => {
    test = await startTestService({ clock: { now: Date.now, advance() {}, set() {} }, background: true });
    [baseUrl, token] = [test.url, await test.token()];
    client = main.createClient({ baseUrl, token });
  });
  afterAll(() => test.close());

  const people = async (count: number, more = {}) => {
    applicationId = await test.application();
    for (let made = 0; made < count; made++) await client.sessions.create(applicationId, { userId: 'user_ada', clientInfo: { name: 'cursor', version: '1' }, ...more });
  };
  const scenarios: Record<string, () => Promise<void>> = {
    async 'The first'() {
      await people(2);
      const log = vi.spyOn(console, 'log').mockReturnValue();
      const elsewhere = (options: main.ClientOptions) => main.createClient({ ...options, baseUrl });
      PACKAGE['@rollcall/client'] = { ...main, createClient: elsewhere }; // rollcall.example.com is not ours
      await runExample('The first', { currentToken: () => token, applicationId }).finally(() => { PACKAGE['@rollcall/client'] = main; });
      expect(log.mock.calls).toEqual([['cursor', 'active'], ['cursor', 'active']]);
      log.mockRestore();
      expect(await client.sessions.page(applicationId)).toEqual({ items: [] });
    },
    async 'Lists and pages'() {
      await people(1);
      await runExample('Lists and pages', { client, applicationId });
    },
    async Revoking() {
      await people(3);
      await runExample('Revoking', { client, applicationId });
      expect(await client.sessions.page(applicationId)).toEqual({ items: [] });
    },
    async Events() {
      await people(0);
      const said: unknown[] = [], left = new Error('left');
      const store = {
        lastEventId: '0', // none of this server's: so the first event is a reset
        changed: ({ name }: main.Session) => said.push(name),
        over: () => said.push('one is over'),
        overUpTo: () => { throw left; },
        async readAll() {
          said.push('read the list');
          const { session } = await client.sessions.create(applicationId, { name: 'one' });
          await client.sessions.create(applicationId, { name: 'two' });
          await client.sessions.revoke(applicationId, session.id);
          await client.sessions.revokeAll(applicationId);
        },
      };
      await expect(runExample('Events', { baseUrl, token, applicationId, store })).rejects.toBe(left);
      expect(said).toEqual(['read the list', 'one', 'two', 'one is over']);
      expect(store.lastEventId.length).toBeGreaterThan(1);
    },
    async 'Events, 2'() {
      await people(1);
      const { items: [session] } = await client.sessions.page(applicationId);
      const over = runExample('Events, 2', { baseUrl, token, applicationId, sessionId: session?.id });
      await client.sessions.revokeAll(applicationId);
      await over;
    },
    async 'A process that is a client itself'() {
      await people(0);
      const listeners = new Map<string, () => void>();
      const window = { addEventListener: (type: string, listener: () => void) => listeners.set(type, listener) };
      await runExample('A process that is a client itself', { baseUrl, currentToken: () => token, applicationId, hostname: 'build-07', window });
      listeners.get('pointerdown')?.();
      const { items } = await client.sessions.page(applicationId, { status: 'all' });
      expect(items).toMatchObject([{ name: 'desk on build-07', disconnectReason: 'ended' }]);
    },
    async 'In tests'() {
      const log = vi.spyOn(console, 'log').mockReturnValue();
      await runExample('In tests', {});
      expect(log.mock.calls).toEqual([['lost']]);
      log.mockRestore();
    },
    async Errors() {
      await people(1, { credentialId: 'grant' });
      await client.sessions.revokeAll(applicationId);
      const around = { client, applicationId, credentialId: 'grant', askToLogInAgain: () => 'asked' };
      expect(await runExample('Errors', around)).toBe('asked');
      await expect(runExample('Errors', { ...around, applicationId: crypto.randomUUID() })).rejects.toMatchObject({ code: 'not-found' });
    },
    async Cancellation() {
      await people(1);
      await runExample('Cancellation', { client, applicationId, controller: new AbortController() });
    },
  };

  it('has no example that is not run', () => expect(examples.map(({ name }) => name)).toEqual(Object.keys(scenarios)));

  it.each(Object.keys(scenarios))('%s', (name) => scenarios[name]!());
});
