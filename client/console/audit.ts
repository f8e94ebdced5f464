// Who revoked what, and when: the audit, newest first.
import type { Revocation } from '../index.ts';
import { absolute, ago } from './clock.ts';
import type { Context } from './context.ts';
import { copyButton, h } from './dom.ts';
import { showList } from './list.ts';
import { inWords } from './place.ts';
import { count, shown } from './text.ts';

const ACTIONS: Record<Revocation['action'], string> = { revokeSessions: 'Revoked', revokeSession: 'Revoked one', allowCredential: 'Allowed again' };
const EXPLAINED: Record<Revocation['state'], string> = {
  done: '', running: 'It is under way.', interrupted: 'The server stopped half way. Repeating the same revoke finishes it.',
};

export function showAudit(main: HTMLElement, context: Context): void {
  const { access: { client }, application, live, signal } = context;
  const list = showList<Revocation>(main, context, {
    title: 'Audit', note: 'Every revoke and every credential allowed again. Dry runs leave no row.', empty: 'Nothing was ever revoked here.',
    columns: ['When', 'Who', 'What', 'Ended', 'State', 'Request'],
    load: (cursor) => client.revocations.page(application.id, { limit: 100, signal, ...(cursor !== undefined && { cursor }) }),
    row: (revocation) => [
      h('time', { datetime: revocation.createdAt, title: absolute(revocation.createdAt) }, ago(revocation.createdAt)),
      h('bdi', {}, shown(revocation.subject)),
      what(context, revocation),
      h('span', { class: 'number' }, revocation.action === 'allowCredential' ? '' : count(revocation.disconnectedCount)),
      h('span', { class: `state ${revocation.state}`, title: EXPLAINED[revocation.state] }, shown(revocation.state)),
      h('span', { class: 'request' }, h('code', { title: shown(revocation.requestId) }, shown(revocation.requestId)), copyButton(() => revocation.requestId, 'the request id')),
    ],
    again: (items) => items.some(({ state }) => state === 'running'),
  });
  let due: ReturnType<typeof setTimeout> | undefined;
  live.on({ event: (event) => {
    const isRevoke = event.type === 'session.disconnected' ? event.reason === 'revoked' : event.type === 'sessions.revoked';
    if (!isRevoke && event.type !== 'reset') return; // nothing else leaves a row
    due ??= setTimeout(() => { due = undefined; if (!signal.aborted) list.reload(); }, 1_000);
  } }, signal);
}

function what(context: Context, { action, filter }: Revocation): HTMLElement {
  const { sessionId, credentialId, ...filters } = filter;
  if (sessionId !== undefined) return h('span', {}, 'Revoked one: ', h('button', { type: 'button', class: 'link', onclick: () => context.go({ view: 'sessions', sessionId }) }, h('code', {}, shown(sessionId))));
  if (credentialId !== undefined) return h('span', {}, `${ACTIONS[action]}: `, h('code', {}, shown(credentialId)));
  // The audit's statuses are the list's, but for one that may come with a later server.
  const words = inWords(filters as Parameters<typeof inWords>[0]);
  if (words.length === 0) return h('span', {}, 'Revoked ', h('strong', {}, 'all'));
  return h('span', {}, 'Revoked ', ...words.flatMap(([name, value], index) => [index > 0 ? ', ' : '', `${name} `, h('code', {}, shown(value))]));
}
