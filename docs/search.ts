// The index that the site's search looks through: every section of every chapter, and every operation.
import { anchorOf, follow, tags, type Operation } from './contract.ts';
import { outline, plain } from './markdown.ts';

/** Short names: the index is in every page. `in` is where it stands, `words` what is looked through besides the title. */
export interface Entry { title: string; in: string; href: string; words: string }

export function searchIndex(chapters: { name: string; markdown: string }[]): Entry[] {
  return [
    ...tags.flatMap(({ operations }) => operations.map((operation) => ({
      title: operation.summary, in: `${operation.method} ${operation.path.replace('/api/v1', '')}`, href: `reference.html${anchorOf(operation)}`, words: wordsOf(operation),
    }))),
    ...chapters.flatMap(({ name, markdown }) => {
      const { title, sections } = outline(markdown);
      return sections.map((section) => ({
        title: section.title, in: section.depth === 1 ? 'Chapter' : title, href: section.depth === 1 ? `${name}.html` : `${name}.html#${section.id}`, words: section.text,
      }));
    }),
  ];
}

/** What a reader may remember of an operation: its name, its scopes, its parameters, the fields of what is sent. */
function wordsOf({ id, description, scopes, parameters, body }: Operation): string {
  const schema = body?.content['application/json']?.schema;
  const fields = Object.keys((schema && (follow(schema) as { properties?: object }).properties) ?? {}); // bodies are objects
  return [id, plain(description), ...scopes.flat(), ...parameters.map((parameter) => parameter.name), ...fields].join(' ');
}
