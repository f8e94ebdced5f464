// Runs in the reader's browser: the search, and a button on each block of code that copies it. Without it the pages still read.
export {}; // a module of its own: its names are not the window's
interface Entry { title: string; in: string; href: string; words: string }

const one = <E extends HTMLElement>(selector: string, root: ParentNode = document): E => root.querySelector<E>(selector)!; // the template has them all
const make = <Name extends keyof HTMLElementTagNameMap>(name: Name, text = ''): HTMLElementTagNameMap[Name] => Object.assign(document.createElement(name), { textContent: text });

const entries: Entry[] = JSON.parse(one('#index').textContent ?? '[]');
const dialog = one<HTMLDialogElement>('dialog.search');
const input = one<HTMLInputElement>('input', dialog);
const results = one('ul', dialog);
const MOST = 20;

try { // the reference has a switch between light and dark, and keeps its position here
  const chosen = localStorage.getItem('redoc.colorMode');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.classList.add(chosen);
} catch { /* a browser that keeps nothing follows the system */ }

/** Every word has to be there; in the title it counts most, at its beginning more, and within another word (`all` in `RollcallDown`) less. A chapter goes before its sections. */
function rank({ title, words, in: place }: Entry, wanted: string[]): number {
  let sum = 0, named = false;
  for (const word of wanted) {
    const inTitle = title.toLowerCase().indexOf(word), at = inTitle < 0 ? words.toLowerCase().indexOf(word) : inTitle;
    if (at < 0) return 0;
    named ||= inTitle >= 0;
    sum += inTitle === 0 ? 9 : inTitle > 0 ? (/[^a-z\d]/i.test(title.charAt(inTitle - 1)) ? 6 : 2) : at < 20 ? 4 : 1;
  }
  return named && place === 'Chapter' ? sum + 4 : sum;
}

/** The text around the first word that was found, with all of them marked. */
function excerpt(text: string, wanted: string[]): HTMLSpanElement {
  const first = Math.min(...wanted.map((word) => text.toLowerCase().indexOf(word)).filter((at) => at >= 0));
  const start = Number.isFinite(first) ? Math.max(0, text.lastIndexOf(' ', Math.max(0, first - 40)) + 1) : 0;
  return marked(make('span'), (start > 0 ? '… ' : '') + text.slice(start, start + 180), wanted);
}

function marked<E extends HTMLElement>(element: E, text: string, wanted: string[]): E {
  const pattern = new RegExp(`(${wanted.map((word) => word.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')})`, 'giu');
  element.replaceChildren(...text.split(pattern).map((part, index) => (index % 2 ? make('mark', part) : part)));
  return element;
}

function show(): void {
  const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = wanted.length === 0 ? [] : entries.map((entry) => ({ entry, score: rank(entry, wanted) })).filter(({ score }) => score > 0).sort((a, b) => b.score - a.score);
  one('p', dialog).textContent = wanted.length === 0 ? 'Type a word: revoke, cursor, 403, tokenExpiresAt' : found.length === 0 ? 'Nothing found.' : `${found.length} found`;
  results.replaceChildren(...found.slice(0, MOST).map(({ entry }) => {
    const link = make('a');
    link.href = document.body.className === 'reference' ? entry.href.replace(/^reference\.html/, '') : entry.href; // that page is large: stay on it
    link.append(marked(make('strong'), entry.title, wanted), make('small', entry.in), excerpt(entry.words, wanted));
    const item = make('li');
    item.append(link);
    return item;
  }));
}

function open(): void {
  if (!dialog.open) dialog.showModal();
  input.select();
  show();
}

/** Up and down walk from the input through the results and stop at the ends. */
function walk(event: KeyboardEvent): void {
  const stops: HTMLElement[] = [input, ...results.querySelectorAll('a')];
  const at = stops.indexOf(document.activeElement as HTMLElement); // -1 is none of them
  const to = event.key === 'ArrowDown' ? at + 1 : event.key === 'ArrowUp' ? at - 1 : undefined;
  if (to !== undefined) stops[Math.max(0, Math.min(to, stops.length - 1))]?.focus();
  else if (event.key === 'Enter' && at === 0) stops[1]?.click();
  else return;
  event.preventDefault();
}

const isTyping = (target: EventTarget | null): boolean => target instanceof HTMLElement && (target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

// Before the reference's own, which would open its own search.
addEventListener('keydown', (event) => {
  const isShortcut = event.key === '/' && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target);
  if (!isShortcut && !(event.key === 'k' && (event.ctrlKey || event.metaKey))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  open();
}, true);

const button = one<HTMLButtonElement>('button.find');
button.hidden = false;
button.addEventListener('click', open);
input.addEventListener('input', show);
dialog.addEventListener('keydown', walk);
dialog.addEventListener('click', ({ target }) => {
  if (target === dialog || (target as Element).closest('a')) dialog.close(); // the dialog itself is what lies around its content
});

async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make('textarea', text); // without TLS, browsers have only the old way
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

for (const block of document.querySelectorAll<HTMLElement>('.code')) {
  const copier = make('button', 'Copy');
  copier.type = 'button';
  copier.className = 'copy';
  copier.addEventListener('click', async () => {
    await copy(one('code', block).textContent?.trimEnd() ?? '');
    copier.textContent = 'Copied';
    copier.classList.add('done');
    setTimeout(() => { copier.textContent = 'Copy'; copier.classList.remove('done'); }, 1_600);
  });
  block.append(copier);
}

/** Else nobody without a mouse could scroll what is too wide. */
const reachable = (selector: string) => {
  for (const scroller of document.querySelectorAll<HTMLElement>(selector)) if (scroller.scrollWidth > scroller.clientWidth) scroller.tabIndex = 0;
};
reachable('.table, .code pre');

const menu = one<HTMLDetailsElement>('details.menu');
menu.addEventListener('keydown', (event) => { if (event.key === 'Escape') menu.open = false; });

const reference = document.querySelector('#redoc');
if (reference) { // its menu is a landmark that it does not say of itself, and it makes it anew from time to time
  new MutationObserver(() => {
    const operations = reference.querySelector('.menu-content:not([role])');
    operations?.setAttribute('role', 'navigation');
    operations?.setAttribute('aria-label', 'Operations');
    reachable('.md-table-wrapper:not([tabindex])');
  }).observe(reference, { childList: true, subtree: true });
}
