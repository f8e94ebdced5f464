// What revokes have denied, and until when: and the way back from a mistake.
import type { RevokedCredential } from '../index.ts';
import { newRequestId, traced } from './access.ts';
import { absolute, left } from './clock.ts';
import type { Context } from './context.ts';
import { copyButton, fill, h } from './dom.ts';
import { showList } from './list.ts';
import { codeOf, refusal } from './refusal.ts';
import { ask } from './revoke.ts';
import { shown } from './text.ts';

export function showCredentials(main: HTMLElement, context: Context): void {
  const { access: { client, may }, application, signal } = context;
  const mayAllow = may('sessions:revoke');
  const list = showList<RevokedCredential>(main, context, {
    title: 'Revoked credentials',
    note: 'A revoke denies the credentials its sessions have used, until they expire. Allowing one lets its owner connect again; sessions that were revoked stay over.',
    empty: 'No credential is denied.',
    refused: may('sessions:write') ? undefined : 'This token may not list revoked credentials (sessions:write).',
    columns: ['Credential', 'Denied for', 'Until', ''],
    load: (cursor) => client.credentials.pageRevoked(application.id, { limit: 100, signal, ...(cursor !== undefined && { cursor }) }),
    row: ({ credentialId, deniedUntil }) => [
      h('span', { class: 'request' }, h('code', { title: shown(credentialId) }, shown(credentialId)), copyButton(() => credentialId, 'the credential id')),
      h('span', {}, left(deniedUntil)), h('time', { datetime: deniedUntil }, absolute(deniedUntil)),
      h('button', { type: 'button', disabled: !mayAllow, title: mayAllow ? undefined : 'This token may not allow credentials (sessions:revoke)', onclick: () => confirmAllow(context, credentialId, () => list.reload()) },
        'Allow again', h('span', { class: 'unseen' }, ` ${shown(credentialId)}`)),
    ],
  });
}

function confirmAllow(context: Context, credentialId: string, onDone: () => void): void {
  const said = h('div', {}), cancel = h('button', { type: 'button', onclick: () => close() }, 'Cancel');
  const go = h('button', { type: 'button', class: 'primary', onclick: () => void act() }, 'Allow again');
  const { close } = ask(context, 'Allow this credential again?', h('p', {}, h('code', {}, shown(credentialId))),
    h('p', {}, 'Whoever holds it may connect again at once. It leaves a row in the audit.'), said, h('p', { class: 'actions' }, cancel, go));
  cancel.focus();
  const act = async () => {
    const requestId = newRequestId();
    go.disabled = true;
    try {
      await traced(context.access, requestId).credentials.allow(context.application.id, credentialId, { retries: 0 });
      context.announce('The credential is allowed again');
    } catch (error) {
      if (context.endsVisit(error)) return;
      if (codeOf(error) !== 'not-found') { // which means that nothing denies it any more
        go.disabled = false;
        return fill(said, refusal(error, { requestId }));
      }
    }
    close();
    onDone();
  };
}
