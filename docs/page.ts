// The frame of every page: header with search, the list of chapters, what is on this page, and the policy that lets nothing load.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { transformSync } from 'esbuild';
import { escape } from './highlight.ts';
import { outline } from './markdown.ts';
import type { Entry } from './search.ts';

export interface Link { href: string; title: string }
export interface Group { title: string; links: Link[] }
export interface Page {
  /** The name of its files, without their endings. */
  name: string; title: string; description: string; html: string; markdown: string;
  previous?: Link | undefined; next?: Link | undefined;
}
/** What all pages have in common. */
export interface Site { groups: Group[]; index: Entry[] }

const read = (name: string): string => readFileSync(new URL(`theme/${name}`, import.meta.url), 'utf8');
const minify = (name: string, loader: 'css' | 'ts'): string => transformSync(read(name), { loader, minify: true, target: 'es2023', charset: 'utf8', ...(loader === 'ts' && { format: 'iife' }) }).code.trim();
const theme = { base: minify('base.css', 'css'), chapter: minify('chapter.css', 'css'), reference: minify('reference.css', 'css'), script: minify('site.ts', 'ts') };

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Only these scripts run, and whatever else a page might want to fetch, a browser refuses. */
export const policy = ({ scripts, styles }: { scripts: string[]; styles: string }): string =>
  `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src ${scripts.map(hash).join(' ')}; style-src ${styles}; img-src data:; font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'">`;

/** The console's mark, and its icon. */
const MARK = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1 3h14M1 8h14M1 13h8" fill="none" stroke="currentColor" stroke-width="3"/></svg>`;
const ICON = `<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%231f4fd8'/%3E%3Cpath d='M4 5h8M4 8h8M4 11h4' stroke='%23fff' stroke-width='1.6' stroke-linecap='round'/%3E%3C/svg%3E">`;

/** `<` would end the element that holds it. */
const data = (index: Entry[]): string => JSON.stringify(index).replaceAll('<', '\\u003c');

const list = ({ groups }: Site, current: string): string => groups.map(({ title, links }) => `<h2>${escape(title)}</h2>
<ul>
${links.map(({ href, title: text }) => `<li><a href="${href}"${href === `${current}.html` ? ' aria-current="page"' : ''}>${escape(text)}</a></li>`).join('\n')}
</ul>`).join('\n');

/** Above everything, on the reference, too. */
const header = (site: Site, current: string): string => `<header class="top">
<a class="brand" href="index.html">${MARK}<span>Rollcall</span></a>
<nav class="bar" aria-label="Site">
<a href="start.html"${current === 'start' ? ' aria-current="page"' : ''}>Start here</a>
<a href="reference.html"${current === 'reference' ? ' aria-current="page"' : ''}>Reference</a>
</nav>
<button class="find" type="button" aria-haspopup="dialog" hidden><span>Search</span> <kbd>/</kbd></button>
<details class="menu"><summary>Menu</summary><nav aria-label="Menu">
${list(site, current)}
</nav></details>${current === 'reference' ? '<h1>API reference</h1>' : ''}
</header>
<dialog class="search" aria-label="Search">
<input type="search" aria-label="Search chapters and operations" placeholder="Search chapters and operations" autocomplete="off" spellcheck="false">
<p role="status"></p>
<ul></ul>
<footer><kbd>↑</kbd> <kbd>↓</kbd> choose <kbd>↵</kbd> open <kbd>esc</kbd> close</footer>
</dialog>`;

const scripts = (site: Site): string => `<script type="application/json" id="index">${data(site.index)}</script>
<script>${theme.script}</script>`;

export function renderPage(page: Page, site: Site): string {
  const { title, sections } = outline(page.markdown);
  const onPage = sections.filter(({ depth }) => depth === 2);
  const style = theme.base + theme.chapter;
  const turn = (link: Link | undefined, word: string, kind: string) => (link ? `<a class="${kind}" href="${link.href}"><small>${word}</small> ${escape(link.title)}</a>` : '');
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
${policy({ scripts: [theme.script], styles: hash(style) })}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="${escape(page.description)}">
<meta name="color-scheme" content="light dark">
<title>${page.name === 'index' ? 'Rollcall' : `${escape(title)} - Rollcall`}</title>
<link rel="alternate" type="text/markdown" href="${page.name}.md">
${ICON}
<style>${style}</style>
</head>
<body class="${page.name === 'index' ? 'home' : 'chapter'}">
<a class="skip" href="#main">Skip to the text</a>
${header(site, page.name)}
<div class="columns">
<nav class="side" aria-label="Chapters">
${list(site, page.name)}
</nav>
<main id="main" tabindex="-1">
${page.html}
<nav class="turn" aria-label="Previous and next">${turn(page.previous, 'Previous', 'previous')}${turn(page.next, 'Next', 'next')}</nav>
<footer class="foot"><a href="${page.name}.md">This page as Markdown</a> <a href="llms.txt">llms.txt</a></footer>
</main>
${onPage.length > 1 ? `<nav class="toc" aria-label="On this page"><h2>On this page</h2>
<ul>
${onPage.map((section) => `<li><a href="#${escape(section.id)}">${escape(section.title)}</a></li>`).join('\n')}
</ul></nav>` : ''}
</div>
${scripts(site)}
</body>
</html>
`;
}

/** Puts the site's header and policy on the page that Redocly made. */
export function frameReference(html: string, site: Site): string {
  const [head] = /<head>\s*<meta charset="[^"]+"\s*\/?>/i.exec(html) ?? [];
  if (head === undefined) throw new Error('The reference has no place for its policy.');
  const own = [...html.matchAll(/<script\b[^>]*>([^]*?)<\/script>/g)].map(([, script = '']) => script);
  return html
    // A policy only governs what comes after it, so it goes before everything that loads. The page makes its styles as it goes.
    .replace(head, () => `${head}\n${policy({ scripts: [...own, theme.script], styles: "'unsafe-inline'" })}\n<link rel="alternate" type="text/markdown" href="reference.md">\n${ICON}`)
    .replace('</head>', () => `<style>${theme.base}${theme.reference}</style></head>`)
    .replace('<body>', () => `<body class="reference">\n${header(site, 'reference')}`)
    .replace(/<\/body>(?![^]*<\/body>)/, () => `${scripts(site)}</body>`);
}
