// Turns a chapter of Markdown into one self-contained HTML page: readable on a phone, in the dark, and without a network.
import { Marked, type Tokens } from 'marked';

const STYLE = `
  :root { color-scheme: light dark; --line: light-dark(#d7dae0, #3a3f4a); --soft: light-dark(#f3f4f7, #22262e); --link: light-dark(#0b57d0, #8ab4f8); }
  body { margin: 0 auto; padding: 1rem 1.25rem 6rem; max-width: 46rem; font: 1rem/1.6 system-ui, sans-serif; overflow-wrap: break-word;
    background: light-dark(#fff, #16181d); color: light-dark(#1c1e23, #e3e5ea); }
  h1 { line-height: 1.2; } h2 { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: 1.25rem; scroll-margin-top: .5rem; }
  h2:target { background: var(--soft); } h2 a { color: inherit; text-decoration: none; } h2 a:hover, h2 a:focus-visible { text-decoration: underline; }
  a { color: var(--link); } code { padding: .1em .3em; border-radius: .25rem; background: var(--soft); font: .9em ui-monospace, monospace; }
  li { margin: .35rem 0; } nav ul { padding: 0; list-style: none; columns: 13rem; } nav li { margin: 0; break-inside: avoid; }
  pre { overflow-x: auto; padding: 1rem; background: var(--soft); } pre code { padding: 0; }`;

const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Sections (`## name`) get their own name as the anchor, so that a link to one can be written down in the contract. */
export function renderPage(markdown: string): string {
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        const inner = this.parser.parseInline(tokens);
        return depth === 2 ? `<h2 id="${escape(text)}"><a href="#${escape(text)}">${inner}</a></h2>\n` : `<h${depth}>${inner}</h${depth}>\n`;
      },
    },
  });
  const { title, sections } = outline(markdown);
  const links = sections.map((name) => `<li><a href="#${escape(name)}">${escape(name)}</a></li>`).join('\n');
  const body = String(marked.parse(markdown, { async: false })).replace('<h2', () => `<nav aria-label="On this page"><ul>\n${links}\n</ul></nav>\n<h2`);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} - Rollcall</title>
<style>${STYLE}
</style>
</head>
<body>
<p><a href="/docs">API reference</a></p>
<main>
${body}</main>
</body>
</html>
`;
}

/** The title of a chapter and the names of its sections, in their order. */
export function outline(markdown: string): { title: string; sections: string[] } {
  const headings = new Marked().lexer(markdown).filter((token): token is Tokens.Heading => token.type === 'heading');
  const named = (depth: number) => headings.filter((heading) => heading.depth === depth).map((heading) => heading.text);
  return { title: named(1)[0] ?? 'Documentation', sections: named(2) };
}
