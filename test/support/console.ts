// A real browser on the console of a real service, which notes everything that should not happen in it.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { build } from '../../client/console/build.ts';
import { CHROMIUM } from './needs.ts';
import { startTestService, type Clock, type TestService } from './service.ts';

export const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

export const wallClock: Clock = { now: Date.now, advance: () => {}, set: () => {} };

/** The service as the console meets it: the machine's time, sessions that stay without heartbeats, streams that bring events. */
export const startConsoleService = (env: Record<string, string> = {}, directory?: string): Promise<TestService> =>
  startTestService({ clock: wallClock, background: true, env: { LEASE: '1d', ...env }, ...(directory !== undefined && { directory }) });

export interface Visit {
  readonly page: Page;
  /** Errors on the console, exceptions, failed requests, violated policies. */
  readonly wrong: string[];
  signIn(token: string): Promise<void>;
  /** What axe has to say of a part or all of the page, in the light and in the dark: rule and place. */
  violations(part?: string): Promise<string[]>;
  close(): Promise<void>;
}

export interface Visitor { visit(url: string, options?: BrowserContextOptions & { hash?: string }): Promise<Visit>; close(): Promise<void> }

export async function startBrowser(): Promise<Visitor> {
  await build();
  const axeSource = await readFile(AXE, 'utf8');
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--enable-precise-memory-info', '--disable-lcd-text'] });
  return {
    async visit(url, { hash = '', ...options } = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ['clipboard-read', 'clipboard-write'], ...options });
      context.setDefaultTimeout(10_000);
      const page = await context.newPage(), wrong: string[] = [];
      page.on('console', (message) => { if (message.type() === 'error' || message.type() === 'warning') wrong.push(`${message.type()}: ${message.text()} ${message.location().url}`); });
      page.on('pageerror', (error) => wrong.push(`exception: ${error.message}`));
      page.on('dialog', (dialog) => { wrong.push(`dialog: ${dialog.message()}`); void dialog.dismiss(); });
      page.on('response', (response) => { if (response.status() >= 400) wrong.push(`${response.status()} ${response.request().method()} ${new URL(response.url()).pathname}`); });
      page.on('requestfailed', (request) => { if (request.failure()?.errorText !== 'net::ERR_ABORTED') wrong.push(`${request.failure()?.errorText} ${new URL(request.url()).pathname}`); });
      await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
      await page.goto(`${url}/console${hash}`);
      return {
        page, wrong,
        async signIn(token) {
          await page.getByLabel('Access token').fill(token);
          await page.getByRole('button', { name: 'Sign in' }).click();
        },
        async violations(part = 'html') {
          if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axeSource);
          const run = (options: object) => page.evaluate(async ([context, asked]) => {
            const { axe } = globalThis as unknown as { axe: { run(context: string, options: object): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } }; // what the script has just put there
            return (await axe.run(context, { resultTypes: ['violations'], ...asked })).violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`));
          }, [part, options] as const);
          const found = await run({}), isDark = await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches);
          await page.emulateMedia({ colorScheme: isDark ? 'light' : 'dark' });
          found.push(...(await run({ runOnly: ['color-contrast'] })).map((what) => `${isDark ? 'light' : 'dark'}: ${what}`));
          await page.emulateMedia({ colorScheme: isDark ? 'dark' : 'light' });
          return found;
        },
        close: () => context.close(),
      };
    },
    close: () => browser.close(),
  };
}
