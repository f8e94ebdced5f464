// What is served beside the API and needs no token: health, the contract, the documentation.
import express, { type Express, type RequestHandler } from 'express';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { Problem } from './problem.ts';

const root = new URL('..', import.meta.url);
const fileOf = (path: string) => fileURLToPath(new URL(path, root));

export interface PagesOptions {
  /** Reasons why requests cannot be served just now; none means ready. */
  readonly notReady: () => Promise<string[]>;
  /** Where the built documentation is. */
  readonly site?: string;
}

export function pages(app: Express, { notReady, site = fileOf('docs/site') }: PagesOptions): void {
  const page = (path: string, ...handlers: RequestHandler[]) => app.route(path).get(...handlers)
    .all(() => { throw new Problem('method-not-allowed', { headers: { Allow: 'GET, HEAD, OPTIONS' } }); });

  page('/livez', (_req, res) => void res.json({ status: 'ok' }));
  page('/readyz', async (_req, res) => {
    const reasons = await notReady();
    res.status(reasons.length === 0 ? 200 : 503).json(reasons.length === 0 ? { status: 'ok' } : { status: 'unavailable', reasons });
  });
  page('/openapi.yaml', (_req, res) => res.sendFile(fileOf('openapi.yaml'), { headers: { 'Content-Type': 'application/yaml' } }));
  page('/openapi.json', (_req, res) => res.sendFile(fileOf('generated/openapi.json')));
  page('/', (_req, res) => res.redirect('/docs'));

  app.use('/docs', (_req, _res, next) => next(existsSync(`${site}/index.html`) ? undefined : new Problem('not-built', { detail: 'Run `npm run docs` and try again.' })),
    express.static(site, { extensions: ['html'], redirect: false, cacheControl: false, etag: false }));
  page('/docs', (_req, res) => res.sendFile('index.html', { root: site }));
}

/** What is answered before the store is there: alive, and not ready. */
export const starting = (): RequestListener => (req, res) => {
  const answer = (status: number, type: string, body: object, headers = {}) =>
    res.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store', ...headers }).end(JSON.stringify(body));
  if (req.url === '/livez') return answer(200, 'application/json', { status: 'ok' });
  if (req.url === '/readyz') return answer(503, 'application/json', { status: 'unavailable', reasons: ['the store is out of reach'] });
  const requestId = randomUUID();
  answer(503, 'application/problem+json', new Problem('store-unavailable').body(requestId), { 'X-Request-Id': requestId, 'Retry-After': '1' });
};
