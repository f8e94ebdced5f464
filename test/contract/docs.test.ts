// The documentation: complete over the contract's problems, and one file each that loads nothing from anywhere.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, externalLoads } from '../../docs/build.ts';
import { outline } from '../../docs/page.ts';
import { Problem, type ProblemCode } from '../../server/problem.ts';
import { operations, problemTypes } from './contract.ts';

const codes = problemTypes.map((type) => type.replace('/docs/errors#', '') as ProblemCode); // the contract's own list of them

describe('docs/errors.md', () => {
  let markdown: string;
  beforeAll(async () => { markdown = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8'); });

  it("has a section for every problem of the contract, in the contract's order", () => {
    expect(codes.length).toBeGreaterThan(10);
    expect(outline(markdown)).toEqual({ title: 'Errors', sections: codes });
  });

  it.each(codes)('%s: says status and title as the server does, what it means, why it happens and what to do', (code) => {
    const section = markdown.split(/^## /m).find((text) => text.startsWith(`${code}\n`)) ?? '';
    const { status, title } = new Problem(code).body('');
    expect(section).toContain(`\n**${status}** ${title}\n`);
    expect([...section.matchAll(/^- \*\*(.+?):\*\* \S/gm)].map(([, name]) => name)).toEqual(['Meaning', 'Cause', 'What to do']);
  });
});

describe('npm run docs', () => {
  let folder: string, reference: string, errors: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rollcall-docs-'));
    await build(join(folder, 'site'));
    [reference, errors] = await Promise.all(['index.html', 'errors.html'].map((name) => readFile(join(folder, 'site', name), 'utf8'))) as [string, string]; // as many as names
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('gives every problem type its anchor', () => {
    expect([...errors.matchAll(/<h2 id="([^"]+)">/g)].map(([, id]) => id)).toEqual(codes);
  });

  // Compared outside of the assertions, or a failure would print two megabytes.
  it('carries every operation in the page itself', () => {
    expect(operations.filter(({ id }) => !reference.includes(`"operationId":"${id}"`))).toEqual([]);
    expect(/<h2[^>]*>.*What a session is/.test(reference), 'the introduction is rendered before any script runs').toBe(true);
  });

  it('loads nothing from outside', () => {
    expect(externalLoads(reference)).toEqual([]);
    expect(externalLoads(errors)).toEqual([]);
    expect(reference.includes('cdn.redoc.ly'), 'its logo').toBe(false);
    expect(reference.includes('"disableTelemetry":true'), 'telemetry off').toBe(true);
  });

  it.each([['reference', () => reference], ['errors', () => errors]])('%s: forbids the browser to fetch, before anything could', (_name, html) => {
    const head = html().slice(0, html().search(/<(script|style|link)\b/));
    const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(head)?.[1] ?? '';
    expect(policy).toMatch(/^default-src 'none';/);
    expect(policy).not.toMatch(/https?:|\*|'self'|connect-src (?!'none')/);
  });
});

describe('externalLoads', () => {
  it.each([
    ['<script src="https://cdn.example/a.js"></script>', 'https://cdn.example/a.js'],
    ['<link rel="stylesheet" href="//cdn.example/a.css">', '//cdn.example/a.css'],
    ["<img alt='' src='logo.svg'>", 'logo.svg'],
    ['<style>@import "https://fonts.example/a.css";</style>', 'https://fonts.example/a.css'],
    ['<style>a { background: url(https://cdn.example/a.png) }</style>', 'https://cdn.example/a.png'],
  ])('finds %s', (html, address) => {
    expect(externalLoads(html)).toEqual([address]);
  });

  it('lets links, data and inline scripts be', () => {
    expect(externalLoads('<a href="https://example.com">x</a><img src="data:,"><script>"<img src=x>"</script>')).toEqual([]);
  });
});
