// Builds docs/site: the API reference and the chapters, each one HTML file that loads nothing from anywhere.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { redocly } from '../server/dev/redocly.ts';
import { renderPage } from './page.ts';

/** Chapters of prose, each a page of its name. */
const CHAPTERS = ['errors', 'mcp'];

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// The scripts and styles are in the page; whatever else it might want to fetch, a browser refuses.
const POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
  + "connect-src 'none'; base-uri 'none'; form-action 'none'";

export async function build(folder = here('site')): Promise<void> {
  await mkdir(folder, { recursive: true });
  const [reference, ...chapters] = await Promise.all([buildReference(), ...CHAPTERS.map((name) => readFile(here(`${name}.md`), 'utf8'))]);
  const pages = { 'index.html': reference, ...Object.fromEntries(CHAPTERS.map((name, index) => [`${name}.html`, renderPage(chapters[index]!)])) };
  for (const [name, html] of Object.entries(pages)) {
    const loads = externalLoads(html);
    if (loads.length) throw new Error(`${name} loads ${loads.join(', ')}`);
    await writeFile(join(folder, name), html);
  }
}

/** By way of a temporary folder: a page without its policy is never where a server could pick it up. */
async function buildReference(): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), 'rollcall-docs-'));
  try {
    const { code, output } = await redocly('build-docs', here('../openapi.yaml'), '--config', here('redocly.yaml'),
      '--lint-config', 'off', '--inlineBundle', '--output', join(scratch, 'index.html'));
    if (code !== 0) throw new Error(`The reference cannot be built.\n${output}`);
    return confine(await readFile(join(scratch, 'index.html'), 'utf8'));
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** A policy only governs what comes after it, so it goes before everything that loads. */
function confine(html: string): string {
  const [head] = /<head>\s*<meta charset="[^"]+"\s*\/?>/i.exec(html) ?? [];
  if (head === undefined) throw new Error('The reference has no place for its policy.');
  return html
    .replace(head, () => `${head}\n  <meta http-equiv="Content-Security-Policy" content="${POLICY}">`)
    // Its maker's logo: refused by the policy anyway, and an empty image leaves the console quiet.
    .replaceAll(/https:\/\/cdn\.redoc\.ly\/[\w./-]+/g, 'data:,');
}

/** The addresses a page loads something from by its markup and styles. What scripts fetch is for the policy. */
export function externalLoads(html: string): string[] {
  const markup = html.replaceAll(/(<script\b[^>]*>)[^]*?<\/script>/gi, '$1');
  const tags = [...markup.matchAll(/<(?:script|link|img|source|iframe|embed|object|video|audio|use|image)\b[^>]*?\b(?:src|href|srcset|data)\s*=\s*["']?([^"'\s>]+)/gi)];
  const styles = [...markup.matchAll(/(?:url\(|@import)\s*["']?([^"')\s;]+)/gi)];
  return [...tags, ...styles].map((match) => match[1] ?? '').filter((address) => !/^(data:|#)/.test(address));
}

if (import.meta.main) {
  await build();
  console.log(`Built docs/site: index.html (the reference), ${CHAPTERS.map((name) => `${name}.html`).join(', ')}.`);
}
