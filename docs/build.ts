// Builds docs/site: the chapters, the reference and their Markdown twins; each page is one HTML file that loads nothing from anywhere.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { anchorOf, contract, operations } from './contract.ts';
import { escape } from './highlight.ts';
import { outline, toHtml } from './markdown.ts';
import { frameReference, renderPage, type Link, type Site } from './page.ts';
import { buildReference } from './reference.ts';
import { referenceMarkdown } from './reference-markdown.ts';
import { samples, type Sample } from './samples.ts';
import { searchIndex } from './search.ts';

/** The chapters in the order they are read in, each docs/<name>.md, with what a list of them says. `reference` is made from the contract. */
export const CHAPTERS: { group: string; chapters: Record<string, string> }[] = [
  { group: 'Begin', chapters: {
    start: 'From nothing to a first revoke, in five minutes.',
    sessions: 'What a session is, how it begins and ends, and what its status means.',
    authentication: 'Tokens, scopes, and who sees what.',
  } },
  { group: 'Use', chapters: {
    revocation: 'What a revoke does, what is promised, and what shows that it holds.',
    events: 'Two streams: for a client about itself, and for whoever watches an application.',
    paging: 'Walking through long lists without missing or repeating anything.',
    errors: 'Every refusal: what it means, why it happens, what to do.',
    mcp: 'The adapter that makes every client of an MCP server a session.',
    frontend: 'A mock, a sandbox of sessions that live, and faults on demand.',
    reference: 'Every operation, with its answers, examples, and how to call it.',
  } },
  { group: 'Run', chapters: {
    operating: 'What to do in a hurry; how to run it, what it tells, and what each alert means.',
    backup: 'Saving the embedded database while the server runs, and coming back from it.',
    scaling: 'What one instance holds, what ten do, and where PostgreSQL becomes the limit: figures and arithmetic.',
    console: "The operator's page: who is connected, and the way to throw them out.",
    threats: 'What attacks are expected, what is done about them, and the tests that show it.',
    versioning: 'What may change under you, and what will not.',
  } },
];

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const read = (path: string): Promise<string> => readFile(here(path), 'utf8');

interface Chapter { name: string; title: string; description: string; markdown: string }

export async function build(folder = here('site')): Promise<string[]> {
  const sampled = samples();
  const [reference, home, groups] = await Promise.all([buildReference(sampled), read('index.md'), readChapters(sampled)]);
  const chapters = groups.flatMap((group) => group.chapters);
  const site: Site = {
    groups: groups.map(({ title, chapters: listed }) => ({ title, links: listed.map(linkTo) })),
    index: searchIndex(chapters.filter(({ name }) => name !== 'reference')),
  };

  const files = new Map([
    ['index.md', home.replace(DOORS, () => list(chapters))],
    ['index.html', renderPage({
      name: 'index', title: 'Rollcall', description: contract.info.summary ?? '', markdown: home, html: toHtml(home, lookup).replace(DOORS, () => doors(chapters)), next: linkTo(chapters[0]!),
    }, site)],
    ['reference.html', frameReference(reference, site)],
    ['llms.txt', llms(home, groups)],
    ['openapi.yaml', await read('../openapi.yaml')],
  ]);
  for (const [index, chapter] of chapters.entries()) {
    files.set(`${chapter.name}.md`, chapter.markdown);
    if (chapter.name === 'reference') continue;
    const [before = { name: 'index', title: 'Overview' }, after] = [chapters[index - 1], chapters[index + 1]];
    files.set(`${chapter.name}.html`, renderPage({ ...chapter, html: toHtml(chapter.markdown, lookup), previous: linkTo(before), next: after && linkTo(after) }, site));
  }

  for (const [name, text] of files) {
    const loads = name.endsWith('.html') ? externalLoads(text) : [];
    if (loads.length) throw new Error(`${name} loads ${loads.join(', ')}`);
  }
  await replace(folder, files);
  return [...files.keys()];
}

const readChapters = (sampled: Map<string, Sample>): Promise<{ title: string; chapters: Chapter[] }[]> =>
  Promise.all(CHAPTERS.map(async ({ group, chapters }) => ({
    title: group,
    chapters: await Promise.all(Object.entries(chapters).map(async ([name, description]) => {
      const markdown = name === 'reference' ? referenceMarkdown(sampled) : await read(`${name}.md`);
      return { name, description, markdown, title: name === 'reference' ? 'API reference' : outline(markdown).title };
    })),
  })));

const DOORS = '<!-- chapters -->';
const linkTo = ({ name, title }: Pick<Chapter, 'name' | 'title'>): Link => ({ href: `${name}.html`, title });
const list = (chapters: Chapter[]): string => chapters.map(({ name, title, description }) => `- [${title}](${name}.md): ${description}`).join('\n');
const doors = (chapters: Chapter[]): string =>
  `<ul class="doors">\n${chapters.map(({ name, title, description }) => `<li><a href="${name}.html">${escape(title)}</a>${escape(description)}</li>`).join('\n')}\n</ul>`;

/** As https://llmstxt.org has it: what this is, and where to read on. */
function llms(home: string, groups: { title: string; chapters: Chapter[] }[]): string {
  const [, about = ''] = home.split('\n\n');
  const sections = groups.map(({ title, chapters }) => `## ${title}\n\n${list(chapters)}`);
  return ['# Rollcall', `> ${contract.info.summary}`, about, ...sections, '## Optional', '- [The contract](openapi.yaml): OpenAPI 3.1, the source of the reference'].join('\n\n') + '\n';
}

/** An operation's name leads to the reference, a problem's code to its entry. */
const problemTypes = (contract.components?.schemas?.['ProblemType'] as { enum: string[] }).enum; // contract.test.ts has checked that it is one
const pages = new Map([
  ...operations.map((operation) => [operation.id, `reference.html${anchorOf(operation)}`] as const),
  ...problemTypes.map((type) => [type.replace('/docs/errors#', ''), type.replace('/docs/errors', 'errors.html')] as const),
]);
const lookup = (code: string): string | undefined => pages.get(code);

/** Beside the old site and then in its place: a server never sees half of it. */
async function replace(folder: string, files: Map<string, string>): Promise<void> {
  const fresh = `${folder}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  for (const [name, text] of files) await writeFile(join(fresh, name), text);
  await rm(folder, { recursive: true, force: true });
  await rename(fresh, folder);
}

/** The addresses a page loads something from by its markup and styles. What scripts fetch is for the policy. */
export function externalLoads(html: string): string[] {
  const markup = html.replaceAll(/(<script\b[^>]*>)[^]*?<\/script>/gi, '$1');
  const tags = [...markup.matchAll(/<(?:script|link(?! rel="alternate")|img|source|iframe|embed|object|video|audio|use|image)\b[^>]*?\b(?:src|href|srcset|data)\s*=\s*["']?([^"'\s>]+)/gi)];
  // Text may speak of `new URL(x)`.
  const sheets = [...markup.matchAll(/<style\b[^>]*>([^]*?)<\/style>|\bstyle\s*=\s*("[^"]*"|'[^']*')/gi)].map((match) => match[1] ?? match[2] ?? '');
  const styles = sheets.flatMap((sheet) => [...sheet.matchAll(/(?:url\(|@import)\s*["']?([^"')\s;]+)/gi)]);
  return [...tags, ...styles].map((match) => match[1] ?? '').filter((address) => !/^(data:|#)/.test(address));
}

if (import.meta.main) {
  const started = performance.now();
  const files = await build();
  console.log(`Built docs/site in ${((performance.now() - started) / 1000).toFixed(1)} s: ${files.filter((name) => name.endsWith('.html')).join(', ')}, each with a Markdown twin, and llms.txt.`);
}
