// The documentation as a reader has it: a real browser on the server, on a static host under a path, and on files of a disk.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, CHAPTERS } from '../../docs/build.ts';
import { AXE } from '../support/console.ts';
import { browserIsThere, CHROMIUM } from '../support/needs.ts';
import { startTestService, type TestService } from '../support/service.ts';

const SITE = new URL('../../docs/site/', import.meta.url);
const names = ['index', ...CHAPTERS.flatMap(({ chapters }) => Object.keys(chapters))];
const chapters = names.filter((name) => name !== 'reference');
/** Between them they have everything that has a colour; looking at contrast is most of the work. */
const COLOURFUL = ['index', 'start', 'paging', 'mcp', 'errors'];
/** What Redoc's own markup does against two rules of good practice, and by what it is known. */
const REDOCS = { 'heading-order': 'data-component-name="Typography/H4"', 'label-content-name-mismatch': 'aria-label="Example"' };
const isRedocs = (what: string) => Object.entries(REDOCS).some(([rule, mark]) => what.startsWith(`${rule}:`) && what.includes(mark));
const types: Record<string, string> = { '.html': 'text/html', '.md': 'text/markdown', '.txt': 'text/plain' };

describe.runIf(browserIsThere("the documentation's tests"))('the documentation', { timeout: 60_000 }, () => {
  let service: TestService, browser: Browser, host: Server, axe: string;
  beforeAll(async () => {
    await build();
    host = createServer(async (request, response) => { // nothing but files, as any static host
      const name = request.url!.replace('/some/where/', '') || 'index.html';
      const content = await readFile(new URL(name, SITE)).catch(() => undefined);
      response.writeHead(content ? 200 : 404, { 'content-type': types[extname(name)] ?? 'text/plain' }).end(content);
    }).listen(0, '127.0.0.1');
    await once(host, 'listening');
    [service, browser, axe] = await Promise.all([startTestService(), chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] }), readFile(AXE, 'utf8')]);
  });
  afterAll(async () => {
    await browser?.close();
    host?.close();
    await service?.close();
  });
  const port = () => (host.address() as AddressInfo).port; // it listens on TCP

  async function visit(options: BrowserContextOptions = {}): Promise<{ page: Page; wrong: string[]; asked: string[] }> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ['clipboard-read', 'clipboard-write'], ...options });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage(), wrong: string[] = [], asked: string[] = [];
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) wrong.push(`${message.text()} ${message.location().url}`); });
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('request', (request) => { if (!request.url().startsWith('data:')) asked.push(request.url()); });
    page.on('requestfailed', (request) => wrong.push(`failed: ${request.url()}`));
    page.on('response', (response) => { if (response.status() >= 400) wrong.push(`${response.status()} ${response.url()}`); });
    return { page, wrong, asked };
  }
  /** What axe has to say: rule and place. */
  const violations = async (page: Page, options: object = {}): Promise<string[]> => {
    await page.evaluate(axe);
    return page.evaluate(async (asked) => {
      const { axe: runner } = globalThis as unknown as { axe: { run(context: unknown, options: object): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }; // what the script has just put there
      return (await runner.run(document, { resultTypes: ['violations'], ...asked })).violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 160)}`));
    }, options);
  };
  const isWide = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

  it('opens every page, in the light, in the dark and on a phone: accessible, without a complaint, and without asking anybody else for anything', async () => {
    const { page, wrong, asked } = await visit();
    const found: string[] = [];
    await page.goto(`${service.url}/`);
    expect(page.url()).toBe(`${service.url}/docs/`);
    for (const name of chapters) {
      await page.goto(`${service.url}/docs/${name}`);
      found.push(...(await violations(page, COLOURFUL.includes(name) ? {} : { rules: { 'color-contrast': { enabled: false } } })).map((what) => `${name}: ${what}`));
      if (COLOURFUL.includes(name)) {
        await page.emulateMedia({ colorScheme: 'dark' });
        expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(20, 23, 28)');
        found.push(...(await violations(page, { runOnly: ['color-contrast'] })).map((what) => `${name}, dark: ${what}`));
        await page.emulateMedia({ colorScheme: 'light' });
      }
      await page.setViewportSize({ width: 360, height: 740 });
      if (await isWide(page)) found.push(`${name} is wider than a phone`);
      await page.setViewportSize({ width: 1280, height: 800 });
    }
    expect(found).toEqual([]);
    expect(wrong).toEqual([]);
    expect(asked.filter((url) => !url.startsWith(`${service.url}/`))).toEqual([]);
    expect(asked.filter((url) => /\.(?:js|css|json|svg|png|woff2?)$/.test(url)), 'a page is one file').toEqual([]);
  });

  it('has a reference that is accessible as far as it is ours, in the light, in the dark and on a phone, and whose colours hold for the chapters', async () => {
    const { page, wrong, asked } = await visit(), found: string[] = [];
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.setViewportSize(colorScheme === 'dark' ? { width: 360, height: 740 } : { width: 1280, height: 800 });
      await page.emulateMedia({ colorScheme });
      for (const hash of ['', '#/sessions/listsessions']) {
        await page.goto(`${service.url}/docs/reference${hash}`);
        await page.locator('#redoc h2').first().waitFor();
        if (hash !== '') { // what is below is made when it comes near
          await page.locator('#redoc').getByRole('heading', { name: 'Response' }).first().scrollIntoViewIfNeeded();
          await page.locator('[data-schema-nested-open] .schema-name').first().waitFor();
        }
        found.push(...(await violations(page)).filter((what) => !isRedocs(what)).map((what) => `${colorScheme} ${hash}: ${what}`));
        if (await isWide(page)) found.push(`${hash} is wider than a phone`);
      }
    }
    expect(found).toEqual([]);

    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: 'light' });
    await page.goto(`${service.url}/docs/reference`);
    expect(await ground()).toBe('rgb(255, 255, 255)');
    await page.getByTestId('color-mode-switcher').click();
    await expect.poll(ground).toBe('rgb(20, 23, 28)');
    await page.goto(`${service.url}/docs/start`);
    expect(await ground()).toBe('rgb(20, 23, 28)');
    expect(wrong).toEqual([]);
    expect(asked.filter((url) => !url.startsWith(`${service.url}/`) || /\.(?:js|css|json|svg|png|woff2?)$/.test(url)), 'a page is one file').toEqual([]);
  });

  it('works under a path of a static host: reading on, searching, copying', async () => {
    const { page, wrong } = await visit();
    await page.goto(`http://127.0.0.1:${port()}/some/where/`);
    await page.locator('.doors').getByRole('link', { name: 'Start here' }).click();
    const block = page.locator('.code', { hasText: 'revocations' });
    await block.getByRole('button', { name: 'Copy' }).focus();
    await page.keyboard.press('Enter');
    await block.getByRole('button', { name: 'Copied' }).waitFor();
    const markdown = await readFile(fileURLToPath(new URL('start.md', SITE)), 'utf8');
    expect(markdown).toContain(`\n${await page.evaluate(() => navigator.clipboard.readText())}\n`);
    await page.getByRole('button', { name: 'Search' }).click();
    await page.keyboard.type('generation number');
    await page.locator('dialog.search li a', { hasText: 'Three ways' }).click();
    await page.waitForURL(/\/some\/where\/revocation\.html#three-ways$/);
    expect(wrong).toEqual([]);
  });

  it('works on a disk: reading on, searching by keyboard, into the reference and back', async () => {
    const { page, wrong } = await visit();
    await page.goto(new URL('index.html', SITE).href);
    await page.locator('.doors').getByRole('link', { name: 'Start here' }).click();
    await page.getByRole('heading', { level: 1, name: 'Start here' }).waitFor();
    await page.locator('.turn .next').click();
    await page.getByRole('heading', { level: 1, name: 'Sessions and statuses' }).waitFor();
    const results = page.locator('dialog.search li');
    await page.keyboard.press('/');
    for (const [typed, first] of [['revoke all', 'Revoke sessions'], ['401', 'unauthorized'], ['pagination', 'Paging'], ['errors', 'Errors']] as const) {
      await page.locator('dialog.search input').fill(typed);
      expect([typed, await results.locator('strong').first().innerText()]).toEqual([typed, first]);
    }
    await page.locator('dialog.search input').fill('revoke');
    await results.nth(3).waitFor();
    expect(await results.locator('strong').allInnerTexts()).toEqual(expect.arrayContaining(['Revoke sessions', 'Revocation and its promises', 'credential-revoked']));
    expect(await violations(page)).toEqual([]);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.waitForURL(/reference\.html#\/sessions\/revokesessions$/);
    await page.locator('#redoc').getByRole('heading', { name: 'Revoke sessions' }).waitFor();
    await page.getByText('clientName=cursor&dryRun=true').first().waitFor();
    await page.getByRole('button', { name: 'curl' }).first().click();
    await page.getByText('TypeScript', { exact: true }).first().click();
    await page.locator('#redoc').getByText("'@rollcall/client'").first().waitFor();
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await isWide(page)).toBe(false);
    await page.keyboard.press('Control+k');
    await page.keyboard.type('store-unavailable');
    await page.locator('dialog.search li a', { hasText: 'store-unavailable' }).first().click();
    await page.waitForURL(/errors\.html#store-unavailable$/);
    expect(wrong).toEqual([]);
  });

  it('reads without scripts, and scrolls what is wide by keyboard with them', async () => {
    const { page, wrong } = await visit({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } });
    await page.goto(new URL('start.html', SITE).href);
    expect(await page.locator('button.find').isVisible()).toBe(false);
    await page.getByText('Menu', { exact: true }).click();
    await page.locator('.menu nav').getByRole('link', { name: 'Errors' }).click();
    await page.getByRole('heading', { level: 1, name: 'Errors' }).waitFor();
    expect(wrong).toEqual([]);
    const scripted = await visit({ viewport: { width: 360, height: 740 } });
    await scripted.page.goto(new URL('start.html', SITE).href);
    expect(await scripted.page.locator('.code pre', { hasText: 'revocations' }).getAttribute('tabindex')).toBe('0');
  });
});
