// Elements in one expression. Text goes in as text nodes, attributes by setAttribute: nothing here parses HTML.
type Listener = (event: Event) => void;
type Props = Record<string, string | number | boolean | undefined | Listener>;
export type Child = Node | string | number | false | null | undefined;

/** `true` sets an empty attribute, `false` and `undefined` none; a function under `onclick` listens to `click`. */
export function h<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...nodes(children));
  return element;
}

export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...nodes(children));
}

const nodes = (children: readonly Child[]): (Node | string)[] =>
  children.filter((child) => child !== false && child !== null && child !== undefined).map((child) => (typeof child === 'number' ? String(child) : child));

/** Writes only what has changed: text that stays the same keeps its node, and a selection in it. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The same for an attribute; undefined takes it away. */
export function mark(element: Element, name: string, value: string | undefined): void {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

let ids = 0;
/** An id for a label or a description to point to. */
export const uniqueId = (prefix: string): string => `${prefix}-${++ids}`;

/** A button that puts a text on the clipboard and says so. */
export function copyButton(text: () => string, what: string): HTMLButtonElement {
  const word = h('span', {}, 'Copy');
  const told = (now: string) => { say(word, now); setTimeout(() => say(word, 'Copy'), 1_500); };
  return h('button', { type: 'button', class: 'small', onclick: () => {
    const { clipboard }: { clipboard?: Clipboard } = navigator; // there is none on plain http from elsewhere
    if (clipboard) clipboard.writeText(text()).then(() => told('Copied'), () => told('Not allowed'));
    else told('Not allowed');
  } }, word, h('span', { class: 'unseen' }, ` ${what}`));
}

/** A command or a piece of code, with its button. */
export function command(text: string, what: string): HTMLElement {
  return h('div', { class: 'command' }, h('pre', { tabindex: '0', 'aria-label': what }, h('code', {}, text)), copyButton(() => text, what));
}
