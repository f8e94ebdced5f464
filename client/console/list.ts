// A paged list as a plain table: read by page, read again on request.
import type { Page } from '../index.ts';
import type { Context } from './context.ts';
import { fill, h } from './dom.ts';
import { refusal } from './refusal.ts';
import { count } from './text.ts';

export interface ListOptions<Item> {
  title: string;
  note: string;
  empty: string;
  /** Why the list cannot be read at all. */
  refused?: string | undefined;
  columns: readonly string[];
  load(cursor: string | undefined): Promise<Page<Item>>;
  row(item: Item): Node[];
  /** Whether what is shown will change by itself. */
  again?(items: readonly Item[]): boolean;
}

const AGAIN_MS = 2_000;

export function showList<Item>(main: HTMLElement, context: Context, { title, note, empty, refused, columns, load, row, again }: ListOptions<Item>): { reload(): void } {
  const body = h('tbody'), told = h('div', { class: 'told' }), tally = h('span', { class: 'note', role: 'status' });
  const more = h('button', { type: 'button', hidden: true, onclick: () => void read(next) }, 'Load more');
  const reload = h('button', { type: 'button', class: 'quiet', onclick: () => void read(undefined) }, 'Reload');
  const table = h('table', { hidden: true }, h('caption', { class: 'unseen' }, title),
    h('thead', {}, h('tr', {}, ...columns.map((column) => h('th', { scope: 'col' }, column === '' ? h('span', { class: 'unseen' }, 'Actions') : column)))), body);
  let items: Item[] = [], next: string | undefined, turn = 0;

  const read = async (cursor: string | undefined) => {
    const mine = ++turn;
    reload.disabled = more.disabled = true;
    try {
      let page = await load(cursor);
      const found = [...page.items];
      // Read again is as much as was there: nobody is sent back to the first page.
      while (cursor === undefined && page.nextCursor !== undefined && found.length < items.length && mine === turn) found.push(...(page = await load(page.nextCursor)).items);
      if (mine !== turn) return;
      items = cursor === undefined ? found : [...items, ...found];
      next = page.nextCursor;
      const focused = document.activeElement;
      if (cursor === undefined) body.replaceChildren();
      body.append(...found.map((item) => h('tr', {}, ...row(item).map((cell, index) => h('td', { 'data-label': columns[index] }, cell)))));
      if (focused instanceof HTMLElement && !focused.isConnected) reload.focus();
      table.hidden = items.length === 0;
      more.hidden = next === undefined;
      tally.textContent = items.length === 0 ? '' : `${count(items.length)}${next === undefined ? '' : ' so far'}`;
      fill(told, items.length === 0 && h('div', { class: 'empty' }, h('h2', {}, empty)));
      if (again?.(items)) setTimeout(() => { if (!context.signal.aborted && mine === turn) void read(undefined); }, AGAIN_MS);
    } catch (error) {
      if (mine === turn && !context.signal.aborted && !context.endsVisit(error)) fill(told, refusal(error, { again: () => void read(cursor) }));
    } finally { if (mine === turn) reload.disabled = more.disabled = false; }
  };

  fill(main, h('div', { class: 'page' }, h('div', { class: 'title' }, h('h1', {}, title), tally, reload), h('p', { class: 'note' }, note), told, h('div', { class: 'scroll' }, table), h('p', {}, more)));
  if (refused === undefined) {
    fill(told, h('p', { class: 'wait' }, 'Loading…'));
    void read(undefined);
  } else {
    reload.disabled = true;
    fill(told, h('div', { class: 'empty' }, h('h2', {}, refused)));
  }
  return { reload: () => void read(undefined) };
}
