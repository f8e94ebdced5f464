// The reference for readers without a browser: the same contract and samples as one Markdown document.
import type { MediaTypeObject, ReferenceObject, SchemaObject } from 'openapi-typescript';
import { contract, follow, nameOf, schemas, tags, type Operation } from './contract.ts';
import { slug } from './markdown.ts';
import type { Sample } from './samples.ts';

type Schema = SchemaObject | ReferenceObject | object;
/** What the contract's schemas say; their type in the library is a union that no single place has all of. */
type Facts = { type?: string | string[]; format?: string; enum?: unknown[]; const?: unknown; items?: Schema; oneOf?: Schema[]; properties?: Record<string, Schema>; required?: string[];
  minimum?: number; maximum?: number; minLength?: number; maxLength?: number; minItems?: number; maxItems?: number; pattern?: string; default?: unknown; description?: string };

export function referenceMarkdown(samples: Map<string, Sample>): string {
  const { title, version, description = '' } = contract.info;
  return [
    `# ${title} API ${version}`,
    description.trim().replaceAll(/\]\(\/docs\/([\w-]+)/g, ']($1.md'),
    ...tags.flatMap((tag) => [`## ${tag.title}`, tag.description, ...tag.operations.map((one) => operation(one, samples.get(one.id)))]),
    '## Schemas',
    ...schemas.map(([name, schema]) => [`### ${name}`, facts(schema).description, shape(schema)].filter(Boolean).join('\n\n')),
  ].join('\n\n') + '\n';
}

function operation({ id, method, path, summary, description, scopes, parameters, body, answers }: Operation, sample: Sample | undefined): string {
  return [
    `### ${summary}`,
    `\`${method} ${path}\` (\`${id}\`), scope ${scopes.map((all) => all.map((scope) => `\`${scope}\``).join(' and ')).join(', or ')}`,
    description,
    parameters.length && table(['parameter', 'in', 'type', ''], parameters.map((one) => [
      `\`${one.name}\`${one.required ? ' (required)' : ''}`, one.in, type(one.schema ?? {}), sentence(one.description ?? facts(one.schema ?? {}).description ?? ''),
    ])),
    body && `Body${body.required ? '' : ' (optional)'}: ${Object.entries(body.content).map(([media, content]) => `${type(content.schema ?? {})} as \`${media}\``).join(', ')}`,
    ...(body ? Object.values(body.content).flatMap((media) => examples(media)) : []),
    sample && `With curl:\n\n\`\`\`sh\n${sample.curl}\n\`\`\``,
    sample && `In TypeScript:\n\n\`\`\`ts\n${sample.typescript}\n\`\`\``,
    table(['status', 'answer', 'content'], answers.map((answer) => [
      `\`${answer.status}\``, sentence(answer.description), Object.entries(answer.content).map(([media, { schema }]) => `\`${media}\`: ${type(schema ?? {})}`).join(', '),
    ])),
    ...answers.filter(({ status }) => status.startsWith('2')).flatMap(({ status, content }) => Object.values(content).flatMap((media) => examples(media, status))),
  ].filter(Boolean).join('\n\n');
}

function examples({ examples: named = {} }: MediaTypeObject, status?: string): string[] {
  return Object.entries(named).map(([name, one]) => {
    const { summary = name, value } = follow<{ summary?: string; value?: unknown }>(one);
    const [language, text] = typeof value === 'string' ? ['text', value.trimEnd()] : ['json', JSON.stringify(value, null, 2)];
    return `${status ? `Example of ${status}` : 'Example'}: ${summary}\n\n\`\`\`${language}\n${text}\n\`\`\``;
  });
}

/** The fields of an object, the values of an enumeration, or what else there is to say. */
function shape(schema: Schema): string {
  const { properties, required = [], oneOf } = facts(schema);
  if (oneOf) return oneOf.map((one) => ('$ref' in one ? `- ${type(one)}` : `- ${fields(one)}`)).join('\n');
  if (!properties) return `${type(schema)}`;
  return table(['field', 'type', ''], Object.entries(properties).map(([name, field]) => [`\`${name}\`${required.includes(name) ? ' (required)' : ''}`, type(field), sentence(facts(field).description ?? '')]));
}

const fields = (schema: Schema): string => Object.entries(facts(schema).properties ?? {}).map(([name, field]) => `\`${name}\`: ${type(field)}`).join(', ');

function type(schema: Schema): string {
  if ('$ref' in schema) return named(schema as ReferenceObject);
  const { type: kind, format, enum: values, const: only, items, oneOf, properties, minimum, maximum, minLength, maxLength, minItems, maxItems, pattern, default: usual } = facts(schema);
  if (only !== undefined) return `\`${JSON.stringify(only)}\``;
  if (oneOf) return oneOf.map(type).join(' or ');
  const range = (least: number | undefined, most: number | undefined, unit = ''): string => {
    if (least === undefined) return most === undefined ? '' : `at most ${most}${unit}`;
    return most === undefined ? `at least ${least}${unit}` : `${least} to ${most}${unit}`;
  };
  const bounds = [format, range(minimum, maximum), range(minLength, maxLength, ' characters long'), range(minItems, maxItems, ' of them'), pattern && `\`${pattern.replaceAll('|', '\\|')}\``, usual !== undefined && `default ${JSON.stringify(usual)}`];
  const name = values ? values.map((value) => `\`${String(value)}\``).join(', ') : items ? `array of ${type(items)}` : [kind ?? 'any'].flat().join(' or ');
  return [name, properties && !values ? `{ ${fields(schema)} }` : '', ...bounds].filter(Boolean).join(', ');
}

const named = (reference: ReferenceObject): string => `[${nameOf(reference)}](#${slug(nameOf(reference))})`;
const facts = (schema: Schema): Facts => schema as Facts; // see Facts
const sentence = (text: string): string => text.trim().replace(/\s+/g, ' ').replaceAll('|', '\\|');
const table = (head: string[], rows: string[][]): string => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
