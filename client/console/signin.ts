// The signed-out page: a token is pasted, looked at, tried, and kept in memory.
import { readAccess, type Access } from './access.ts';
import { idForm, listApplications, type Listed } from './applications.ts';
import { now } from './clock.ts';
import { command, fill, h } from './dom.ts';
import { readPlace } from './place.ts';
import { codeOf, refusal } from './refusal.ts';

export interface SignedIn { access: Access; /** Undefined when the token may not list them, and is bound to none. */ listed: Listed | undefined }

export function showSignIn(root: HTMLElement, baseUrl: string, { reason, onSignedIn }: { reason?: string; onSignedIn: (visit: SignedIn, applicationId?: string) => void }): void {
  const input = h('textarea', { id: 'token', rows: 3, class: 'secret', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', required: true, 'aria-describedby': 'token-note', placeholder: 'eyJhbGciOi…' });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  const told = h('div', { class: 'told' });
  const busy = (is: boolean) => { button.disabled = is; button.textContent = is ? 'Signing in…' : 'Sign in'; };
  const complain = (title: string, detail: string) => fill(told, h('div', { class: 'refusal', role: 'alert' }, h('strong', {}, title), h('p', {}, detail)));

  const submit = async () => {
    const access = readAccess(input.value, baseUrl);
    if (access.bearer === '') return complain('There is no token.', 'Paste one into the field.');
    if (access.expiresAt !== undefined && access.expiresAt <= now()) return complain('This token has expired.', 'Get a fresh one and paste it here.');
    if (!access.may('sessions:read')) return complain('This token may not read sessions.', 'The console needs the scope sessions:read, and sessions:revoke to throw anybody out.');
    busy(true);
    try {
      onSignedIn({ access, listed: await listApplications(access) });
    } catch (error) {
      if (codeOf(error) === 'insufficient-scope') return askApplication(access);
      fill(told, refusal(error));
    } finally { busy(false); }
  };

  const askApplication = (access: Access) => {
    const { form, input } = idForm('This token may not list applications (applications:read). Which one?', {
      suggested: readPlace(location.hash).applicationId, onId: (id) => onSignedIn({ access, listed: undefined }, id),
    });
    fill(told, form);
    input.focus();
  };

  fill(root, h('main', { class: 'signin', id: 'main' },
    h('h1', {}, h('span', { class: 'wordmark' }, 'Rollcall')),
    h('p', { class: 'lead' }, 'Who is connected, and the way to cut them off.'),
    reason !== undefined && h('p', { class: 'notice', role: 'status' }, reason),
    h('form', { onsubmit: (event) => { event.preventDefault(); void submit(); } },
      h('label', { for: 'token' }, 'Access token'), input,
      h('p', { id: 'token-note', class: 'note' }, 'It is kept in the memory of this page only: not stored, not in the address, gone when you reload.'),
      button),
    told,
    h('details', {}, h('summary', {}, 'Where do I get one?'),
      h('p', {}, 'From your OpenID Connect issuer. Where none is configured, from the server’s own key, in a terminal where the server runs:'),
      command('npm run -s token -- --org demo --subject you@example.com', 'the command that prints a token'),
      h('p', { class: 'note' }, 'The subject is who stands in the audit. It needs sessions:read to look, sessions:revoke to act, applications:read to choose an application, and sessions:write to list revoked credentials.'))));
  input.addEventListener('keydown', (event) => { if (event.key === 'Enter') { event.preventDefault(); void submit(); } });
  input.focus();
}
