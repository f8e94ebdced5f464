// Throwing out: one session after a question, many after a dry run and a typed word, never more than was counted.
import type { RevokeFilters, Session } from '../index.ts';
import { newRequestId, traced } from './access.ts';
import type { Context } from './context.ts';
import { type Child, fill, h } from './dom.ts';
import { inWords } from './place.ts';
import { codeOf, refusal, requestLine } from './refusal.ts';
import { count, sessions, shown } from './text.ts';

/** A filtered revoke ends no more than so many at once. */
const MOST_FILTERED = 100_000;

interface Asking { dialog: HTMLDialogElement; body: HTMLElement; close(): void }

/** A dialog with a heading; whatever had the focus gets it back. */
export function ask(context: Pick<Context, 'signal'>, heading: string, ...children: Child[]): Asking {
  const body = h('div', { class: 'body' }, ...children);
  const dialog = h('dialog', { class: 'ask', 'aria-labelledby': 'ask-title' }, h('h2', { id: 'ask-title' }, heading), body);
  const before = document.activeElement;
  dialog.addEventListener('close', () => { dialog.remove(); if (before instanceof HTMLElement) before.focus(); });
  context.signal.addEventListener('abort', () => dialog.close(), { once: true });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, body, close: () => dialog.close() };
}

const whatFollows = (one = false) => h('ul', { class: 'follows' },
  h('li', {}, one ? 'Its stream ends at once, on every instance; the client has to authenticate again.' : 'Their streams end at once, on every instance; each client has to authenticate again.'),
  h('li', {}, `The credentials ${one ? 'it' : 'they'} used are denied until those expire. A denied one can be allowed again under Revoked credentials; ${one ? 'the session stays' : 'the sessions stay'} over.`));

/** Asks once, then ends one session. */
export function confirmRevoke(context: Context, session: Session, onDone: () => void): void {
  const { access, application } = context;
  const said = h('div', {}), go = h('button', { type: 'button', class: 'danger filled', onclick: () => void act() }, 'Revoke');
  const cancel = h('button', { type: 'button', onclick: () => close() }, 'Cancel');
  const { body, close } = ask(context, 'Revoke this session?',
    h('p', {}, h('strong', {}, h('bdi', {}, shown(session.name))), session.userId !== undefined && ` of ${shown(session.userId)}`), whatFollows(true), said, h('p', { class: 'actions' }, cancel, go));
  cancel.focus();
  const act = async () => {
    const requestId = newRequestId();
    go.disabled = true;
    try {
      const { disconnectedCount } = await traced(access, requestId).sessions.revoke(application.id, session.id, { retries: 0 });
      context.announce(disconnectedCount === 1 ? 'The session was disconnected' : 'It was over already');
      fill(body, h('p', { class: 'done' }, disconnectedCount === 1 ? 'The session was disconnected.' : 'It was not connected any more; it cannot come back.'), requestLine(requestId), closing(context, close));
      body.querySelector<HTMLElement>('button.primary')?.focus();
      onDone();
    } catch (error) {
      go.disabled = false;
      if (!context.endsVisit(error)) fill(said, refusal(error, { requestId }));
    }
  };
}

const closing = (context: Context, close: () => void) => h('p', { class: 'actions' },
  h('button', { type: 'button', onclick: () => { close(); context.go({ view: 'audit', sessionId: undefined }); } }, 'See the audit'),
  h('button', { type: 'button', onclick: () => { close(); context.go({ view: 'credentials', sessionId: undefined }); } }, 'Revoked credentials'),
  h('button', { type: 'button', class: 'primary', onclick: close }, 'Close'));

/** Counts first; revokes no more than was counted, after the operator has typed what shows that they know what they do. */
export function revokeDialog(context: Context, filters: RevokeFilters, filtered: boolean, onDone: () => void): void {
  const { access, application } = context;
  const name = application.name === undefined ? application.id : shown(application.name);
  const { dialog, body, close } = ask(context, filtered ? 'Revoke the filtered sessions' : 'Revoke all sessions');

  const preview = async (notice?: HTMLElement) => {
    fill(body, notice, h('p', { class: 'wait', role: 'status' }, 'Counting what would be disconnected…'), h('p', { class: 'actions' }, h('button', { type: 'button', onclick: close }, 'Cancel')));
    try {
      const { matchedCount = 0 } = await access.client.sessions.revokeAll(application.id, { ...filters, dryRun: true, signal: context.signal });
      if (dialog.open) offer(matchedCount, notice);
    } catch (error) {
      if (!context.endsVisit(error) && dialog.open) fill(body, refusal(error, { again: () => void preview() }), h('p', { class: 'actions' }, h('button', { type: 'button', onclick: close }, 'Cancel')));
    }
  };

  const offer = (matched: number, notice?: HTMLElement) => {
    const words = inWords(filters), tooMany = filtered && matched > MOST_FILTERED;
    // The name says where, which is the costlier mistake; one that cannot be typed, and a part of an application, go by the number.
    const typable = !filtered && application.name !== undefined && /^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(application.name) && application.name.length <= 60;
    const expected = typable ? application.name ?? '' : String(matched);
    const typed = h('input', { id: 'typed', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', oninput: () => { go.disabled = typed.value.trim().replaceAll(',', '') !== expected.replaceAll(',', ''); } });
    const go = h('button', { type: 'submit', class: 'danger filled', disabled: true }, `Revoke ${sessions(matched)}`);
    const said = h('div', {});
    fill(body, notice,
      h('p', { class: 'matched' }, h('strong', {}, count(matched)), ` ${matched === 1 ? 'session' : 'sessions'} of `, h('bdi', {}, name), ` ${matched === 1 ? 'is' : 'are'} connected${words.length > 0 ? ' and match:' : '.'}`),
      words.length > 0 && h('dl', { class: 'fields' }, ...words.flatMap(([what, value]) => [h('dt', {}, what), h('dd', {}, shown(value))])),
      matched === 0 ? h('p', {}, 'There is nothing to revoke.') : tooMany ? h('p', { class: 'notice' }, `A filtered revoke ends at most ${count(MOST_FILTERED)}. Narrow the filter, or revoke all.`) : whatFollows(),
      matched === 0 || tooMany ? h('p', { class: 'actions' }, h('button', { type: 'button', class: 'primary', onclick: close }, 'Close'))
        : h('form', { onsubmit: (event) => { event.preventDefault(); if (!go.disabled) void act(matched, go, said); } },
          h('label', { for: 'typed' }, typable ? 'Type the application’s name to confirm: ' : 'Type the number to confirm: ', h('code', {}, expected)), typed, said,
          h('p', { class: 'actions' }, h('button', { type: 'button', onclick: close }, 'Cancel'), go)));
    context.announce(`${sessions(matched)} would be disconnected`);
    (body.querySelector<HTMLElement>('#typed') ?? body.querySelector<HTMLElement>('button'))?.focus();
  };

  const act = async (matched: number, go: HTMLButtonElement, said: HTMLElement) => {
    const requestId = newRequestId();
    go.disabled = true;
    go.textContent = 'Revoking…';
    try {
      // Once only: a repetition after a lost answer would count what the first has left. The audit knows, by the request's id.
      const { disconnectedCount } = await traced(access, requestId).sessions.revokeAll(application.id, { ...filters, maxCount: matched, retries: 0 });
      onDone();
      context.announce(`${sessions(disconnectedCount)} disconnected`);
      fill(body, h('p', { class: 'done' }, h('strong', {}, count(disconnectedCount)), ` ${disconnectedCount === 1 ? 'session was' : 'sessions were'} disconnected.`),
        disconnectedCount < matched && h('p', { class: 'note' }, `${count(matched - disconnectedCount)} of those counted had left by themselves.`),
        whatFollows(), requestLine(requestId), closing(context, close));
      body.querySelector<HTMLElement>('button.primary')?.focus();
    } catch (error) {
      if (context.endsVisit(error)) return;
      onDone();
      if (codeOf(error) === 'revocation-too-large') {
        return void preview(h('div', { class: 'notice', role: 'alert' }, h('strong', {}, 'More sessions match than were counted, so nobody was revoked.'), h('p', {}, 'Somebody connected in between. This is the new count.'), requestLine(requestId)));
      }
      fill(said, refusal(error, { requestId }), h('p', { class: 'notice' }, 'Whether anybody was revoked is not known. The audit has a row with this request’s id if so; revoking again is safe.'));
      go.textContent = `Revoke ${sessions(matched)}`;
      go.disabled = false;
    }
  };
  void preview();
}
