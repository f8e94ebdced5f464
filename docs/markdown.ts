// From a chapter's Markdown to HTML: anchors on headings, links between pages, tables that scroll, code with colours.
import { Marked, type Tokens } from 'marked';
import { escape, highlight } from './highlight.ts';

export interface Section { depth: number; title: string; id: string; text: string }

/** Where a word in `code` leads, such as the name of an operation. */
export type Lookup = (code: string) => string | undefined;

/** As GitHub makes them, so that a link to a section works there, too; a name, such as `not-found` or `RollcallDown`, is its own anchor. */
export const slug = (heading: string): string => (/^\w*[a-z]\w*[A-Z]\w*$/.test(heading) ? heading : heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').trim().replace(/\s/g, '-'));

/** Chapters link to each other's files; on the site those are pages. */
export const pageOf = (href: string): string => href.replace(/^([\w-]+)\.md(?=$|#)/, '$1.html');

export function toHtml(markdown: string, lookup: Lookup = () => undefined): string {
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        const inner = this.parser.parseInline(tokens);
        if (depth === 1) return `<h1>${inner}</h1>\n`;
        const id = escape(slug(plain(text)));
        return `<h${depth} id="${id}">${inner} <a class="anchor" href="#${id}" aria-label="Link to ${escape(plain(text))}">#</a></h${depth}>\n`;
      },
      link({ href, title, tokens }) {
        return `<a href="${escape(pageOf(href))}"${title ? ` title="${escape(title)}"` : ''}>${this.parser.parseInline(tokens)}</a>`;
      },
      codespan({ text }) {
        const href = lookup(text), code = `<code>${escape(text)}</code>`;
        return href === undefined ? code : `<a href="${escape(href)}">${code}</a>`;
      },
      code({ text, lang = '' }) {
        return `<div class="code"><pre><code>${highlight(text.trimEnd(), lang || (isShell(text) ? 'sh' : ''))}\n</code></pre></div>\n`;
      },
      table(token) {
        const cells = (row: Tokens.TableCell[], tag: string) => row.map((cell) => {
          const inner = this.parser.parseInline(cell.tokens);
          return inner === '' && tag !== 'td' ? '<td></td>' : `<${tag}>${inner}</${tag}>`; // a heading without words would be announced
        }).join('');
        const rows = token.rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('\n');
        return `<div class="table"><table>\n<thead><tr>${cells(token.header, 'th scope="col"').replaceAll('</th scope="col">', '</th>')}</tr></thead>\n<tbody>\n${rows}\n</tbody>\n</table></div>\n`;
      },
    },
  });
  return String(marked.parse(markdown, { async: false }));
}

/** An indented block does not say what it is. */
const isShell = (text: string): boolean => /^(?:curl|npm|npx|node|export|api)\b/.test(text);

/** The title of a chapter and its sections, in their order, with their words for the search: prose and commands. */
export function outline(markdown: string): { title: string; sections: Section[] } {
  const sections: Section[] = [];
  for (const token of new Marked().lexer(markdown)) {
    if (token.type === 'heading') sections.push({ depth: token.depth as number, title: plain((token as Tokens.Heading).text), id: slug(plain((token as Tokens.Heading).text)), text: '' });
    else if (token.type !== 'space' && (token.type !== 'code' || token.lang === 'sh' || isShell(token.text))) (sections.at(-1) ?? { text: '' }).text += ` ${plain(token.raw.replace(/^```.*$/gm, ''))}`;
  }
  const [title] = sections.filter(({ depth }) => depth === 1);
  return { title: title?.title ?? 'Documentation', sections };
}

/** Markdown without its marks. */
export const plain = (text: string): string => text
  .replace(/<!--[^]*?-->/g, '').replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]|^#+ |^\s*\|?[-| :]{4,}$/gm, '').replace(/\s*\|\s*/g, ' ').replace(/^\s*- /gm, '').replace(/\s+/g, ' ').trim();
