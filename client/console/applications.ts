// Which applications there are to choose from: the newest that may be listed, and any other by its id.
import type { Application } from '../index.ts';
import type { Access } from './access.ts';
import { h } from './dom.ts';
import { count, shown } from './text.ts';

/** So many are offered at most. */
const MOST = 1_000;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The name is not known to a token that may not read applications. */
export type Known = Pick<Application, 'id'> & { name: string | undefined };
export interface Listed { items: Application[]; /** There are more. */ isCut: boolean }

export async function listApplications({ client, applicationId, may }: Access, signal?: AbortSignal): Promise<Listed> {
  const items: Application[] = [];
  if (applicationId !== undefined && !may('applications:read')) return { items, isCut: false };
  for await (const application of client.applications.list({ limit: MOST, ...(signal && { signal }) })) {
    if (items.length === MOST) return { items, isCut: true };
    items.push(application);
  }
  return { items, isCut: false };
}

/** Asks for the id of an application that no list offers. */
export function idForm(question: string, { suggested, onId, onCancel }: { suggested?: string | undefined; onId: (id: string) => void; onCancel?: () => void }): { form: HTMLFormElement; input: HTMLInputElement } {
  const input = h('input', { id: 'application-id', required: true, autocomplete: 'off', spellcheck: 'false', placeholder: '7c9e6679-7425-40de-944b-e07fc1f90ae7', value: suggested });
  const form = h('form', { class: 'ask', onsubmit: (event) => {
    event.preventDefault();
    const id = input.value.trim().toLowerCase();
    if (UUID.test(id)) return onId(id);
    input.setCustomValidity('An application id is a UUID, such as 7c9e6679-7425-40de-944b-e07fc1f90ae7.');
    input.reportValidity();
    input.setCustomValidity('');
  } }, h('label', { for: 'application-id' }, question), input, h('p', { class: 'actions' }, onCancel && h('button', { type: 'button', onclick: onCancel }, 'Cancel'), h('button', { type: 'submit', class: 'primary' }, 'Open')));
  return { form, input };
}

export interface Chooser { readonly element: HTMLElement; show(known: readonly Known[], isCut: boolean, current: string | undefined): void }

/** A choice where there is one, else the name or the id. */
export function createChooser(onChoice: (id: string) => void, onOther: () => void): Chooser {
  const element = h('span', { class: 'chooser' });
  let current = 'none';
  const select = h('select', { id: 'application', 'aria-label': 'Application', onchange: () => {
    const { value } = select;
    if (value !== '') return onChoice(value);
    select.value = current;
    onOther();
  } });
  let painted = '';
  return {
    element,
    show(known, isCut, id) {
      const looks = JSON.stringify([known, isCut]);
      if (looks !== painted) {
        painted = looks;
        const options = known.map((application) => h('option', { value: application.id }, application.name === undefined ? application.id : shown(application.name)));
        select.replaceChildren(h('option', { value: 'none', hidden: true, disabled: true }, 'Choose…'), ...isCut
          ? [h('optgroup', { label: `The newest ${count(MOST)}` }, ...options.slice(0, MOST)), ...options.slice(MOST), h('option', { value: '' }, 'Another, by its id…')]
          : options);
      }
      select.value = current = id ?? 'none';
      const [only] = known;
      const child = known.length > 1 || isCut || only?.name !== undefined ? select : only && h('code', {}, only.id);
      if (!child || child !== element.firstChild) element.replaceChildren(...child ? [child] : []);
    },
  };
}
