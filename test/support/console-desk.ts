// What the console's tests sit down to: a service, a browser, and for each test an application of its own.
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { startBrowser, startConsoleService, type Visit, type Visitor } from './console.ts';
import type { TestService } from './service.ts';

export interface Desk {
  readonly service: TestService;
  readonly visitor: Visitor;
  /** For every scope. */
  readonly token: string;
  /** The test's own application. */
  readonly app: string;
  readonly name: string;
  /** The last visit that was opened. */
  readonly visit: Visit;
  at(rest?: string): string;
  create(body: object): Promise<{ id: string; name: string }>;
  open(options?: Parameters<Visitor['visit']>[1], bearer?: string): Promise<Page>;
  row(text: string): Locator;
}

/** For the tests of a `describe`: a service and a browser, and for each test an application; whatever goes wrong in the browser fails the test. */
export function useConsole(): Desk {
  let service: TestService, visitor: Visitor, token: string, app: string, name: string, visit: Visit, serial = 0;
  beforeAll(async () => {
    [service, visitor] = await Promise.all([startConsoleService(), startBrowser()]);
    token = await service.token({ subject: 'ops@acme' });
  });
  beforeEach(async () => {
    name = `Billing ${++serial}`;
    app = (await service.call('POST', '/applications', { body: { name } })).body.application.id;
  });
  afterEach(async (context) => {
    if (context.task.result?.state !== 'fail') expect(visit.wrong).toEqual([]);
    await visit.close();
  });
  afterAll(async () => { await visitor?.close(); await service?.close(); });
  const desk: Desk = {
    get service() { return service; }, get visitor() { return visitor; }, get token() { return token; }, get app() { return app; }, get name() { return name; }, get visit() { return visit; },
    at: (rest = '') => `#/${app}/sessions${rest}`,
    create: async (body) => (await service.call('POST', `/applications/${app}/sessions`, { body })).body.session,
    async open(options = {}, bearer = token) {
      visit = await visitor.visit(service.url, { hash: desk.at(), ...options });
      await visit.signIn(bearer);
      return visit.page;
    },
    row: (text) => visit.page.locator('.body > .row', { hasText: text }),
  };
  return desk;
}
