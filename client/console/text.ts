// What clients say of themselves, made fit to be looked at: what would be invisible or turn the line around is shown instead.

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;
const PICTOGRAPH = /\p{Extended_Pictographic}\uFE0F?\p{Emoji_Modifier}?$/u;

/** A line of somebody else's text. A joiner between two pictographs is part of a picture; all else that cannot be seen is named. */
export function shown(text: string | null | undefined): string {
  if (text === null || text === undefined) return '';
  const seen = text.replace(INVISIBLE, (character, at: number) => {
    const joins = character === '\u200D' && PICTOGRAPH.test(text.slice(0, at)) && /^\p{Extended_Pictographic}/u.test(text.slice(at + 1));
    return joins ? character : named(character);
  });
  return text !== '' && seen.trim() === '' ? '(blank)' : seen;
}

/** The same for text of several lines. */
export const shownLines = (text: string): string => text.split('\n').map((line) => line && line.trim() === '' ? line : shown(line)).join('\n');

function named(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
}

const numbers = new Intl.NumberFormat('en');
export const count = (value: number): string => numbers.format(value);
export const sessions = (value: number): string => `${count(value)} ${value === 1 ? 'session' : 'sessions'}`;
