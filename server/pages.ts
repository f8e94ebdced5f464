// What is served beside the API and needs no token: health, the contract, the documentation.
import express, { type Express, type RequestHandler } from 'express';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RequestListener } from 'node:http';
import { reason, type Reason } from './health.ts';
import { Problem } from './problem.ts';
import { requestIdOf } from './request-id.ts';

const root = new URL('..', import.meta.url);
const fileOf = (path: string) => fileURLToPath(new URL(path, root));

export interface PagesOptions {
  /** Reasons why requests cannot be served just now; none means ready. */
  readonly notReady: () => Promise<readonly Reason[]>;
  /** Where the built documentation is. */
  readonly site?: string;
  /** Where the built console is. */
  readonly console?: string;
}

/** The kind of page that a target asks for. */
export function pageOf(target: string): 'livez' | 'readyz' | 'contract' | 'docs' | 'console' | undefined {
  switch (target.split('?', 1)[0]) {
    case '/livez': return 'livez';
    case '/readyz': return 'readyz';
    case '/openapi.yaml': case '/openapi.json': return 'contract';
    default: return /^\/console(?:[/?]|$)/.test(target) ? 'console' : /^\/(?:docs(?:[/?]|$)|llms\.txt(?:\?|$)|(?:\?|$))/.test(target) ? 'docs' : undefined;
  }
}

/** What a page may load it says itself; this is what only a header can say. */
const DOCS_HEADERS = { 'Content-Security-Policy': "frame-ancestors 'none'", 'Referrer-Policy': 'no-referrer' };

/** The console's script and style are its own files, it talks to this server alone, and no text becomes markup in it. */
const CONSOLE_HEADERS = {
  'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    + "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'Referrer-Policy': 'no-referrer', 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin', 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store',
};

export function pages(app: Express, { notReady, site = fileOf('docs/site'), console = fileOf('client/console/dist') }: PagesOptions): void {
  const page = (path: string, ...handlers: RequestHandler[]) => app.route(path).get(...handlers)
    .all(() => { throw new Problem('method-not-allowed', { headers: { Allow: 'GET, HEAD, OPTIONS' } }); });

  page('/livez', (_req, res) => void res.json({ status: 'ok' }));
  page('/readyz', async (_req, res) => {
    const reasons = await notReady();
    res.status(reasons.length === 0 ? 200 : 503).json(reasons.length === 0 ? { status: 'ok' } : { status: 'unavailable', reasons });
  });
  page('/openapi.yaml', (_req, res) => res.sendFile(fileOf('openapi.yaml'), { headers: { 'Content-Type': 'application/yaml' } }));
  page('/openapi.json', (_req, res) => res.sendFile(fileOf('generated/openapi.json')));
  // Relative, for whoever has put the server under a path of their own.
  page('/', (_req, res) => res.redirect('docs/'));
  page('/llms.txt', (_req, res) => res.redirect('docs/llms.txt'));

  app.use('/docs', (_req, res, next) => {
    if (!existsSync(`${site}/index.html`)) return next(new Problem('not-built', { detail: 'Run `npm run docs` and try again.' }));
    res.set(DOCS_HEADERS);
    next();
  }, express.static(site, { extensions: ['html'], redirect: false, cacheControl: false, etag: false }));
  page('/docs', (_req, res) => res.redirect('docs/')); // its pages link to each other by name

  app.use('/console', (_req, res, next) => {
    if (!existsSync(`${console}/index.html`)) return next(new Problem('not-built', { detail: 'Run `npm run console` and try again.' }));
    res.set(CONSOLE_HEADERS);
    next();
  }, express.static(console, { index: false, redirect: false, cacheControl: false, etag: false,
    setHeaders: (res, path) => { if (!path.endsWith('.html')) res.setHeader('Cache-Control', 'public, max-age=31536000, immutable'); } })); // their names change with them
  page('/console', (_req, res) => res.sendFile('index.html', { root: console }));
}

/** What is answered before the store is there: alive, and not ready. */
export const starting = (): RequestListener => (req, res) => {
  const requestId = requestIdOf(req.headers);
  const answer = (status: number, type: string, body: object, headers = {}) => {
    const text = JSON.stringify(body);
    res.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text), 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'X-Request-Id': requestId, ...headers }).end(text);
  };
  if (req.url === '/livez') return answer(200, 'application/json', { status: 'ok' });
  if (req.url === '/readyz') return answer(503, 'application/json', { status: 'unavailable', reasons: [reason('starting')] });
  answer(503, 'application/problem+json', new Problem('store-unavailable').body(requestId), { 'Retry-After': '1' });
};
