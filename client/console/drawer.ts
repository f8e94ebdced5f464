// One session in full: its fields, its times in order, the JSON as it came, and the way to end it.
import type { Session } from '../index.ts';
import { absolute, ago, everySecond, left, now } from './clock.ts';
import { clientWords, statusClass, statusWord } from './columns.ts';
import type { Context } from './context.ts';
import { copyButton, fill, h, mark, say } from './dom.ts';
import { refusal } from './refusal.ts';
import { confirmRevoke } from './revoke.ts';
import { shown, shownLines } from './text.ts';

const REFRESH_MS = 10_000;

export function openDrawer(context: Context, sessionId: string, known: () => Session | undefined, onClosed: () => void): { sessionId: string; close(): void } {
  const { access, application } = context, ends = new AbortController();
  const signal = AbortSignal.any([ends.signal, context.signal]);
  let session = known(), readAt = 0;

  const title = h('h2', { id: 'drawer-title', tabindex: -1 }), status = h('p', { class: 'status-line' }), content = h('div', { class: 'content' });
  const revoke = h('button', { type: 'button', class: 'danger', onclick: () => { if (session) confirmRevoke(context, session, () => void read()); } }, 'Revoke this session…');
  const why = h('span', { class: 'why', id: 'drawer-why' });
  const dialog = h('dialog', { class: 'drawer', 'aria-labelledby': 'drawer-title' },
    h('header', {}, title, h('button', { type: 'button', class: 'quiet close', 'aria-label': 'Close', onclick: () => dialog.close() }, '✕')),
    status, content, h('footer', {}, why, revoke));
  dialog.addEventListener('close', () => { ends.abort(); dialog.remove(); if (!context.signal.aborted) onClosed(); });
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); }); // the backdrop

  let painted = '';
  const paint = () => {
    if (!session) return;
    say(title, shown(session.name));
    fill(status, h('span', { class: `dot ${statusClass(session)}` }), statusWord(session), session.derivedStatus === 'disconnected' && session.disconnectReason === 'lost' ? ' (its next heartbeat brings it back)' : '');
    const json = JSON.stringify(session, null, 2);
    const may = access.may('sessions:revoke'), isOver = session.status === 'disconnected' && session.disconnectReason !== 'lost';
    revoke.disabled = !may || isOver;
    say(why, isOver ? 'It is over already.' : may ? '' : 'This token may not revoke (sessions:revoke).');
    mark(revoke, 'aria-describedby', revoke.disabled ? 'drawer-why' : undefined);
    if (json === painted) return;
    painted = json;
    const wasOpen = content.querySelector('details')?.open ?? false;
    fill(content, fields(session), h('h3', {}, 'Timeline'), timeline(session),
      h('details', { open: wasOpen }, h('summary', {}, 'JSON'), h('div', { class: 'command' }, h('pre', { tabindex: 0, 'aria-label': 'The session as JSON' }, shownLines(json)), copyButton(() => json, 'the JSON'))));
  };

  const read = async () => {
    readAt = Date.now();
    try {
      session = await access.client.sessions.get(application.id, sessionId, { signal });
      paint();
    } catch (error) {
      if (signal.aborted || context.endsVisit(error)) return;
      if (!session) { say(title, 'Session'); fill(content, refusal(error, { again: () => void read() })); revoke.disabled = true; }
    }
  };
  context.live.on({ event: (event) => {
    if (event.type === 'sessions.revoked' || event.type === 'reset') void read();
    else if (event.type === 'session.disconnected' ? event.sessionId === sessionId : event.session.id === sessionId) void read();
  } }, signal);
  everySecond(() => {
    if (Date.now() - readAt >= REFRESH_MS) void read();
    for (const time of content.querySelectorAll('time')) say(time.nextElementSibling!, relative(time.dateTime)); // made in pairs
  }, signal);

  paint();
  document.body.append(dialog);
  dialog.showModal();
  title.focus();
  void read();
  return { sessionId, close: () => dialog.close() };
}

const relative = (moment: string) => (Date.parse(moment) > now() ? `in ${left(moment)}` : ago(moment));

function fields(session: Session): HTMLElement {
  const rows: [string, string | null | undefined, boolean?][] = [
    ['Session', session.id, true], ['User', session.userId, true], ['Client', clientWords(session)], ['Title', typeof session.clientInfo?.title === 'string' ? session.clientInfo.title : undefined],
    ['Host', session.hostname], ['User agent', session.userAgent], ['External id', session.externalId, true], ['Organization', session.organizationId], ['Application', session.agentId, true],
  ];
  return h('dl', { class: 'fields' }, ...rows.flatMap(([name, value, copies]) => value ? [
    h('dt', {}, name), h('dd', {}, h(copies ? 'code' : 'span', {}, shown(value)), copies && copyButton(() => value, `the ${name.toLowerCase().replace(/ id$/, '')} id`)),
  ] : []));
}

function timeline({ createdAt, connectedAt, lastActiveAt, tokenExpiresAt, disconnectedAt, disconnectReason }: Session): HTMLElement {
  const moments: [string, string | undefined][] = [
    ['Created', createdAt], ['Connected', connectedAt], ['Last active', lastActiveAt],
    [`Disconnected${disconnectReason === undefined ? '' : `: ${disconnectReason}`}`, disconnectedAt], [tokenExpiresAt !== undefined && Date.parse(tokenExpiresAt) <= now() ? 'Token expired' : 'Token expires', tokenExpiresAt],
  ];
  const known = moments.filter((moment): moment is [string, string] => moment[1] !== undefined);
  known.sort((a, b) => Date.parse(a[1]) - Date.parse(b[1])); // stable: what happened together keeps this order
  return h('ol', { class: 'timeline' }, ...known.map(([what, at]) => h('li', { class: Date.parse(at) > now() ? 'ahead' : '' },
    h('b', {}, shown(what)), ' ', h('time', { datetime: at }, absolute(at)), ' ', h('i', {}, relative(at)))));
}
