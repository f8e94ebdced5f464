// The packed client in a browser: a page of another origin whose bundle has the package from its tarball, on the real server, streams included.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { expect, it, onTestFinished } from 'vitest';
import { browserIsThere, CHROMIUM } from '../support/needs.ts';
import { packClient } from '../support/packed.ts';
import { startTestService } from '../support/service.ts';

const PAGE = `
import { createClient, ProblemError } from '@rollcall/client';
import { subscribe } from '@rollcall/client/events';
import { connect } from '@rollcall/client/connect';

export async function use(service) {
  const { baseUrl, token, applicationId } = service, client = createClient({ baseUrl, token }), said = [];
  let isOpen;
  const open = new Promise((resolve) => { isOpen = resolve; });
  const watching = (async () => {
    for await (const { type } of subscribe({ ...service, onState: ({ state }) => state === 'open' && isOpen() })) {
      said.push(type);
      if (type === 'sessions.revoked') return;
    }
  })();
  await open;
  const connection = await connect({ ...service, session: { name: 'tab', credentialId: 'login' } });
  for await (const { name } of client.sessions.list(applicationId)) said.push(name);
  said.push(await client.sessions.revokeAll(applicationId));
  said.push((await connection.disconnected).reason);
  await watching;
  await client.sessions.create(applicationId, { credentialId: 'login' }).catch((error) => {
    said.push(error instanceof ProblemError && error.code, error.requestId?.length > 0); // the header is readable from another origin
  });
  return said;
}
`;

it.runIf(browserIsThere('the test of the client in a browser'))('lists, listens, revokes and is cut, from a page of another origin', async () => {
  const packed = await packClient();
  onTestFinished(packed.remove);
  const { outputFiles } = await build({ stdin: { contents: PAGE, resolveDir: packed.project }, bundle: true, format: 'esm', platform: 'browser', write: false });
  const site = createServer((request, response) => {
    response.setHeader('Content-Type', request.url === '/page.js' ? 'text/javascript' : 'text/html');
    response.end(request.url === '/page.js' ? outputFiles[0]!.contents : '<!doctype html><title>A page</title>');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`; // it listens on TCP
  const test = await startTestService({ env: { CORS_ORIGINS: origin }, clock: { now: Date.now, advance() {}, set() {} }, background: true });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  onTestFinished(async () => {
    await browser.close();
    site.close();
    await test.close();
  });
  const page = await browser.newPage();
  await page.goto(origin);
  const service = { baseUrl: test.url, token: await test.token(), applicationId: await test.application() };
  // As text: the test runner rewrites imports in what it has read.
  const said: unknown[] = await page.evaluate(`import('${origin}/page.js').then(({ use }) => use(${JSON.stringify(service)}))`);
  // Events come on a connection of their own, so they are told apart from the answers.
  const isEvent = (one: unknown) => typeof one === 'string' && /^sessions?\./.test(one);
  expect(said.filter(isEvent)).toEqual(['session.connected', 'sessions.revoked']);
  expect(said.filter((one) => !isEvent(one))).toEqual(['tab', { success: true, disconnectedCount: 1 }, 'revoked', 'credential-revoked', true]);
}, 60_000);
