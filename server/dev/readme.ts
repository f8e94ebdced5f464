// The table of variables, in the README and in the operator's chapter, from the declarations that parse them.
import { variables } from '../config.ts';

const MARK = /(<!-- variables -->\n)[^]*?(<!-- \/variables -->)/;

/** The files that have the table. */
export const WITH_VARIABLES = ['README.md', 'docs/operating.md'];

/** The text with its table as it should be. */
export function withVariables(text: string): string {
  const rows = Object.entries(variables).map(([name, schema]) => {
    const parsed = schema.safeParse(undefined);
    const fallback = parsed.success && parsed.data !== undefined ? defaultOf(schema) : '';
    return `| \`${name}\` | ${fallback && `\`${fallback}\``} | ${schema.description} |`;
  });
  return text.replace(MARK, `$1| variable | default | |\n|---|---|---|\n${rows.join('\n')}\n$2`);
}

/** As it would be written in the environment: what stands before any transformation. */
function defaultOf(schema: unknown): string {
  for (let inner = schema as { def?: { in?: unknown; defaultValue?: unknown } } | undefined; inner?.def; inner = inner.def.in as typeof inner) { // zod's own tree: pipes, then the default
    if (inner.def.defaultValue !== undefined) return String(inner.def.defaultValue);
  }
  return '';
}
