// Clients that do everything at once against some instances, and write down what they asked and were told.
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../support/instances.ts';
import type { Answered, Api, Audited, History, Listed, Operation, State, Target, Told } from './record.ts';

export interface Subject {
  readonly apis: readonly Api[];
  readonly apps: readonly string[];
  /** Reads an application's events, whatever breaks, until told to stop. Resolves when reading has begun. */
  follow(app: string, reader: number, tell: (event: Omit<Told, 'at'>) => void): Promise<() => Promise<void>>;
  /** Holds a session's own stream until it has ended with the session, or until told to stop. */
  hold?(app: string, sessionId: string, tell: (reason: State) => void): () => Promise<void>;
  /** Makes trouble until told to stop; leaves everything whole. */
  nemesis?(signal: AbortSignal, wrong: (what: string, work: () => Promise<void>) => Promise<void>): Promise<void>;
}

const CLIENTS = 8;
/** Operations without which there is nothing to judge. */
const ENOUGH = 200;
/** Sessions a client knows of; a beat is about all of them, over or not. */
const KNOWN = 40;
/** One in so many sessions has a client that holds its stream, while there are not too many of them. */
const HOLDERS = 5, MOST_HELD = 200;

export async function run({ apis, apps, follow, hold, nemesis }: Subject, seconds: number): Promise<History> {
  const history: History = { operations: [], readers: [], clients: [], faults: [], final: new Map() };
  const began = performance.now(), now = () => performance.now() - began;
  const stops = await Promise.all(apps.flatMap((app) => [0, 1].map(async (reader) => {
    const told: Told[] = [];
    history.readers.push({ app, told });
    return follow(app, reader, (event) => told.push({ ...event, at: now() }));
  })));

  const held: (() => Promise<void>)[] = [];
  const holdOne = (app: string, sessionId: string) => {
    if (!hold || Math.random() * HOLDERS >= 1 || held.length >= MOST_HELD) return;
    const told: State[] = [];
    history.clients.push({ app, sessionId, told });
    held.push(hold(app, sessionId, (reason) => told.push(reason)));
  };

  const stop = new AbortController();
  const known = new Map<string, string[]>(apps.map((app) => [app, []]));
  type Particulars<Kind> = Kind extends Operation['kind'] ? Omit<Extract<Operation, { kind: Kind }>, 'instance' | 'app' | 'start' | 'end' | 'status' | 'hasRetryAfter'> : never;
  const ask = async <Body>(app: string, question: (api: Api) => Promise<Answered<Body>>, particulars: (body: Body | undefined) => Particulars<Operation['kind']>) => {
    const instance = Math.floor(Math.random() * apis.length), start = now();
    const { status, hasRetryAfter = false, body } = await question(apis[instance]!);
    history.operations.push({ instance, app, start, end: now(), status, hasRetryAfter, ...particulars(body) } as Operation); // the two parts make one of them
    if (status === 0 || status === 503) await wait(20 + Math.random() * 80);
    return body;
  };
  const client = async (number: number) => {
    for (let step = 0; !stop.signal.aborted; step++) {
      const app = apps[(number + (step % 5 === 4 ? 1 : 0)) % apps.length]!, ids = known.get(app)!, id = ids[Math.floor(Math.random() * ids.length)];
      const dice = Math.random() * 100;
      if (dice < 35 || id === undefined) {
        const userId = `user ${Math.floor(Math.random() * 4)}`;
        const body = await ask(app, (api) => api.create(app, userId), (body) => ({ kind: 'create', userId, id: body?.id }));
        if (body) holdOne(app, body.id);
        if (body && ids.push(body.id) > KNOWN) ids.shift();
      } else if (dice < 55) {
        const some = ids.slice(-20);
        await ask(app, (api) => api.beat(app, some), (body) => ({ kind: 'beat', ids: some, over: body?.ended ?? [] }));
      } else if (dice < 68) await ask(app, (api) => api.end(app, id), () => ({ kind: 'end', id }));
      else if (dice < 76) {
        const target: Target = dice < 71 ? 'all' : dice < 72 ? { userId: `user ${Math.floor(Math.random() * 4)}` } : { sessionId: id }, requestId = randomUUID();
        await ask(app, (api) => api.revoke(app, target, requestId), (body) => ({ kind: 'revoke', target, requestId, count: body?.count ?? 0 }));
      } else if (dice < 80) await ask(app, (api) => api.list(app), (body) => ({ kind: 'list', items: body?.items ?? [] }));
      else await ask(app, (api) => api.get(app, id), (body) => ({ kind: 'get', id, state: body?.state }));
    }
  };
  const troubled = nemesis?.(stop.signal, async (what, work) => {
    const start = now();
    try { await work(); } finally { history.faults.push({ what, start, end: now() }); }
  });
  const clients = Array.from({ length: CLIENTS }, (_, number) => client(number));
  await wait(seconds * 1_000);
  await until(() => history.operations.length > ENOUGH, 30_000, 'something to judge'); // at once, but on a machine that is very busy
  stop.abort();
  await Promise.all([...clients, troubled]);

  // When all is well: what there is, and that everybody has been told of it.
  const last = async <Body>(question: () => Promise<Answered<Body>>): Promise<Body> => {
    let answer: Answered<Body> | undefined;
    await until(async () => (answer = await question()).status === 200, 10_000, 'an answer in the end');
    return answer!.body!;
  };
  for (const app of apps) {
    const lists: Listed[][] = [];
    for (const api of apis) lists.push((await last(() => api.list(app))).items);
    const audit: Audited[] = (await last(() => apis[0]!.audit(app))).items;
    history.final.set(app, { lists, audit });
  }
  // Told of the last thing of all, a reader has been told of everything before it.
  for (const app of apps) {
    const { id } = await last(async () => { const answer = await apis[0]!.create(app, 'the last'); return { ...answer, status: answer.status === 201 ? 200 : answer.status }; });
    const readers = history.readers.filter((reader) => reader.app === app);
    await until(() => readers.every(({ told }) => told.some(({ sessionId }) => sessionId === id)), 10_000, 'every reader has been told of the last thing');
  }
  const over = new Set([...history.final.values()].flatMap(({ lists }) => lists[0]!.filter(({ state }) => state !== 'active').map(({ id }) => id))); // there is an instance
  await until(() => history.clients.every(({ sessionId, told }) => !over.has(sessionId) || told.length > 0), 10_000, 'every client has been told').catch(() => {}); // the check says who was not
  await Promise.all([...stops, ...held].map((end) => end()));
  return history;
}
