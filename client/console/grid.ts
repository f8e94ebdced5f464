// A table of any length: only the rows in view exist, of one height, moved to their place. Focus stays on the grid and points at a row.
import { h, mark, say, uniqueId } from './dom.ts';

export interface Column<Item> {
  name: string;
  title: string;
  /** What the cell shows, and the same in full for a pointer that rests on it. */
  text(item: Item): string;
  full?(item: Item): string;
}

export interface GridOptions<Item> {
  label: string;
  columns: readonly Column<Item>[];
  /** Undefined while the row is being read. */
  at(index: number): Item | undefined;
  keyOf(item: Item): string;
  /** Classes of a row, and what is told of it apart. */
  look(item: Item): string;
  onOpen(item: Item): void;
  /** The rows from here to there are looked at. */
  onView(from: number, to: number): void;
  onActive(item: Item | undefined): void;
}

export interface Grid {
  readonly element: HTMLElement;
  /** First and last index in view. */
  readonly view: { from: number; to: number };
  /** Nobody is in the middle of the table, by scroll, pointer or focus: what comes in at the top may move it. */
  readonly atRest: boolean;
  update(length: number, total: number): void;
  /** A row came (+1) or went (-1) at an index: what is looked at stays where it is. */
  shift(index: number, by: 1 | -1): void;
  select(key: string | undefined): void;
  top(): void;
  focus(): void;
}

const OVERSCAN = 6;

export function createGrid<Item>(options: GridOptions<Item>): Grid {
  const { columns, at, keyOf } = options, prefix = uniqueId('row');
  const head = h('div', { role: 'row', class: 'row head', 'aria-rowindex': 1 }, ...columns.map(({ name, title }, index) =>
    h('span', { role: 'columnheader', class: `cell ${name}`, 'aria-colindex': index + 1 }, title)));
  const body = h('div', { role: 'rowgroup', class: 'body' });
  const element = h('div', { role: 'grid', class: 'grid', tabindex: 0, 'aria-label': options.label, 'aria-colcount': columns.length, 'aria-rowcount': -1 },
    h('div', { role: 'rowgroup', class: 'heads' }, head), body);
  const pool = new Map<number, HTMLElement>();
  let length = 0, active = -1, activeKey: string | undefined, selected: string | undefined, hovered = false, frame = 0;

  const rowHeight = () => Number.parseFloat(getComputedStyle(element).getPropertyValue('--row')) || 40;
  const capacity = () => Math.ceil(element.clientHeight / rowHeight());
  const view = () => {
    const from = Math.max(0, Math.floor(element.scrollTop / rowHeight()));
    return { from, to: Math.min(Math.max(0, length - 1), from + capacity()) };
  };

  const create = () => h('div', { role: 'row', class: 'row' }, ...columns.map(({ name }, index) =>
    h('span', { role: 'gridcell', class: `cell ${name}`, 'aria-colindex': index + 1 })));

  const paint = () => {
    frame = 0;
    const height = rowHeight(), { from, to } = view();
    const first = Math.max(0, from - OVERSCAN), last = Math.min(length - 1, to + OVERSCAN);
    body.style.height = `${length * height}px`;
    const free: HTMLElement[] = [];
    for (const [index, row] of pool) if (index < first || index > last) { free.push(row); pool.delete(index); }
    for (let index = first; index <= last; index++) {
      let row = pool.get(index);
      if (!row) {
        row = free.pop() ?? create();
        pool.set(index, row);
        if (!row.isConnected) body.append(row);
      }
      dress(row, index, height);
    }
    for (const row of free) row.remove();
    mark(element, 'aria-activedescendant', pool.has(active) ? `${prefix}-${active}` : undefined);
    options.onView(from, to);
  };

  const dress = (row: HTMLElement, index: number, height: number) => {
    const item = at(index), isActive = index === active;
    row.style.transform = `translateY(${index * height}px)`;
    mark(row, 'id', `${prefix}-${index}`);
    mark(row, 'aria-rowindex', String(index + 2));
    mark(row, 'aria-selected', String(item !== undefined && keyOf(item) === selected));
    mark(row, 'class', `row ${item === undefined ? 'unread' : options.look(item)}${isActive ? ' current' : ''}`);
    columns.forEach(({ text, full }, at_) => {
      const cell = row.children[at_]!; // made with as many
      say(cell, item === undefined ? '' : text(item));
      const title = item === undefined ? '' : full?.(item) ?? '';
      mark(cell, 'title', title === '' ? undefined : title);
    });
  };

  const schedule = () => { frame ||= requestAnimationFrame(paint); };

  const activate = (index: number) => {
    active = Math.min(Math.max(index, 0), length - 1);
    const item = at(active), height = rowHeight(), offset = head.offsetHeight;
    activeKey = item && keyOf(item);
    const start = active * height;
    if (start < element.scrollTop) element.scrollTop = start;
    else if (start + height > element.scrollTop + element.clientHeight - offset) element.scrollTop = start + height - element.clientHeight + offset;
    options.onActive(item);
    paint();
  };

  const page = () => Math.max(1, capacity() - 2);
  const keys: Record<string, () => number> = {
    ArrowDown: () => active + 1, ArrowUp: () => active - 1, PageDown: () => active + page(), PageUp: () => active - page(), Home: () => 0, End: () => length - 1,
  };
  element.addEventListener('keydown', (event) => {
    const move = keys[event.key], item = at(active);
    if (move && !event.altKey && !event.metaKey) { event.preventDefault(); activate(active === -1 && event.key !== 'End' ? view().from : move()); }
    else if ((event.key === 'Enter' || event.key === ' ') && item !== undefined) { event.preventDefault(); options.onOpen(item); }
  });
  const indexAt = (event: Event) => {
    const row = event.target instanceof Element ? event.target.closest<HTMLElement>('.body > .row') : null;
    return row ? Number(row.getAttribute('aria-rowindex')) - 2 : -1;
  };
  body.addEventListener('click', (event) => {
    const index = indexAt(event), item = at(index);
    if (item === undefined || getSelection()?.type === 'Range') return; // somebody is copying a hostname
    activate(index);
    options.onOpen(item);
  });
  body.addEventListener('pointerover', (event) => { hovered = true; const item = at(indexAt(event)); if (item !== undefined) options.onActive(item); });
  body.addEventListener('pointerleave', () => { hovered = false; options.onActive(at(active)); });
  element.addEventListener('focus', () => { if (active === -1 && length > 0 && !hovered) activate(view().from); });
  element.addEventListener('scroll', schedule, { passive: true });
  new ResizeObserver(schedule).observe(element);

  return {
    element,
    get view() { return view(); },
    get atRest() { return element.scrollTop < rowHeight() && !hovered && document.activeElement !== element; },
    update(newLength, total) {
      length = newLength;
      if (active >= length) active = length - 1;
      mark(element, 'aria-rowcount', String(total < 0 ? -1 : total + 1));
      schedule();
    },
    shift(index, by) {
      if (index <= active) active = Math.max(-1, active + by);
      const place = element.scrollTop, height = rowHeight();
      if (index * height > place || (place === 0 && by === 1 && !hovered && document.activeElement !== element)) return;
      body.style.height = `${(length + by) * height}px`; // or there might be no room to scroll
      length += by;
      element.scrollTop = place + by * height;
    },
    select(key) { selected = key; schedule(); },
    top() { element.scrollTop = 0; schedule(); },
    focus() { element.focus({ preventScroll: true }); if (activeKey !== undefined) schedule(); },
  };
}
