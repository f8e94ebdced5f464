// The console as an operator uses it: a real browser, a real server, other clients at work beside it.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startBrowser, startConsoleService, type Visit, type Visitor } from '../support/console.ts';
import { browserIsThere } from '../support/needs.ts';
import { EVERY_SCOPE, type TestService } from '../support/service.ts';

const MINUTE = 60_000;
const RECENT: unknown = expect.stringMatching(/^(now|\d+ s ago)$/); // the machine may be busy
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * MINUTE).toISOString();

describe.runIf(browserIsThere("the console's tests"))('the console', { timeout: 30_000 }, () => {
  let service: TestService, visitor: Visitor, token: string, app: string, name: string, v: Visit;
  const at = (rest = '') => `#/${app}/sessions${rest}`;
  const create = async (body: object) => (await service.call('POST', `/applications/${app}/sessions`, { body })).body.session as { id: string; name: string };
  const open = async (options: Parameters<Visitor['visit']>[1] = {}, bearer = token) => {
    v = await visitor.visit(service.url, { hash: at(), ...options });
    await v.signIn(bearer);
    return v.page;
  };
  const row = (text: string) => v.page.locator('.body > .row', { hasText: text });

  beforeAll(async () => {
    [service, visitor] = await Promise.all([startConsoleService(), startBrowser()]);
    token = await service.token({ subject: 'ops@acme' });
  });
  let serial = 0;
  beforeEach(async () => {
    name = `Billing ${++serial}`;
    app = (await service.call('POST', '/applications', { body: { name } })).body.application.id;
  });
  afterEach(async (context) => {
    if (context.task.result?.state !== 'fail') expect(v.wrong).toEqual([]);
    await v.close();
  });
  afterAll(async () => { await visitor?.close(); await service?.close(); });

  it('shows who is connected, newest first, and what each of them is', async () => {
    await create({ hostname: 'build-07', userId: 'user_ada', clientInfo: { name: 'cursor', version: '1.2.0', title: 'Cursor' }, tokenExpiresAt: inMinutes(30) });
    await create({ name: 'Night agent', tokenExpiresAt: inMinutes(-1) });
    const page = await open();
    await row('Cursor').waitFor();
    expect(await page.locator('.body > .row').allInnerTexts().then((rows) => rows.map((text) => text.split('\n').filter(Boolean)))).toEqual([
      ['expired', 'Night agent', RECENT, 'expired'], ['active', 'Cursor on build-07', 'cursor 1.2.0', 'build-07', 'user_ada', RECENT, expect.stringMatching(/^2\d:\d\d$/)],
    ].map((cells) => expect.arrayContaining(cells)));
    expect(await page.getByRole('grid').getAttribute('aria-rowcount')).toBe('3');
    await page.getByText('2 sessions', { exact: true }).waitFor();
    await page.locator('.stream[data-state=open]').waitFor();
    await row('Cursor').hover();
    expect(await page.locator('.line').innerText()).toMatch(/^Cursor on build-07 .*connected 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d .*token until 20/);
  });

  it('keeps the token in memory only, and says so', async () => {
    const page = await open();
    await page.getByRole('heading', { name: 'Nobody is connected' }).waitFor();
    expect(await page.locator('.rest').getAttribute('title')).toMatch(/Signed in as ops@acme; your token is good for another 5\d:/);
    const kept = await page.evaluate(async () => JSON.stringify([location.href, { ...localStorage }, { ...sessionStorage }, document.cookie, history.state, await indexedDB.databases(), document.documentElement.outerHTML, performance.getEntriesByType('resource').map((entry) => entry.name)]));
    expect(kept).not.toContain(token.slice(0, 20));
    await page.reload();
    await page.getByText('gone when you reload').waitFor();
    expect(await page.getByLabel('Access token').inputValue()).toBe('');
  });

  it('follows what other clients do, and stays where one is', async () => {
    const first = await create({ name: 'first' });
    const page = await open();
    await row('first').waitFor();
    await page.locator('.stream[data-state=open]').waitFor();
    await page.getByRole('grid').focus();
    await create({ name: 'second' });
    await row('second').waitFor({ state: 'attached' });
    expect(await page.locator('.row.current').innerText()).toContain('first');
    await service.call('POST', `/applications/${app}/sessions/${first.id}/end`);
    await page.locator('.row.disconnected.leaving', { hasText: 'first' }).waitFor();
    expect(await row('first').locator('.status').innerText()).toBe('ended');
    await service.call('DELETE', `/applications/${app}/sessions`);
    await page.getByRole('log').getByText('All sessions were revoked: 1 connected').waitFor();
    await row('second').waitFor({ state: 'detached' });
  });

  it('filters as the API does, keeps the filters in the address, and searches what is loaded', async () => {
    for (const [host, client] of [['a', 'cursor'], ['b', 'cursor'], ['b', 'codex']]) await create({ hostname: host, clientInfo: { name: client } });
    await create({ name: 'old', tokenExpiresAt: inMinutes(-1) });
    const page = await open();
    await row('codex').waitFor();
    await page.getByRole('button', { name: /^cursor 2$/ }).click();
    await row('codex').waitFor({ state: 'detached' });
    await page.getByLabel('Host', { exact: true }).fill('b');
    await page.keyboard.press('Enter');
    await page.getByText('1 session', { exact: true }).waitFor();
    expect(new URL(page.url()).hash).toBe(at('?clientName=cursor&hostname=b'));
    await page.reload();
    await v.signIn(token);
    await row('cursor on b').waitFor();
    await page.goBack();
    await row('cursor on a').waitFor();
    await page.getByRole('button', { name: 'Clear', exact: true }).click();
    await page.getByRole('button', { name: /expired/ }).click();
    await row('old').waitFor();
    expect(new URL(page.url()).hash).toBe(at('?status=expired'));
    await page.getByRole('button', { name: /idle/ }).click({ modifiers: ['Control'] });
    await expect.poll(() => new URL(page.url()).hash).toBe(at('?status=idle,expired'));
    await page.getByRole('button', { name: /connected$/ }).first().click();
    await row('codex').waitFor();
    const search = page.getByLabel('Search');
    await expect.poll(() => search.getAttribute('placeholder')).toBe('the 4 loaded rows');
    await search.fill('CODEX');
    await page.getByText('1 session of the 4 loaded rows').waitFor();
    await search.fill('nobody');
    await page.getByRole('button', { name: 'Clear the search' }).click();
    await row('cursor on a').waitFor();
  });

  it('shows one session in full and revokes it', async () => {
    const { id } = await create({ name: 'agent', userId: 'user_ada', credentialId: 'sid:1', clientInfo: { name: 'x', deep: { er: [1] } } });
    const page = await open();
    await row('agent').click();
    const drawer = page.locator('.drawer');
    await drawer.getByText(id).first().waitFor();
    expect(new URL(page.url()).hash).toBe(at(`?session=${id}`));
    expect(await drawer.locator('.timeline b').allInnerTexts()).toEqual(['Created', 'Connected']);
    await drawer.getByText('JSON', { exact: true }).click();
    await drawer.getByRole('button', { name: 'Copy the JSON' }).click();
    expect(JSON.parse(await page.evaluate(() => navigator.clipboard.readText()))).toMatchObject({ id, clientInfo: { deep: { er: [1] } } });
    expect(await v.violations()).toEqual([]);
    await drawer.getByRole('button', { name: 'Revoke this session…' }).click();
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByText('The session was disconnected.').waitFor();
    await page.getByRole('button', { name: 'Close', exact: true }).last().click();
    await drawer.getByText('Disconnected: revoked').waitFor();
    expect(await drawer.getByRole('button', { name: 'Revoke this session…' }).isDisabled()).toBe(true);
    await page.keyboard.press('Escape');
    await drawer.waitFor({ state: 'detached' });
    expect(await page.evaluate(() => document.activeElement?.getAttribute('role'))).toBe('grid');
    expect((await service.call('GET', `/applications/${app}/sessions/${id}`)).body.session.disconnectReason).toBe('revoked');
  });

  it('revokes what is filtered: counts first, wants the number typed, says what it did, and audits it', async () => {
    for (const client of ['cursor', 'cursor', 'codex']) await create({ clientInfo: { name: client }, credentialId: `sid:${client}` });
    const page = await open({ hash: at('?clientName=cursor') });
    await row('cursor').first().waitFor();
    await page.getByRole('button', { name: 'Revoke filtered…' }).click();
    const go = page.getByRole('button', { name: 'Revoke 2 sessions' });
    await page.getByLabel('Type the number to confirm').fill('3');
    expect(await go.isDisabled()).toBe(true);
    await page.getByLabel('Type the number to confirm').fill('2');
    expect(await v.violations()).toEqual([]);
    await go.click();
    await page.getByText('2 sessions were disconnected.').waitFor();
    const requestId = await page.locator('dialog .request code').innerText();
    await page.getByRole('button', { name: 'See the audit' }).click();
    await page.getByRole('cell', { name: requestId }).waitFor();
    expect(await page.locator('tbody tr').allInnerTexts().then((rows) => rows.map((text) => text.split(/[\t\n]/).filter(Boolean)))).toEqual([[RECENT, 'ops@acme', 'Revoked client cursor', '2', 'done', requestId, 'Copy', 'the request id']]);
    expect(await v.violations()).toEqual([]);
    await page.getByRole('link', { name: 'Revoked credentials' }).click();
    await page.getByRole('button', { name: 'Allow again sid:cursor' }).click();
    await page.getByRole('button', { name: 'Allow again', exact: true }).click();
    await page.getByRole('heading', { name: 'No credential is denied.' }).waitFor();
    await create({ credentialId: 'sid:cursor' });
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByText('Allowed again: sid:cursor').waitFor();
  });

  it('reads the audit again at a revoke, and at nothing else; what an older reading says counts no more', async () => {
    const [ended, revoked] = [await create({}), await create({})], page = await open(), held = Promise.withResolvers<void>();
    await page.locator('.stream[data-state=open]').waitFor();
    let asked = 0;
    await page.route('**/revocations*', async (route) => {
      if (++asked > 1) return route.continue();
      await held.promise;
      await route.fulfill({ status: 400, contentType: 'application/problem+json', body: '{}' });
    });
    await page.getByRole('link', { name: 'Audit' }).click();
    await service.call('POST', `/applications/${app}/sessions/${ended.id}/end`);
    await expect(page.waitForRequest('**/revocations*', { timeout: 1_500 })).rejects.toThrow('Timeout'); // it would come after one
    await service.call('DELETE', `/applications/${app}/sessions/${revoked.id}`);
    await page.getByText('Revoked one:').waitFor();
    const refused = page.waitForResponse((response) => response.status() === 400);
    held.resolve();
    await (await refused).finished();
    for (let frames = 0; frames < 5; frames++) await page.evaluate(() => new Promise(requestAnimationFrame));
    expect([asked, await page.locator('.told').innerText()]).toEqual([2, '']);
    expect(v.wrong.splice(0)).toEqual([expect.stringContaining('400'), expect.stringContaining('400')]);
  });

  it('revokes all only after the application is named, and nobody when more have come since the count', async () => {
    for (const name of ['a', 'b']) await create({ name });
    const page = await open();
    await row('b').waitFor();
    await page.getByRole('button', { name: 'Revoke all…' }).click();
    const typed = page.getByLabel('Type the application’s name to confirm');
    await typed.fill(name);
    await create({ name: 'c' });
    await page.getByRole('button', { name: 'Revoke 2 sessions' }).click();
    await page.getByText('More sessions match than were counted, so nobody was revoked.').waitFor();
    expect(v.wrong.splice(0)).toEqual([expect.stringContaining('409'), expect.stringContaining('409')]);
    expect((await service.call('GET', `/applications/${app}/sessions`)).body.items).toHaveLength(3);
    await typed.fill('2');
    expect(await page.getByRole('button', { name: 'Revoke 3 sessions' }).isDisabled()).toBe(true);
    await typed.fill(name);
    await page.keyboard.press('Enter');
    await page.getByText('3 sessions were disconnected.').waitFor();
    expect((await service.call('GET', `/applications/${app}/revocations`)).body.items).toMatchObject([{ filter: {}, disconnectedCount: 3, subject: 'ops@acme', requestId: expect.stringMatching(/^console-/) }]);
  });

  it('shows hostile text as text', async () => {
    const evil = '<img src=x onerror=alert(1)>';
    await create({ name: `${evil}\u202Egnp.exe`, hostname: evil, userId: evil, externalId: evil, userAgent: `${evil}\u200B`, credentialId: evil, clientInfo: { name: evil, version: '"><script>alert(2)</script>', title: 'javascript:alert(3)', x: evil } });
    const page = await open();
    await page.locator('.body > .row').click();
    await page.locator('.drawer .timeline').waitFor();
    await page.getByText('JSON', { exact: true }).click();
    expect(await page.locator('.drawer h2').innerText()).toBe(`${evil}⟨U+202E⟩gnp.exe`);
    expect(await page.locator('.drawer').innerText()).toContain(`${evil}⟨U+200B⟩`);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Revoke all…' }).click();
    await page.getByLabel(/Type the/).fill(name);
    await page.getByRole('button', { name: 'Revoke 1 session' }).click();
    await page.getByRole('button', { name: 'Revoked credentials' }).click();
    await page.getByRole('button', { name: /^Allow again </ }).click();
    await page.getByRole('heading', { name: 'Allow this credential again?' }).waitFor();
    expect(await page.locator('img, #app script, iframe, [onerror]').count()).toBe(0);
  });

  it('is worked by the keyboard alone', async () => {
    for (const name of ['one', 'two', 'six']) await create({ name });
    v = await visitor.visit(service.url, { hash: at() });
    const { page } = v, key = (...keys: string[]) => keys.reduce((before, one) => before.then(() => page.keyboard.press(one)), Promise.resolve());
    await page.keyboard.insertText(token);
    await key('Enter');
    await row('six').waitFor();
    const reached: string[] = [];
    for (let tabs = 0; tabs < 40 && !(await page.evaluate(() => document.activeElement?.getAttribute('role') === 'grid')); tabs++) {
      await key('Tab');
      reached.push(await page.evaluate(() => { const element = document.activeElement; return element?.getAttribute('aria-label') ?? element?.closest('label')?.textContent ?? element?.textContent ?? ''; }));
      expect(await page.evaluate(() => { const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement!); return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1; }), `focus is seen on ${reached.at(-1)}`).toBe(true);
    }
    expect(reached).toEqual(expect.arrayContaining(['Skip to the content', 'Application', 'Sessions', 'Audit', 'User', 'Host', 'Search', 'Revoke all…', 'Sign out']));
    await key('ArrowDown', 'End', 'ArrowUp');
    expect(await page.locator('.row.current').innerText()).toContain('two');
    expect(await page.evaluate(() => document.getElementById(document.activeElement!.getAttribute('aria-activedescendant')!)?.textContent)).toContain('two');
    await key('Enter');
    await page.locator('.drawer').waitFor();
    await key('Escape');
    await page.locator('.drawer').waitFor({ state: 'detached' });
    await key('ArrowUp', 'Enter');
    await page.locator('.drawer h2', { hasText: 'six' }).waitFor();
  });

  it('has nothing for axe to find', async () => {
    v = await visitor.visit(service.url, { hash: at() });
    expect(await v.violations()).toEqual([]);
    await create({ name: 'a', clientInfo: { name: 'cursor' } });
    await create({ name: 'b', tokenExpiresAt: inMinutes(-1) });
    const over = await create({ name: 'over' });
    await service.call('DELETE', `/applications/${app}/sessions/${over.id}`);
    await v.signIn(token);
    await row('a').waitFor();
    await v.page.getByRole('button', { name: /^disconnected|^1disconnected|disconnected$/ }).click({ modifiers: ['Control'] });
    expect(await v.violations()).toEqual([]);
    await v.page.goto(`${service.url}/console#/${app}/credentials`);
    await v.page.getByRole('heading', { name: 'No credential is denied.' }).waitFor();
    expect(await v.violations()).toEqual([]);
  });

  it('fits a phone', async () => {
    await create({ name: 'a', clientInfo: { name: 'cursor' }, credentialId: 'sid:a-session-that-has-a-very-long-name', credentialExpiresAt: inMinutes(30), tokenExpiresAt: inMinutes(-1) });
    const page = await open({ viewport: { width: 390, height: 844 } });
    await row('a').waitFor();
    const tooWide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(await tooWide()).toBeLessThanOrEqual(0);
    expect(await v.violations()).toEqual([]);
    await row('a').click();
    await page.getByRole('button', { name: 'Revoke this session…' }).click();
    expect(await tooWide()).toBeLessThanOrEqual(0);
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.locator('.drawer').getByText('Token expired').waitFor();
    await page.getByRole('button', { name: 'Revoked credentials' }).click();
    const copy = page.getByRole('button', { name: 'Copy the credential id' });
    await copy.waitFor();
    expect(await copy.evaluate((button) => button.getBoundingClientRect().right - innerWidth)).toBeLessThan(0);
  });

  describe('a token', () => {
    it('that has expired, is none, or may not read, is told apart', async () => {
      v = await visitor.visit(service.url);
      for (const [bearer, words] of [
        [await service.token({ ttlMs: -MINUTE }), 'This token has expired.'],
        [await service.token({ scopes: ['sessions:write'] }), 'This token may not read sessions.'],
        ['nonsense', 'A valid bearer token is required.'],
      ] as const) {
        await v.signIn(bearer);
        await v.page.getByText(words).waitFor();
      }
      expect(v.wrong.splice(0)).toHaveLength(2);
    });

    it('that may not revoke finds the reason where the button is', async () => {
      await create({ name: 'a' });
      const page = await open({}, await service.token({ scopes: ['sessions:read', 'applications:read'] }));
      await row('a').waitFor();
      expect(await page.getByRole('button', { name: 'Revoke all…' }).isDisabled()).toBe(true);
      await page.getByText('This token may not revoke (sessions:revoke).').waitFor();
      await page.getByRole('link', { name: 'Revoked credentials' }).click();
      await page.getByText('This token may not list revoked credentials (sessions:write).').waitFor();
    });

    it('bound to one application opens that one', async () => {
      await create({ name: 'a' });
      const page = await open({ hash: '' }, await service.token({ applicationId: app, scopes: EVERY_SCOPE.filter((scope) => !scope.startsWith('applications')) }));
      await row('a').waitFor();
      expect(await page.locator('.chooser').innerText()).toBe(app);
    });

    it('that runs out ends the visit, and another goes on at the same place', async () => {
      await create({ name: 'a', clientInfo: { name: 'cursor' } });
      const page = await open({ hash: at('?clientName=cursor') }, await service.token({ ttlMs: 4_000 }));
      await row('a').waitFor();
      await page.getByText(/Paste a fresh one|Paste a fresh token/).waitFor();
      v.wrong.length = 0; // a 401, where the stream heard of it first
      await v.signIn(token);
      await row('a').waitFor();
      expect(new URL(page.url()).hash).toBe(at('?clientName=cursor'));
    });
  });

  it('changes to another application', async () => {
    await create({ name: 'alpha' });
    const other = (await service.call('POST', '/applications', { body: { name: 'Another' } })).body.application.id;
    await service.call('POST', `/applications/${other}/sessions`, { body: { name: 'omega' } });
    const page = await open();
    await row('alpha').waitFor();
    await page.getByLabel('Application').selectOption('Another');
    await row('omega').waitFor();
    await row('alpha').waitFor({ state: 'detached' });
    await page.goBack();
    await row('alpha').waitFor();
  });

  it('survives a restart of the server, and shows what it missed', async () => {
    const mine = await startConsoleService();
    const { directory } = mine, port = new URL(mine.url).port, bearer = await mine.token();
    const application = await mine.application();
    v = await visitor.visit(mine.url, { hash: `#/${application}/sessions` });
    await v.signIn(bearer);
    await v.page.locator('.stream[data-state=open]').waitFor();
    await mine.service.close();
    await v.page.locator('.stream[data-state=waiting]').waitFor();
    const again = await startConsoleService({ PORT: port }, directory);
    await again.call('POST', `/applications/${application}/sessions`, { body: { name: 'meanwhile' } });
    await v.page.locator('.stream[data-state=open]').waitFor();
    await row('meanwhile').waitFor();
    v.wrong.length = 0; // refused connections
    await again.close();
  });
});
