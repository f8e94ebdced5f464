// What a client says of itself, cut to what the service takes: none of it is trusted, and none of it may make a connect fail.

/** Longer than any real client's, and far below the service's limit of 8 KB for all of it. */
const LONGEST_FIELD = 200;
const FIELDS = ['name', 'title', 'version', 'description', 'websiteUrl'] as const;

/** The texts of MCP's `Implementation`, without its icons, which may be whole images. */
export function clientInfoOf(given: unknown): Record<string, string> | null {
  const info: Record<string, unknown> = Object(given);
  const entries = FIELDS.flatMap((field) => {
    const text = oneLine(info[field], LONGEST_FIELD);
    return text === undefined ? [] : [[field, text] as const];
  });
  return entries.length === 0 ? null : Object.fromEntries(entries);
}

/** The text without control characters, at most so many characters long; undefined when nothing is left, or it is no text. */
export function oneLine(given: unknown, longest: number): string | undefined {
  if (typeof given !== 'string') return undefined;
  const text = given.slice(0, 10 * longest).replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return [...text].slice(0, longest).join('').trim() || undefined;
}
