// The ways around the console: in and out, from application to application, through filters and lists.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { useConsole } from '../support/console-desk.ts';
import { browserIsThere } from '../support/needs.ts';

const NOBODY = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

describe.runIf(browserIsThere("the console's tests"))('around the console', { timeout: 30_000 }, () => {
  const desk = useConsole();
  const { at, create, open, row } = desk;
  const call = (...args: Parameters<typeof desk.service.call>) => desk.service.call(...args);
  const hash = () => new URL(desk.visit.page.url()).hash;

  it('opens an application that is in no list, and none in the place of one that is not there', async () => {
    const token = await desk.service.token({ organizationId: 'org_many' });
    const make = async (name: string): Promise<string> => (await call('POST', '/applications', { token, body: { name } })).body.application.id;
    const oldest = await make('The oldest');
    await call('POST', `/applications/${oldest}/sessions`, { token, body: { name: 'old acquaintance' } });
    for (let made = 0; made < 1_000; made += 50) await Promise.all(Array.from({ length: 50 }, (_, index) => make(`Number ${made + index}`)));

    const page = await open({ hash: `#/${oldest}/sessions?userId=nobody` }, token), chooser = page.getByLabel('Application', { exact: true });
    await page.getByRole('button', { name: 'Clear the filters' }).click();
    await row('old acquaintance').waitFor();
    expect(await chooser.locator('option:checked').innerText()).toBe('The oldest');
    expect(await chooser.locator('optgroup').getAttribute('label')).toBe('The newest 1,000');
    await chooser.selectOption('Another, by its id…');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await chooser.selectOption('Another, by its id…');
    expect(await chooser.locator('option:checked').innerText()).toBe('The oldest');
    expect(await desk.visit.violations('.ask')).toEqual([]);
    await page.getByLabel('Its id').fill('The oldest');
    await page.keyboard.press('Enter');
    expect(await page.getByLabel('Its id').isVisible()).toBe(true);
    await page.getByLabel('Its id').fill(NOBODY);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'There is no such application' }).waitFor();
    expect(hash()).toBe(`#/${NOBODY}/sessions`);
    expect(await chooser.locator('option:checked').textContent()).toBe('Choose…');
    expect(await desk.visit.violations()).toEqual([]);
    await page.goBack();
    await row('old acquaintance').waitFor();
    await page.goto(`${desk.service.url}/console#/${desk.app}/audit`); // of another organization
    await page.getByText(desk.app).waitFor();
    await page.getByRole('button', { name: /^Open Number \d+ instead$/ }).click();
    await page.getByRole('heading', { name: 'Nothing was ever revoked here.' }).waitFor();
    expect(desk.visit.wrong.splice(0).filter((what) => !what.includes('404'))).toEqual([]);
  });

  it('says that there is no application, and looks again', async () => {
    const token = await desk.service.token({ organizationId: 'org_none' });
    const page = await open({ hash: '' }, token), again = page.getByRole('button', { name: 'Look again' });
    await page.getByRole('heading', { name: 'There is no application yet' }).waitFor();
    expect(await page.locator('.command code').innerText()).toContain('Bearer $ROLLCALL_TOKEN');
    expect(await desk.visit.violations()).toEqual([]);
    await again.click();
    await page.getByRole('log').getByText('There is no application yet').waitFor();
    const { id } = (await call('POST', '/applications', { token, body: { name: 'The first' } })).body.application;
    await call('POST', `/applications/${id}/sessions`, { token, body: { name: 'early' } });
    await call('DELETE', `/applications/${id}/sessions`, { token });
    const nobody = page.getByRole('heading', { name: 'Nobody is connected' });
    await page.route('**/session-counts', async (route) => { await nobody.waitFor(); await route.continue(); }); // later than the list
    await again.click();
    await page.getByRole('button', { name: 'Show the 1 session that is over' }).click();
    await row('early').waitFor();
    expect(hash()).toBe(`#/${id}/sessions?status=disconnected`);
    expect(await page.getByLabel('Application').locator('option:checked').innerText()).toBe('The first');
  });

  it('asks a token that may not list applications for an id; signs out, and back in at the same place', async () => {
    await create({ name: 'a' });
    const token = await desk.service.token({ scopes: ['sessions:read'] }), which = () => desk.visit.page.getByLabel('This token may not list applications');
    const page = await open({ hash: '' }, token);
    await which().fill('Billing');
    await page.getByRole('button', { name: 'Open' }).click();
    expect(await desk.visit.violations('.told')).toEqual([]);
    await which().fill(desk.app);
    await page.keyboard.press('Enter');
    await row('a').waitFor();
    expect(await page.locator('.chooser').innerText()).toBe(desk.app);

    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor), light = await ground();
    await page.getByRole('button', { name: 'Switch between light and dark' }).click();
    expect(await ground()).toBe('rgb(15, 17, 21)');
    await page.getByRole('button', { name: 'Switch between light and dark' }).click();
    expect(await ground()).toBe(light);

    await page.getByRole('button', { name: 'Sign out' }).click();
    expect(await page.getByLabel('Access token').inputValue()).toBe('');
    expect(await row('a').count()).toBe(0);
    await desk.visit.signIn(token);
    expect(await which().inputValue()).toBe(desk.app);
    await which().fill(NOBODY);
    await page.keyboard.press('Enter');
    await page.locator('.over .refusal').waitFor();
    expect(hash()).toBe(`#/${NOBODY}/sessions`);
    await page.goto(`${desk.service.url}/console${at()}`);
    await row('a').waitFor();
    expect(desk.visit.wrong.splice(0).filter((what) => !/403|404/.test(what))).toEqual([]);
  });

  it('narrows down by what is typed and by time, and widens again', async () => {
    await create({ name: 'fresh', userId: 'user_ada', clientInfo: { name: 'cursor' } });
    const { id } = await create({ name: 'quiet', userId: 'user_bob', clientInfo: { name: 'codex' } });
    await call('POST', `/applications/${desk.app}/heartbeats`, { body: { heartbeats: [{ sessionId: id, lastActiveAt: new Date(Date.now() - 3_600_000).toISOString() }] } });
    const page = await open();
    await row('fresh').waitFor();
    await page.getByLabel('User', { exact: true }).fill('user_ada');
    await page.keyboard.press('Enter');
    await row('quiet').waitFor({ state: 'detached' });
    await page.getByLabel('Client', { exact: true }).fill('codex');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'No session matches these filters' }).waitFor();
    expect(hash()).toBe(at('?userId=user_ada&clientName=codex'));
    expect(await desk.visit.violations('.over')).toEqual([]);
    await page.getByRole('button', { name: 'Clear the filters' }).click();
    await row('quiet').waitFor();
    expect(await page.getByLabel('User', { exact: true }).inputValue()).toBe('');
    const before = await page.evaluate((ms) => new Date(ms - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 19), Date.now() - 1_800_000);
    await page.getByLabel('Last active before').fill(before);
    await row('fresh').waitFor({ state: 'detached' });
    await row('quiet').waitFor();
    expect(hash()).toMatch(/\?lastActiveBefore=20\d\d-/);
  });

  it('counts who came in above, and goes there', async () => {
    await Promise.all(Array.from({ length: 60 }, (_, index) => create({ name: `session ${index}` })));
    const page = await open(), grid = page.getByRole('grid'), pill = page.locator('.pill');
    await page.locator('.stream[data-state=open]').waitFor();
    await expect.poll(() => page.locator('.body > .row').count()).toBeGreaterThan(10);
    await grid.evaluate((element) => { element.scrollTop = 800; });
    await create({ name: 'newcomer' });
    await page.getByRole('button', { name: '↑ 1 newer' }).waitFor();
    await create({ name: 'latecomer' });
    await page.getByRole('button', { name: '↑ 2 newer' }).waitFor();
    expect(await desk.visit.violations('.table')).toEqual([]);
    await pill.click();
    await row('latecomer').waitFor();
    expect(await grid.evaluate((element) => element.scrollTop)).toBe(0);
    await pill.waitFor({ state: 'hidden' });
  });

  it('lists what was revoked, page by page, with its states, and leads to the session', async () => {
    const ids: string[] = await Promise.all(Array.from({ length: 101 }, async (_, index) => (await create({ name: `session ${index}`, credentialId: `sid:${String(index).padStart(3, '0')}` })).id));
    await Promise.all(ids.map((id) => call('DELETE', `/applications/${desk.app}/sessions/${id}`)));
    const page = await open({ hash: `#/${desk.app}/audit` }), rows = page.locator('tbody tr'), more = page.getByRole('button', { name: 'Load more' }), reload = page.getByRole('button', { name: 'Reload' });
    await page.getByText('100 so far', { exact: true }).waitFor();
    await more.click();
    await expect.poll(() => rows.count()).toBe(101);
    expect(await more.isVisible()).toBe(false);
    await call('DELETE', `/applications/${desk.app}/revoked-credentials/sid:000`); // of which no event tells
    await reload.click();
    await page.getByText('Allowed again: sid:000').waitFor();
    expect(await rows.count(), 'read again is as much as was there').toBe(102);

    const db = new DatabaseSync(join(desk.service.directory, 'rollcall.db')), become = (state: string) => db.prepare("update revocations set state = ? where application_id = ? and action = 'allowCredential'").run(state, desk.app);
    become('running'); // as a filtered revoke of very many is for a while
    await reload.click();
    await page.getByTitle('It is under way.').waitFor();
    expect(await desk.visit.violations('tr:first-child')).toEqual([]);
    become('interrupted');
    await page.getByTitle('The server stopped half way.').waitFor();
    expect(await desk.visit.violations('tr:first-child')).toEqual([]);
    become('done');
    db.close();

    await page.getByRole('link', { name: 'Revoked credentials' }).click();
    await page.getByText('100', { exact: true }).waitFor();
    await call('DELETE', `/applications/${desk.app}/revoked-credentials/sid:001`);
    await reload.click();
    await page.getByText('99', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Allow again sid:002' }).click();
    expect(await desk.visit.violations('.ask')).toEqual([]);
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(await rows.count()).toBe(99);

    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByRole('button', { name: ids.at(-1)! }).click(); // there are 101
    await page.locator('.drawer').getByText('Disconnected: revoked').waitFor();
    expect(hash()).toBe(at(`?session=${ids.at(-1)}`));
    await page.mouse.click(100, 400); // beside the drawer
    await page.locator('.drawer').waitFor({ state: 'detached' });
    expect(hash()).toBe(at());
  });
});
