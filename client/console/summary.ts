// How many there are, by status and by client: each number is a button that filters by it.
import type { SessionCounts } from '../index.ts';
import { everySecond, learn, now, span } from './clock.ts';
import type { Context } from './context.ts';
import { fill, h, mark, say } from './dom.ts';
import { CONNECTED, STATUSES, type Status } from './place.ts';
import { tell } from './refusal.ts';
import { count, shown } from './text.ts';

const EVERY_MS = 10_000;
/** The server counts at most every five seconds: asking sooner brings the same. */
const AFTER_EVENT_MS = 5_000;
const CLIENTS_SHOWN = 6;

export interface Summary {
  readonly element: HTMLElement;
  /** The last that was heard. */
  readonly counts: SessionCounts | undefined;
  /** Something happened: count again soon. */
  stir(): void;
  /** Much happened: count at once, and again when no count from before it can be answered any more. */
  now(): void;
}

export function createSummary(context: Context, onCounts: () => void): Summary {
  const { access: { client }, application, signal } = context;
  let counts: SessionCounts | undefined, askedAt = 0, dueAt = 0, asking = false, late = 0;
  const names = ['connected', ...STATUSES] as const;
  const numbers = new Map(names.map((name) => [name, h('strong', {}, '–')]));
  const tiles = new Map(names.map((name) => [name, h('button', {
    type: 'button', class: `tile ${name}`, 'aria-pressed': 'false', title: name === 'connected' ? 'Active, idle and expired: everybody a revoke would end' : 'Show only these; with Ctrl, these too',
    onclick: (event) => choose(name, event instanceof MouseEvent && (event.ctrlKey || event.metaKey)),
  }, numbers.get(name)!, h('span', {}, name)) ]));
  const clients = h('div', { class: 'clients', role: 'group', 'aria-label': 'Connected, by client' }), age = h('span', { class: 'age' });
  const element = h('section', { class: 'summary', 'aria-label': 'Counts' },
    h('div', { class: 'tiles', role: 'group', 'aria-label': 'Filter by status' }, ...tiles.values()), clients, age);

  const choose = (name: Status | 'connected', add: boolean) => {
    const { filter } = context.place;
    const chosen = name === 'connected' ? CONNECTED : add
      ? STATUSES.filter((status) => (status === name) !== filter.statuses.includes(status)) : [name];
    context.go({ filter: { ...filter, statuses: chosen.length > 0 ? chosen : CONNECTED }, sessionId: undefined });
  };

  const paintPlace = () => {
    const { statuses, clientName } = context.place.filter;
    for (const [name, tile] of tiles) mark(tile, 'aria-pressed', String(name === 'connected' ? statuses.join() === CONNECTED.join() : statuses.join() !== CONNECTED.join() && statuses.includes(name)));
    for (const button of clients.querySelectorAll('button')) mark(button, 'aria-pressed', String(clientName !== undefined && button.dataset['name'] === clientName));
  };

  const paint = () => {
    if (!counts) return;
    const { byDerivedStatus: by, byClientName } = counts;
    for (const status of STATUSES) say(numbers.get(status)!, count(by[status])); // made for all of them
    say(numbers.get('connected')!, count(by.active + by.idle + by.expired));
    const focused = document.activeElement instanceof HTMLElement && clients.contains(document.activeElement) ? document.activeElement.dataset['name'] : undefined;
    const items = byClientName.items.slice(0, CLIENTS_SHOWN);
    const others = byClientName.other + byClientName.items.slice(CLIENTS_SHOWN).reduce((sum, { count: n }) => sum + n, 0);
    fill(clients, ...items.map(({ clientName, count: n }) => clientName === null
      ? h('span', { class: 'chip', title: 'These clients gave no name, so there is nothing to filter by' }, 'no name ', h('b', {}, count(n)))
      : h('button', { type: 'button', class: 'chip', 'data-name': clientName, onclick: () => context.go({ filter: { ...context.place.filter, clientName: context.place.filter.clientName === clientName ? undefined : clientName }, sessionId: undefined }) },
        h('bdi', {}, shown(clientName)), ' ', h('b', {}, count(n)))),
    others > 0 && h('span', { class: 'chip' }, 'others ', h('b', {}, count(others))));
    if (focused !== undefined) [...clients.querySelectorAll('button')].find((button) => button.dataset['name'] === focused)?.focus();
    paintPlace();
  };

  const ask = async () => {
    if (asking) return;
    asking = true;
    try {
      counts = await client.sessions.counts(application.id, { signal });
      askedAt = Date.now();
      learn(counts.asOf);
      if (late > 0) [dueAt, late] = [late, 0];
      paint();
      onCounts();
    } catch (error) {
      askedAt = Date.now();
      if (!signal.aborted && !context.endsVisit(error)) mark(age, 'data-error', tell(error).title);
      return;
    } finally { asking = false; }
    mark(age, 'data-error', undefined);
  };

  everySecond(() => {
    const at = Date.now();
    if (at - askedAt >= EVERY_MS || (dueAt > 0 && at >= dueAt)) { dueAt = 0; void ask(); }
    const failed = age.dataset['error'];
    if (counts) say(age, `counted ${span(Math.max(0, now() - Date.parse(counts.asOf)))} ago${failed === undefined ? '' : `; ${failed.toLowerCase()}`}`);
    else if (failed !== undefined) say(age, failed);
  }, signal);
  context.onPlace(paintPlace);
  void ask();
  paintPlace();
  return { element, get counts() { return counts; }, stir() { dueAt ||= Math.max(Date.now() + 1_000, askedAt + AFTER_EVENT_MS); }, now() { dueAt = 1; late = Date.now() + AFTER_EVENT_MS; } };
}
