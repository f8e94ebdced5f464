// The view of who is connected: counts, filters, the table, and the two revokes.
import type { ApplicationEvent } from '../events.ts';
import { everySecond, now, span } from './clock.ts';
import { columns, rowLine, searchText, statusClass } from './columns.ts';
import type { Context } from './context.ts';
import { fill, h, mark, say } from './dom.ts';
import { openDrawer } from './drawer.ts';
import { noMatch, nobody } from './empty.ts';
import { createFilters } from './filters.ts';
import { createGrid } from './grid.ts';
import { EVERYBODY, hasFacts, isFiltered, listFilters, matches, revokeFilters, sameFilter, type Filter } from './place.ts';
import { refusal, tell } from './refusal.ts';
import { revokeDialog } from './revoke.ts';
import { createRows, type Row, type Rows } from './rows.ts';
import { createSummary } from './summary.ts';
import { count, sessions } from './text.ts';

/**
 * Rows in view are read again so often. Activity is in no event, and what `idle` means is the operator's IDLE_AFTER, which no answer
 * tells: so the server's word is asked for again, for what is looked at, instead of being guessed here.
 */
const REFRESH_MS = 10_000;
/** A token in view has run out by our clock: the server's word on that row is due. */
const SOON_MS = 1_500;
/** Rows before and after those in view are read too: they are the next to come into it. */
const AHEAD = 20;

export function showSessions(main: HTMLElement, context: Context): void {
  const { access, application, live, signal } = context;
  let filter: Filter = context.place.filter, rows: Rows, found: Row[] | undefined, error: unknown, readAt = 0, newer = 0, drawer: { sessionId: string; close(): void } | undefined;

  const summary = createSummary(context, () => update());
  const filters = createFilters(context, () => { search(); update(); });
  const grid = createGrid<Row>({
    label: 'Sessions', columns,
    at: (index) => (found ? found[index] : rows.at(index)),
    keyOf: ({ session }) => session.id,
    look: ({ session, leavesAt }) => `${statusClass(session)}${leavesAt === undefined ? '' : ' leaving'}`,
    onOpen: ({ session }) => context.go({ sessionId: session.id }),
    onView: (from, to) => { if (!found) rows.need(from - AHEAD, to + AHEAD); },
    onActive: (row) => { say(line, row ? rowLine(row) : ''); },
  });
  const line = h('p', { class: 'line' }), tally = h('p', { class: 'tally' });
  const pill = h('button', { type: 'button', class: 'pill', hidden: true, onclick: () => { newer = 0; grid.top(); grid.focus(); } });
  const over = h('div', { class: 'over' });
  const revokeSome = h('button', { type: 'button', class: 'danger', onclick: () => revoke('filtered') }, 'Revoke filtered…');
  const revokeAll = h('button', { type: 'button', class: 'danger', onclick: () => revoke('all') }, 'Revoke all…');
  const why = h('span', { class: 'why', id: 'revoke-why' });
  fill(main, h('h1', { class: 'unseen' }, 'Sessions'), summary.element,
    h('div', { class: 'bar' }, filters.element, h('div', { class: 'acts', role: 'group', 'aria-label': 'Revoke' }, why, revokeSome, revokeAll)),
    h('div', { class: 'table' }, grid.element, over, pill), h('div', { class: 'foot' }, line, tally));

  const revoke = (what: 'filtered' | 'all') => {
    const filters = what === 'all' ? {} : revokeFilters(filter);
    if (!filters || (what === 'filtered' && Object.keys(filters).length === 0)) return; // no filter would mean everybody
    revokeDialog(context, filters, what === 'filtered', () => { summary.now(); refresh(0); });
  };
  const search = () => { found = filters.search === '' ? undefined : rows.loaded().filter(({ session }) => searchText(session).includes(filters.search)); };
  const refresh = (olderThanMs: number) => { const { from, to } = grid.view; rows.refresh(from, to, olderThanMs); };

  const start = () => {
    rows?.stop();
    error = undefined;
    newer = 0;
    const mine = rows = createRows({
      async load(cursor, limit, until) {
        const page = await access.client.sessions.page(application.id, { ...listFilters(filter), limit, ...(cursor !== undefined && { cursor }), signal: until });
        if (mine === rows) { error = undefined; readAt = Date.now(); }
        return page;
      },
      onChange: () => { if (mine === rows) { search(); update(); } },
      onError: (problem) => { if (mine === rows && !context.endsVisit(problem)) error = problem; },
    });
    signal.addEventListener('abort', mine.stop, { once: true });
    rows.need(0, 0);
    if (grid.element.isConnected) grid.top();
    search();
    update();
  };

  /** How many rows there will be: only where a count says so, or the end has been read. */
  const total = () => {
    if (rows.complete) return rows.length;
    const by = summary.counts?.byDerivedStatus;
    if (!by || hasFacts(filter)) return -1;
    return Math.max(rows.length, filter.statuses.reduce((sum, status) => sum + by[status], 0));
  };

  const update = () => {
    const length = found ? found.length : rows.length, all = found ? found.length : total();
    grid.update(length, all);
    const loaded = rows.loaded().length;
    filters.told(loaded, summary.counts?.byClientName.items.flatMap(({ clientName }) => clientName ?? []) ?? []);
    const state = error !== undefined && !rows.started ? 'error' : !rows.started || (length === 0 && !rows.complete && !found) ? 'loading' : length > 0 ? 'rows' : found ? 'search' : isFiltered(filter) ? 'filtered' : 'nobody';
    mark(tally, 'data-stale', error !== undefined && rows.started ? '' : undefined);
    say(tally, error !== undefined && rows.started ? `${tell(error).title} The rows are as of ${span(Date.now() - readAt)} ago.` : found ? `${sessions(found.length)} of the ${count(loaded)} loaded rows` : state === 'error' ? '' : state === 'loading' ? 'Loading…'
      : all < 0 ? `${sessions(rows.length)} so far` : rows.complete ? sessions(all) : `${count(rows.length)} of about ${sessions(all)} read`);
    const were = summary.counts?.byDerivedStatus.disconnected ?? 0, looks = state === 'nobody' ? `${state} ${were}` : state; // the count may come after the list
    if (over.dataset['state'] !== looks) {
      const isNew = over.dataset['state']?.split(' ')[0] !== state, hadFocus = over.contains(document.activeElement);
      over.dataset['state'] = looks;
      fill(over, state === 'error' ? refusal(error, { again: start }) : state === 'loading' ? h('p', { class: 'wait' }, 'Loading sessions…')
        : state === 'search' ? noMatch(true, filters.clearSearch) : state === 'filtered' ? noMatch(false, () => context.go({ filter: EVERYBODY }))
        : state === 'nobody' ? nobody(access, application.id, were, () => context.go({ filter: { statuses: ['disconnected'] } })) : null);
      if (hadFocus) (over.querySelector('button') ?? grid.element).focus();
      if (isNew && state !== 'loading') context.announce(state === 'rows' ? `${sessions(rows.length)} loaded` : over.querySelector('h2')?.textContent ?? '');
    }
    mark(grid.element, 'class', state === 'rows' ? 'grid' : 'grid bare');
    if (grid.atRest) newer = 0;
    pill.hidden = newer === 0;
    if (newer > 0) say(pill, `↑ ${count(newer)} newer`);
    offer();
  };

  /** What the token or the filter does not allow is there, disabled, and says why. */
  const offer = () => {
    const may = access.may('sessions:revoke'), some = revokeFilters(filter);
    const reason = !may ? 'This token may not revoke (sessions:revoke).' : some === undefined ? 'Disconnected sessions are over already.' : found ? 'A revoke goes by the filters, not by the search.' : '';
    say(why, reason);
    revokeAll.disabled = !may;
    revokeSome.disabled = !may || some === undefined || Object.keys(some).length === 0;
    for (const button of [revokeSome, revokeAll]) mark(button, 'aria-describedby', reason === '' ? undefined : 'revoke-why');
    mark(revokeSome, 'title', revokeSome.disabled && may ? 'Filter by user, client, host, status or time first' : undefined);
  };

  const put = (session: Parameters<Rows['put']>[0], belongs: boolean) => {
    const index = rows.put(session, belongs);
    if (index === undefined || found) return;
    if (index <= grid.view.from && !grid.atRest) newer += 1;
    grid.shift(index, 1);
  };
  const hear = (event: ApplicationEvent) => {
    summary.stir();
    switch (event.type) {
      case 'session.connected': case 'session.updated': return put(event.session, matches(event.session, filter));
      case 'session.disconnected': {
        const row = rows.find(event.sessionId);
        if (row) put({ ...row.session, status: 'disconnected', derivedStatus: 'disconnected', disconnectReason: event.reason, disconnectedAt: event.disconnectedAt }, filter.statuses.includes('disconnected'));
        return;
      }
      case 'sessions.revoked': context.announce(`All sessions were revoked: ${count(event.count)} connected`);
        summary.now();
        if (filter.statuses.includes('disconnected')) break;
        return start(); // none of these rows is one of the connected any more
      case 'reset': break;
      default: return;
    }
    const { from, to } = grid.view;
    rows.invalidate(from, to);
  };
  let wasOpen = false;
  live.on({ event: hear, state: ({ state }) => {
    if (state === 'open' && error !== undefined && !rows.started) start();
    else if (state === 'open' && !wasOpen) refresh(0); // what happened between the list and the stream
    wasOpen ||= state === 'open';
  } }, signal);

  let lastDue = 0;
  everySecond(() => {
    const keep = (row: Row) => row.session.id === drawer?.sessionId;
    for (const index of rows.sweep(keep)) if (!found) grid.shift(index, -1);
    if (rows.overgrown && grid.atRest) start();
    const { from, to } = grid.view, at = now();
    let due = false;
    for (let index = from; index <= to; index++) {
      const session = rows.at(index)?.session;
      due ||= session?.tokenExpiresAt !== undefined && (session.derivedStatus === 'active' || session.derivedStatus === 'idle') && Date.parse(session.tokenExpiresAt) <= at;
    }
    if (due && Date.now() - lastDue > SOON_MS) { lastDue = Date.now(); refresh(SOON_MS); } else refresh(REFRESH_MS);
    update();
  }, signal);

  const arrive = () => {
    const { filter: wanted, sessionId } = context.place;
    if (!sameFilter(wanted, filter)) { filter = wanted; start(); }
    if (drawer?.sessionId !== sessionId) {
      drawer?.close();
      drawer = sessionId === undefined ? undefined : openDrawer(context, sessionId, () => rows.find(sessionId)?.session, () => { drawer = undefined; context.go({ sessionId: undefined }); grid.focus(); });
      grid.select(sessionId);
    }
  };
  context.onPlace(arrive);
  signal.addEventListener('abort', () => drawer?.close(), { once: true });
  start();
  arrive();
}
