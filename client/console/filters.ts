// The filters of the API as a form, and a search through what is loaded, which is another thing and says so.
import type { Context } from './context.ts';
import { h, mark, say } from './dom.ts';
import { EVERYBODY, isFiltered, type Filter } from './place.ts';
import { count } from './text.ts';

export interface Filters {
  readonly element: HTMLElement;
  /** What is searched for, in lower case. */
  readonly search: string;
  clearSearch(): void;
  told(loaded: number, names: readonly string[]): void;
}

const FIELDS = [['userId', 'User'], ['clientName', 'Client'], ['hostname', 'Host']] as const;

export function createFilters(context: Context, onSearch: () => void): Filters {
  const list = h('datalist', { id: 'client-names' });
  const inputs = FIELDS.map(([name, label]) => [name, label, h('input', {
    id: `filter-${name}`, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', maxlength: 255, placeholder: 'any', ...(name === 'clientName' && { list: 'client-names' }),
  })] as const);
  const before = h('input', { id: 'filter-before', type: 'datetime-local', step: 1 });
  const toggle = h('button', { type: 'button', class: 'toggle', 'aria-expanded': 'false', 'aria-controls': 'filters', onclick: () => mark(toggle, 'aria-expanded', String(toggle.getAttribute('aria-expanded') === 'false')) }, 'Filters'); // for narrow windows
  const search = h('input', { id: 'search', type: 'search', autocomplete: 'off', spellcheck: 'false', oninput: onSearch });
  const clear = h('button', { type: 'button', class: 'quiet', onclick: () => context.go({ filter: EVERYBODY, sessionId: undefined }) }, 'Clear');

  const apply = () => {
    const filter: Filter = { statuses: context.place.filter.statuses };
    for (const [name, , input] of inputs) if (input.value !== '') filter[name] = input.value;
    if (before.value !== '') filter.lastActiveBefore = new Date(before.value).toISOString();
    context.go({ filter, sessionId: undefined });
  };
  const form = h('form', { id: 'filters', class: 'filters', role: 'search', 'aria-label': 'Filter sessions', onsubmit: (event) => { event.preventDefault(); apply(); }, onchange: (event) => { if (event.target !== search) apply(); } },
    ...inputs.map(([, label, input]) => h('label', {}, h('span', {}, label), input)), list,
    h('label', { class: 'before' }, h('span', {}, 'Last active before'), before), clear,
    h('button', { type: 'submit', class: 'unseen', tabindex: -1 }, 'Apply the filters'));
  const element = h('div', { class: 'narrow' }, toggle, form, h('label', { class: 'find' }, h('span', {}, 'Search'), search));

  const arrive = () => {
    const { filter } = context.place;
    for (const [name, , input] of inputs) if (input.value !== (filter[name] ?? '')) input.value = filter[name] ?? '';
    before.value = filter.lastActiveBefore === undefined ? '' : local(filter.lastActiveBefore);
    mark(before, 'class', before.value === '' ? 'blank' : undefined);
    clear.hidden = !isFiltered(filter);
    say(toggle, clear.hidden ? 'Filters' : 'Filters: on');
  };
  context.onPlace(arrive);
  arrive();
  return {
    element,
    get search() { return search.value.trim().toLowerCase(); },
    clearSearch() { search.value = ''; onSearch(); search.focus(); },
    told(loaded, names) {
      mark(search, 'placeholder', `the ${count(loaded)} loaded ${loaded === 1 ? 'row' : 'rows'}`);
      if (list.childElementCount !== names.length) list.replaceChildren(...names.map((name) => h('option', { value: name })));
    },
  };
}

/** What a field for local time takes. */
function local(moment: string): string {
  const date = new Date(moment);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
