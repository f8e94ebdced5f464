// The documentation: complete over the contract, every link alive, one file for each page that loads nothing from anywhere.
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, CHAPTERS, externalLoads } from '../../docs/build.ts';
import { highlight } from '../../docs/highlight.ts';
import { outline, slug } from '../../docs/markdown.ts';
import { sampleOf } from '../../docs/samples.ts';
import { Problem, type ProblemCode } from '../../server/problem.ts';
import { operations, problemTypes } from './contract.ts';

const DOCS = new URL('../../docs/', import.meta.url);
const codes = problemTypes.map((type) => type.replace('/docs/errors#', '') as ProblemCode); // the contract's own list of them
const chapters = CHAPTERS.flatMap((group) => Object.keys(group.chapters));

describe('docs/errors.md', () => {
  let markdown: string;
  beforeAll(async () => { markdown = await readFile(new URL('errors.md', DOCS), 'utf8'); });

  it("has a section for every problem of the contract, in the contract's order", () => {
    expect(codes.length).toBeGreaterThan(10);
    const { title, sections } = outline(markdown);
    expect([title, sections.filter(({ depth }) => depth === 2).map(({ id }) => id)]).toEqual(['Errors', codes]);
  });

  it.each(codes)('%s: says status and title as the server does, what it means, why it happens and what to do', (code) => {
    const section = markdown.split(/^## /m).find((text) => text.startsWith(`${code}\n`)) ?? '';
    const { status, title } = new Problem(code).body('');
    expect(section).toContain(`\n**${status}** ${title}\n`);
    expect([...section.matchAll(/^- \*\*(.+?):\*\* \S/gm)].map(([, name]) => name)).toEqual(['Meaning', 'Cause', 'What to do']);
  });
});

describe('npm run docs', () => {
  let folder: string;
  const files = new Map<string, string>();
  const file = (name: string): string => files.get(name) ?? expect.fail(`${name} was not built`);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rollcall-docs-'));
    await build(join(folder, 'site'));
    for (const name of await readdir(join(folder, 'site'))) files.set(name, await readFile(join(folder, 'site', name), 'utf8'));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const pages = () => [...files].filter(([name]) => name.endsWith('.html'));

  it('has every chapter that is written, as a page and as Markdown', async () => {
    const written = (await readdir(DOCS)).filter((name) => name.endsWith('.md') && !['index.md', 'decisions.md'].includes(name)).map((name) => name.replace('.md', ''));
    expect(chapters.filter((name) => name !== 'reference').sort(), 'CHAPTERS in docs/build.ts lists every chapter').toEqual(written.sort());
    expect([...files.keys()].sort()).toEqual([...chapters, 'index'].flatMap((name) => [`${name}.html`, `${name}.md`]).concat('llms.txt', 'openapi.yaml').sort());
    for (const name of chapters) expect(file('llms.txt')).toMatch(new RegExp(`^- \\[.+\\]\\(${name}\\.md\\): \\S`, 'm'));
  });

  it('leads from each chapter to the next', () => {
    for (const [index, name] of chapters.entries()) {
      const next = /<a class="next" href="([^"]+)">/.exec(file(`${index === 0 ? 'index' : chapters[index - 1]}.html`));
      if (chapters[index - 1] !== 'reference') expect(next?.[1]).toBe(`${name}.html`);
    }
  });

  it('gives every problem type its anchor', () => {
    expect([...file('errors.html').matchAll(/<h2 id="([^"]+)">/g)].map(([, id]) => id)).toEqual(codes);
  });

  // Compared outside of the assertions, or a failure would print two megabytes.
  it('carries every operation and its samples in the reference, and in its Markdown', () => {
    for (const { id, method, path } of operations) {
      const { curl, typescript } = sampleOf(id);
      const inPage = [`"operationId":"${id}"`, `{"lang":"curl","source":${JSON.stringify(curl)}},{"lang":"TypeScript","source":${JSON.stringify(typescript)}}`];
      expect([id, inPage.filter((text) => !file('reference.html').includes(text))]).toEqual([id, []]);
      const asText = [`\`${method.toUpperCase()} ${path}\` (\`${id}\`)`, curl, typescript];
      expect([id, asText.filter((text) => !file('reference.md').includes(text))]).toEqual([id, []]);
    }
    expect(/<h2[^>]*>.*What a session is/.test(file('reference.html')), 'the introduction is rendered before any script runs').toBe(true);
  });

  it('finds every operation and every problem by its name', () => {
    const [, index = '[]'] = /<script type="application\/json" id="index">(.*?)<\/script>/.exec(file('start.html')) ?? [];
    const entries = JSON.parse(index) as { title: string; href: string; words: string }[]; // as search.ts writes it
    for (const { id } of operations) expect(entries.filter(({ href, words }) => words.startsWith(`${id} `) && href.endsWith(`/${id.toLowerCase()}`)), id).toHaveLength(1);
    for (const command of ['pg_restore --clean', 'api DELETE "sessions?userId=ada', 'npm pack --workspace client']) expect(entries.filter(({ words }) => words.includes(command)), command).not.toEqual([]);
    for (const code of codes) expect(entries.some(({ title, href }) => title === code && href === `errors.html#${code}`), code).toBe(true);
  });

  it('has no dead link and no dead anchor, on the pages and in their Markdown', () => {
    const anchors = (name: string): Set<string> => name === 'reference.html'
      ? new Set(operations.map(({ id, spec }) => `/${spec.tags?.[0]}/${id.toLowerCase()}`))
      : new Set([...file(name).matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id!));
    const headings = (name: string) => new Set([...file(name).matchAll(/^#+ (.+)$/gm)].map(([, text]) => slug(text!)));
    const isDead = (href: string, from: string, idsOf: (name: string) => Set<string>): boolean => {
      if (/^(?:https?:|mailto:|data:)/.test(href)) return false;
      const [name, anchor] = href.split('#') as [string, string?]; // a split has a first
      return !files.has(name || from) || (anchor !== undefined && !idsOf(name || from).has(anchor));
    };
    const dead = [...files].flatMap(([from, text]) => {
      if (from.endsWith('.html')) {
        const markup = from === 'reference.html' ? text.slice(0, text.indexOf('<div id="redoc">')) : text.replaceAll(/<script\b[^]*?<\/script>/g, '');
        return [...markup.matchAll(/<a\b[^>]*\shref="([^"]*)"/g)].filter(([, href]) => isDead(href!.replaceAll('&#38;', '&'), from, anchors)).map(([, href]) => `${from} -> ${href}`);
      }
      if (from === 'openapi.yaml') return []; // see below
      const prose = text.replaceAll(/```[^]*?```|`[^`\n]*`/g, '');
      return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].filter(([, href]) => isDead(href!, from, headings)).map(([, href]) => `${from} -> ${href}`);
    });
    expect(dead).toEqual([]);
  });

  it('names files of the repository that are there', () => {
    const named = chapters.flatMap((name) => [...file(`${name}.md`).matchAll(/`((?:test|docs|deploy)\/[\w./-]+)`/g)].map(([, path]) => path!));
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((path) => !existsSync(new URL(`../${path}`, DOCS)))).toEqual([]);
  });

  it('is linked to by the contract and the READMEs where there is something', async () => {
    const targets = await Promise.all(['openapi.yaml', 'README.md', 'client/README.md'].map(async (name) => {
      const text = await readFile(new URL(`../${name}`, DOCS), 'utf8');
      return [...text.matchAll(/\]\((?:\/docs\/([\w-]+)|docs\/([\w-]+)\.md)(?:#([\w-]+))?\)/g)].map(([, onServer, inTree, anchor]) => ({ name: onServer ?? inTree!, anchor }));
    }));
    expect(targets.flat().length).toBeGreaterThan(2);
    const dead = targets.flat().filter(({ name, anchor }) => name !== 'decisions' && (!files.has(`${name}.html`) || (anchor && !file(`${name}.html`).includes(` id="${anchor}"`))));
    expect(dead).toEqual([]);
  });

  it('loads nothing from outside, and tells nobody', () => {
    expect(pages().length).toBeGreaterThan(8);
    for (const [name, html] of pages()) expect([name, externalLoads(html)]).toEqual([name, []]);
    expect(file('reference.html').includes('cdn.redoc.ly'), 'its logo').toBe(false);
    expect(file('reference.html').includes('"disableTelemetry":true'), 'telemetry off').toBe(true);
  });

  it('forbids the browser to fetch, and to run what was not built in, before anything could', () => {
    for (const [name, html] of pages()) {
      const head = html.slice(0, html.search(/<(script|style|link)\b/));
      const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(head)?.[1] ?? '';
      expect([name, policy]).toEqual([name, expect.stringMatching(/^default-src 'none'; script-src 'sha256-[^']+'(?: 'sha256-[^']+')*; /)]);
      expect(policy).not.toMatch(/https?:|\*|'self'|unsafe-eval|connect-src (?!'none')/);
    }
  });
});

describe('outline', () => {
  it('makes the anchors that GitHub makes, and leaves a name as it is', () => {
    expect(['What is promised, and what is not', 'SDK v2', "A client's own token", 'not-found', 'Who may: `all`', 'RollcallDown'].map(slug)).toEqual(['what-is-promised-and-what-is-not', 'sdk-v2', 'a-clients-own-token', 'not-found', 'who-may-all', 'RollcallDown']);
  });
});

describe('highlight', () => {
  it('loses nothing of the code, and lets none of it become markup', () => {
    for (const [language, code] of [['sh', 'curl "$URL" # <b>'], ['ts', "const a = '<b>'; // `x`"], ['json', '{ "a": "<b>", "n": 1 }'], ['', '<b>&</b>']] as const) {
      const html = highlight(code, language);
      expect(html).not.toContain('<b>');
      expect(html.replaceAll(/<\/?span[^>]*>/g, '').replaceAll(/&#(\d+);/g, (_, number: string) => String.fromCharCode(Number(number)))).toBe(code);
    }
    expect(highlight("const a = 'b';", 'ts')).toBe(`<span class="keyword">const</span> a = <span class="string">'b'</span>;`);
  });
});

describe('sampleOf', () => {
  it('fails for an operation that nobody has written a sample for, and names the file', () => {
    expect(() => sampleOf('listEverything')).toThrow('listEverything has no docs/samples/listEverything.sh');
  });

  it('shows the package that a reader has', () => {
    for (const { id } of operations) expect(sampleOf(id).typescript).toMatch(/from '@rollcall\/client(?:\/\w+)?';/);
  });
});

describe('externalLoads', () => {
  it.each([
    ['<script src="https://cdn.example/a.js"></script>', 'https://cdn.example/a.js'],
    ['<link rel="stylesheet" href="//cdn.example/a.css">', '//cdn.example/a.css'],
    ["<img alt='' src='logo.svg'>", 'logo.svg'],
    ['<style>@import "https://fonts.example/a.css";</style>', 'https://fonts.example/a.css'],
    ['<style>a { background: url(https://cdn.example/a.png) }</style>', 'https://cdn.example/a.png'],
    ['<p style="background: url(a.png)">x</p>', 'a.png'],
  ])('finds %s', (html, address) => {
    expect(externalLoads(html)).toEqual([address]);
  });

  it('lets links, data and inline scripts be', () => {
    expect(externalLoads('<a href="https://example.com">x</a><link rel="alternate" type="text/markdown" href="a.md"><img src="data:,"><script>"<img src=x>"</script><code>new URL(x)</code>')).toEqual([]);
  });
});
