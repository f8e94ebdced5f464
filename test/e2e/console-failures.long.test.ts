// The console when something fails: it says so, keeps what it has, and goes on when it can. Failures are made on the way; behind them is a real server.
import type { Route } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { useConsole } from '../support/console-desk.ts';
import { browserIsThere } from '../support/needs.ts';

const LIST = '**/sessions?*';
const unavailable = (route: Route) => route.fulfill({
  status: 503, contentType: 'application/problem+json', headers: { 'retry-after': '0' },
  body: JSON.stringify({ type: '/docs/errors#store-unavailable', title: 'The service cannot reach its store.', status: 503, detail: 'Try again.', requestId: 'made-on-the-way' }),
});

describe.runIf(browserIsThere("the console's tests"))('the console, when something fails,', { timeout: 30_000 }, () => {
  const desk = useConsole();
  const { at, create, open, row } = desk;
  const revokeAll = () => desk.service.call('DELETE', `/applications/${desk.app}/sessions`);
  /** What was noted so far is what was made to fail. */
  const failed = (...kinds: RegExp[]) => expect(desk.visit.wrong.splice(0).filter((what) => !kinds.some((kind) => kind.test(what)))).toEqual([]);

  it('offers to try the list again, and says how old the rows are that it keeps', async () => {
    await create({ name: 'a' });
    const page = await open({ hash: '' }, 'nonsense');
    await page.getByText('A valid bearer token is required.').waitFor();
    expect(await desk.visit.violations('.told')).toEqual([]);
    failed(/401/);
    await page.goto(`${desk.service.url}/console${at('?status=active,idle,expired,disconnected')}`);
    await page.route(LIST, unavailable);
    await desk.visit.signIn(desk.token);
    await page.locator('.over').getByText('The service cannot reach its store.').waitFor();
    await page.getByText('made-on-the-way').waitFor();
    expect(await desk.visit.violations('.over')).toEqual([]);
    await page.unroute(LIST);
    await page.getByRole('button', { name: 'Try again' }).click();
    await row('a').waitFor();
    await page.locator('.stream[data-state=open]').waitFor();
    failed(/503/);

    await page.route(LIST, (route) => route.abort());
    await revokeAll(); // what is shown is read again
    await page.getByText(/^The server does not answer\. The rows are as of \d+ s ago\.$/).waitFor();
    await row('a').waitFor();
    expect(await desk.visit.violations('.foot')).toEqual([]);
    await page.unroute(LIST);
    await create({ name: 'b' });
    await revokeAll();
    await page.locator('.row.disconnected', { hasText: 'b' }).waitFor();
    await page.getByText('2 sessions', { exact: true }).waitFor();
    failed(/ERR_FAILED/);
  });

  it('offers to try again in a drawer and under the lists', async () => {
    const { id } = await create({ name: 'a', credentialId: 'sid:a' });
    await revokeAll();
    const page = await open({ hash: '' });
    await page.getByLabel('Access token').waitFor({ state: 'detached' });
    const one = `**/sessions/${id}`;
    await page.route(one, unavailable);
    await page.goto(`${desk.service.url}/console${at(`?session=${id}`)}`);
    const drawer = page.locator('.drawer');
    await drawer.getByText('The service cannot reach its store.').waitFor();
    expect(await drawer.getByRole('button', { name: 'Revoke this session…' }).isDisabled()).toBe(true);
    expect(await desk.visit.violations('.drawer')).toEqual([]);
    await page.unroute(one);
    await drawer.getByRole('button', { name: 'Try again' }).click();
    await drawer.getByText('Disconnected: revoked').waitFor();
    expect(await desk.visit.violations('.drawer')).toEqual([]);
    await drawer.getByRole('button', { name: 'Close' }).click();
    await drawer.waitFor({ state: 'detached' });

    await page.route('**/revocations?*', unavailable);
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByText('made-on-the-way').waitFor();
    expect(await desk.visit.violations()).toEqual([]);
    await page.unroute('**/revocations?*');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('Revoked all').waitFor();

    await page.getByRole('link', { name: 'Revoked credentials' }).click();
    await page.getByRole('button', { name: 'Allow again sid:a' }).click();
    await page.route('**/revoked-credentials/*', unavailable);
    await page.getByRole('button', { name: 'Allow again', exact: true }).click();
    await page.getByRole('alert').waitFor();
    expect(await desk.visit.violations('.ask')).toEqual([]);
    await page.unroute('**/revoked-credentials/*');
    await page.getByRole('button', { name: 'Allow again', exact: true }).click();
    await page.getByRole('heading', { name: 'No credential is denied.' }).waitFor();
    failed(/503/);
  });

  it('says that a lost answer says nothing, and finds the revoke in the audit', async () => {
    await create({ name: 'a' });
    const page = await open(), dialog = page.getByRole('dialog'), backdrop = () => page.mouse.click(20, 700);
    await row('a').click();
    await page.getByRole('button', { name: 'Revoke this session…' }).click();
    await backdrop(); // a stray click takes no question away
    expect(await desk.visit.violations('.ask')).toEqual([]);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await backdrop();
    await page.locator('.drawer').waitFor({ state: 'detached' });

    await page.getByRole('button', { name: 'Revoke all…' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await page.getByRole('button', { name: 'Revoke all…' }).evaluate((button) => button === document.activeElement)).toBe(true);
    await page.getByRole('button', { name: 'Revoke all…' }).click();
    await page.getByLabel('Type the application’s name').fill(desk.name);
    await backdrop();
    await page.route(LIST, async (route) => {
      if (route.request().method() !== 'DELETE') return route.continue();
      await route.fetch();
      await route.abort();
    });
    await page.getByRole('button', { name: 'Revoke 1 session' }).click();
    await dialog.getByText('Whether anybody was revoked is not known.').waitFor();
    expect(await desk.visit.violations('.ask')).toEqual([]);
    const requestId = await dialog.locator('.request code').innerText();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('heading', { name: 'Nobody is connected' }).waitFor();
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByRole('row', { name: requestId }).getByText('done').waitFor();
    failed(/ERR_FAILED/);
  });

  it('says that nothing comes live any more when its application is gone', async () => {
    await create({ name: 'a' });
    const page = await open();
    await row('a').waitFor();
    await page.locator('.stream[data-state=open]').waitFor();
    await desk.service.call('DELETE', `/applications/${desk.app}`);
    await page.getByText('no live updates', { exact: true }).waitFor();
    await page.getByRole('log').getByText('Live updates: no live updates').waitFor();
    expect(await desk.visit.violations('.top')).toEqual([]);
    failed(/404/);
  });
});
