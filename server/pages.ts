// What is served beside the API and needs no token: health, the contract, the documentation.
import express, { type Express } from 'express';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Problem } from './problem.ts';

const root = new URL('..', import.meta.url);
const fileOf = (path: string) => fileURLToPath(new URL(path, root));

export function pages(app: Express, notReady: () => Promise<string[]>): void {
  app.get('/livez', (_req, res) => void res.json({ status: 'ok' }));
  app.get('/readyz', async (_req, res) => {
    const reasons = await notReady();
    res.status(reasons.length === 0 ? 200 : 503).json(reasons.length === 0 ? { status: 'ok' } : { status: 'unavailable', reasons });
  });
  app.get('/openapi.yaml', (_req, res) => res.sendFile(fileOf('openapi.yaml'), { headers: { 'Content-Type': 'application/yaml' } }));
  app.get('/openapi.json', (_req, res) => res.sendFile(fileOf('generated/openapi.json')));

  const site = fileOf('docs/site/');
  app.get('/', (_req, res) => res.redirect('/docs'));
  app.use('/docs', (_req, _res, next) => next(existsSync(`${site}index.html`) ? undefined : new Problem('not-built', { detail: 'Run `npm run docs` and try again.' })),
    express.static(site, { extensions: ['html'], redirect: false, cacheControl: false }));
  app.get('/docs', (_req, res) => res.sendFile(`${site}index.html`));
}
