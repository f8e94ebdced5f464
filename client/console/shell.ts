// What is around the views: application, navigation, the state of stream and token; opens the view that the place names.
import { createChooser, idForm, listApplications, type Known } from './applications.ts';
import { everySecond, left, now, span } from './clock.ts';
import type { Context } from './context.ts';
import { fill, h, mark, say } from './dom.ts';
import { follow, type Live, type LiveState } from './live.ts';
import { EVERYBODY, readPlace, writePlace, type Place, type View } from './place.ts';
import { codeOf, refusal, tell } from './refusal.ts';
import { ask } from './revoke.ts';
import { showAudit } from './audit.ts';
import { showCredentials } from './credentials.ts';
import { showSessions } from './sessions.ts';
import type { SignedIn } from './signin.ts';
import { shown } from './text.ts';
import { noApplications, noSuchApplication } from './empty.ts';

const TITLES: Record<View, string> = { sessions: 'Sessions', audit: 'Audit', credentials: 'Revoked credentials' };
const SHOW: Record<View, (main: HTMLElement, context: Context) => void> = { sessions: showSessions, audit: showAudit, credentials: showCredentials };
const WARN_MS = 5 * 60_000;
const SAID_MS = 5_000;

export function showShell(root: HTMLElement, { access, listed }: SignedIn, { applicationId: asked, signedOut }: { applicationId?: string; signedOut: (reason?: string) => void }): void {
  const visit = new AbortController();
  const known: Known[] = [];
  const learn = (id: string, name?: string) => { if (!known.some((application) => application.id === id)) known.push({ id, name }); };
  for (const { id, name } of listed?.items ?? []) learn(id, name);
  for (const id of [asked, access.applicationId]) if (id !== undefined) learn(id);

  const leave = (reason?: string) => {
    visit.abort();
    signedOut(reason);
  };
  const announcer = h('div', { role: 'log', 'aria-label': 'News', class: 'unseen' });
  const announce = (text: string) => {
    const line = h('p', {}, text);
    announcer.append(line); // beside what was said a moment ago, which may not have been read out yet
    setTimeout(() => line.remove(), SAID_MS);
  };
  const endsVisit = (error: unknown) => {
    if (visit.signal.aborted) return true;
    if (!(error instanceof Error && 'status' in error && error.status === 401)) return false;
    const { title, detail } = tell(error);
    leave(`${detail ?? title} Paste a fresh token to go on where you were.`);
    return true;
  };

  const chooser = createChooser((id) => go({ applicationId: id, sessionId: undefined }), () => {
    const { form, input } = idForm('Its id', { onId: (id) => { close(); go({ applicationId: id, sessionId: undefined }); }, onCancel: () => close() });
    const { close } = ask(visit, 'Open another application', form);
    input.focus();
  });
  const navigation = new Map((Object.keys(TITLES) as View[]).map((view) => [view, h('a', {}, TITLES[view])])); // the keys of that record
  const stream = h('span', { class: 'stream' }), rest = h('span', { class: 'rest' });
  const main = h('main', { id: 'main', tabindex: -1 });
  let theme: string | undefined;
  const themeButton = h('button', { type: 'button', class: 'quiet theme', onclick: () => {
    const dark = theme === undefined ? matchMedia('(prefers-color-scheme: dark)').matches : theme === 'dark';
    theme = dark ? 'light' : 'dark';
    mark(document.documentElement, 'data-theme', theme);
  }, 'aria-label': 'Switch between light and dark', title: 'Light or dark' }, '◐');

  fill(root,
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); main.focus(); } }, 'Skip to the content'),
    h('header', { class: 'top' },
      h('span', { class: 'wordmark' }, 'Rollcall'),
      chooser.element,
      h('nav', { 'aria-label': 'Views' }, ...navigation.values()),
      h('span', { class: 'state' }, stream, rest, themeButton, h('button', { type: 'button', class: 'quiet', onclick: () => leave() }, 'Sign out'))),
    main, announcer);

  let place = readPlace(location.hash);
  let open: { applicationId: string; live: Live; ends: AbortController } | undefined, viewEnds = new AbortController(), shownAs = '';

  const go: Context['go'] = (change, { replace = false } = {}) => {
    place = { ...place, ...change };
    const written = writePlace(place);
    if (written !== location.hash) history[replace ? 'replaceState' : 'pushState'](null, '', written);
    arrive();
  };

  /** In place of a view, where there is none to show. */
  const instead = (...children: Parameters<typeof h>[2][]) => {
    for (const ends of [viewEnds, open?.ends]) ends?.abort();
    open = undefined;
    shownAs = '';
    document.title = 'Rollcall';
    stream.hidden = true;
    for (const link of navigation.values()) mark(link, 'aria-current', undefined);
    chooser.show(known, listed?.isCut ?? false, undefined);
    fill(main, ...children);
  };

  /** Opens what no list has offered; what is not there is said, and nothing else is opened in its place. */
  const find = async (id: string) => {
    instead(h('p', { class: 'empty wait' }, 'Looking for the application…'));
    try {
      learn(id, (await access.client.applications.get(id, { signal: visit.signal })).name);
    } catch (error) {
      if (endsVisit(error) || place.applicationId !== id) return;
      if (codeOf(error) === 'insufficient-scope') learn(id); // its sessions may be readable all the same, and say it if not
      else if (codeOf(error) === 'not-found' || codeOf(error) === 'invalid-request') {
        const [first] = known;
        return instead(listed && !first ? noApplications(access, () => void lookAgain()) : noSuchApplication(id, first && { name: first.name === undefined ? first.id : shown(first.name), open: () => go({ applicationId: first.id, filter: EVERYBODY, sessionId: undefined }) }));
      } else return instead(h('div', { class: 'page' }, refusal(error, { again: arrive })));
    }
    if (place.applicationId === id) arrive();
  };

  const lookAgain = async () => {
    try {
      listed = await listApplications(access, visit.signal);
      for (const { id, name } of listed.items) learn(id, name);
      arrive();
      if (known.length === 0) announce('There is no application yet');
    } catch (error) {
      if (!endsVisit(error)) instead(h('div', { class: 'page' }, refusal(error, { again: () => void lookAgain() })));
    }
    main.focus(); // the button that was pressed is gone
  };

  const arrive = () => {
    const id = place.applicationId ?? known[0]?.id;
    if (id === undefined) return instead(noApplications(access, () => void lookAgain()));
    if (id !== place.applicationId) return go({ applicationId: id, sessionId: undefined }, { replace: true });
    const application = known.find((one) => one.id === id);
    if (!application) return void find(id);
    chooser.show(known, listed?.isCut ?? false, id);
    stream.hidden = false;
    for (const [view, link] of navigation) {
      mark(link, 'href', writePlace({ ...place, view, sessionId: undefined }));
      mark(link, 'aria-current', view === place.view ? 'page' : undefined);
    }
    if (open?.applicationId !== id) {
      open?.ends.abort();
      const ends = new AbortController();
      open = { applicationId: id, ends, live: follow(access, id, AbortSignal.any([ends.signal, visit.signal])) };
      open.live.on({ state: (state) => { if (state.state === 'refused') endsVisit(state.error); tellStream(state); } }, ends.signal);
      tellStream(open.live.state);
    }
    const as = `${id} ${place.view}`;
    document.title = `${TITLES[place.view]} · ${application.name === undefined ? id : shown(application.name)} · Rollcall`;
    if (as === shownAs) return placed.forEach((hear) => hear(place));
    shownAs = as;
    viewEnds.abort();
    viewEnds = new AbortController();
    placed.clear();
    SHOW[place.view](main, {
      access, application, live: open.live, go, announce, endsVisit,
      get place() { return place; },
      onPlace: (hear) => { placed.add(hear); },
      signal: AbortSignal.any([viewEnds.signal, visit.signal]),
    });
  };
  const placed = new Set<(place: Place) => void>();

  let told = '';
  const tellStream = (state: LiveState) => {
    const word = { connecting: 'connecting', open: 'live', waiting: 'reconnecting', refused: 'no live updates' }[state.state];
    mark(stream, 'data-state', state.state);
    say(stream, word);
    mark(stream, 'title', state.state === 'waiting' ? `${state.error ? tell(state.error).title : 'The stream ended in order.'} Trying again in ${Math.ceil(state.retryInMs / 1_000)} s.`
      : state.state === 'refused' ? tell(state.error).title : state.state === 'open' ? 'Every event arrives here as it happens.' : undefined);
    if (told !== '' && told !== word && word !== 'connecting') announce(`Live updates: ${word}`);
    told = word;
  };

  everySecond(() => {
    if (access.expiresAt === undefined) return;
    const ms = access.expiresAt - now();
    if (ms <= 0) return leave('Your token has expired. Paste a fresh one to go on where you were.');
    say(rest, ms < WARN_MS ? `token ${left(new Date(access.expiresAt).toISOString())}` : `token ${span(ms)}`);
    mark(rest, 'class', ms < WARN_MS ? 'rest soon' : 'rest');
    mark(rest, 'title', `Signed in${access.subject === undefined ? '' : ` as ${shown(access.subject)}`}; your token is good for another ${left(new Date(access.expiresAt).toISOString())}`);
  }, visit.signal);
  addEventListener('popstate', () => { // links, the back button and an edited address alike
    place = readPlace(location.hash);
    arrive();
  }, { signal: visit.signal });
  if (asked === undefined) arrive();
  else go({ applicationId: asked, ...(asked !== place.applicationId && { filter: EVERYBODY, sessionId: undefined }) }, { replace: true });
}
