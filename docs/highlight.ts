// Colours in code blocks, given at build time: comments, strings, keywords and numbers of the languages that the chapters use, and no more.

const TS_WORDS = 'as|async|await|break|case|catch|class|const|continue|default|do|else|export|extends|false|finally|for|from|function|if|import|in|instanceof|interface|let|new|null|of|return|satisfies|switch|this|throw|true|try|type|typeof|undefined|while|yield';
const SHELL_WORDS = 'curl|npm|npx|node|git|cd|export|docker|psql|cat|kill|echo|jq';

// The first alternative that matches wins; its group says which kind it is.
const languages: Record<string, RegExp> = {
  ts: new RegExp(`(?<comment>//[^\\n]*|/\\*[^]*?\\*/)|(?<string>'(?:[^'\\\\\\n]|\\\\.)*'|"(?:[^"\\\\\\n]|\\\\.)*"|\`(?:[^\`\\\\]|\\\\.)*\`)|(?<keyword>\\b(?:${TS_WORDS})\\b)|(?<number>\\b\\d[\\d_.]*\\b)`, 'g'),
  json: /(?<name>"(?:[^"\\]|\\.)*"(?=\s*:))|(?<string>"(?:[^"\\]|\\.)*")|(?<keyword>\b(?:true|false|null)\b)|(?<number>-?\b\d[\d.]*\b)/g,
  sh: new RegExp(`(?<comment>(?<=^|\\s)#[^\\n]*)|(?<string>'[^']*'|"(?:[^"\\\\]|\\\\.)*")|(?<keyword>(?<=^|[|;(&] ?|\\$\\()(?:${SHELL_WORDS})\\b)|(?<name>(?<=\\s)--?[A-Za-z][\\w-]*|\\$\\w+)`, 'gm'),
};
const aliases: Record<string, string> = { typescript: 'ts', js: 'ts', javascript: 'ts', bash: 'sh', shell: 'sh', console: 'sh' };

export const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

export function highlight(code: string, language = ''): string {
  const pattern = languages[aliases[language] ?? language];
  if (!pattern) return escape(code);
  let html = '', end = 0;
  for (const { 0: text, index, groups = {} } of code.matchAll(pattern)) {
    const kind = Object.keys(groups).find((name) => groups[name] !== undefined) ?? '';
    html += `${escape(code.slice(end, index))}<span class="${kind}">${escape(text)}</span>`;
    end = index + text.length;
  }
  return html + escape(code.slice(end));
}
