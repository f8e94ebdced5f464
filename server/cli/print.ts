// What the command prints: JSON for programs, a table for people, and never what a client made up to move a terminal's cursor.

/** Control characters, and those that turn the writing direction around or cannot be seen, as their code. */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`);

/** Columns as wide as what is in them; the last one runs on. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => [...line[column] ?? ''].length)));
  return lines.map((line) => line.map((cell, column) => column === line.length - 1 ? cell : cell + ' '.repeat(widths[column]! - [...cell].length)).join('  ').trimEnd()).join('\n');
}

/** The same for JSON, which escapes some of them itself; what it leaves stands inside of strings, so that a program reads the same text. */
export const json = (value: unknown): string => JSON.stringify(value, null, 2).replace(/[^\n\P{Cc}]|[\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
  character.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''));

/** `3 min ago`, for columns; the exact time is in the JSON. */
export function ago(time: string | undefined, now: number): string {
  if (time === undefined) return '-';
  const seconds = Math.round((now - Date.parse(time)) / 1000), size = Math.abs(seconds);
  const [amount, unit] = size < 90 ? [size, 's'] : size < 5_400 ? [Math.round(size / 60), 'min'] : size < 129_600 ? [Math.round(size / 3_600), 'h'] : [Math.round(size / 86_400), 'd'];
  return seconds < 0 ? `in ${amount} ${unit}` : `${amount} ${unit} ago`;
}
