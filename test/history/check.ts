// Whether a history is one that the promises allow. Pure: takes what was recorded, answers what is wrong with it.
import type { History, Operation } from './record.ts';

type Of<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>;

const done = ({ status }: Operation): boolean => status >= 200 && status < 300;

export interface Bounds { /** ms within which a cut is told where nothing is wrong */ toldMs: number }

/** Everything that is wrong, each as `promise: what`. Nothing, when the history may be. */
export function check(history: History, { toldMs }: Bounds = { toldMs: 6_000 }): string[] {
  const wrong: string[] = [];
  const say = (promise: string, what: string) => { if (wrong.length < 200) wrong.push(`${promise}: ${what}`); };
  for (const app of history.final.keys()) {
    const operations = history.operations.filter((operation) => operation.app === app);
    noRevival(operations, say);
    conservation(history, app, operations, say);
    delivery(history, app, operations, toldMs, say);
    disconnects(history, app, say);
    tenancy(history, app, operations, say);
    honesty(operations, say);
    convergence(history, app, say);
  }
  return wrong;
}

type Say = (promise: string, what: string) => void;
const of = <Kind extends Operation['kind']>(operations: readonly Operation[], kind: Kind) => operations.filter((operation): operation is Of<Kind> => operation.kind === kind);
const created = (operations: readonly Operation[]) => of(operations, 'create').filter((operation) => operation.id !== undefined);

/** R1. What was over when an answer said so is over for every question that is asked later, wherever. */
function noRevival(operations: readonly Operation[], say: Say): void {
  const over = new Map<string, number>();
  const isOver = (id: string, from: number) => over.set(id, Math.min(over.get(id) ?? Infinity, from));
  const creates = created(operations);
  for (const operation of operations) {
    if (!done(operation)) continue;
    if (operation.kind === 'end') isOver(operation.id, operation.end);
    if (operation.kind !== 'revoke') continue;
    const { target, start, end } = operation;
    for (const create of creates) {
      if (create.end >= start) continue; // it may have come after
      if (target === 'all' || ('userId' in target ? target.userId === create.userId : target.sessionId === create.id)) isOver(create.id!, end);
    }
  }
  const alive = (id: string, asked: Operation) => {
    const from = over.get(id);
    if (from !== undefined && asked.start > from) say('no revival', `${id} was over at ${from.toFixed(0)}, and instance ${asked.instance} had it alive at ${asked.start.toFixed(0)} (${asked.kind})`);
  };
  for (const operation of operations) {
    if (!done(operation)) continue;
    if (operation.kind === 'get' && operation.state === 'active') alive(operation.id, operation);
    if (operation.kind === 'list') for (const { id, state } of operation.items) if (state === 'active') alive(id, operation);
    if (operation.kind === 'beat') for (const id of operation.ids) if (!operation.over.includes(id)) alive(id, operation);
  }
}

/** R3, R4. Whatever was acknowledged is there; every session was counted by the one revoke that ended it, and by no other. */
function conservation(history: History, app: string, operations: readonly Operation[], say: Say): void {
  const { lists, audit } = history.final.get(app)!; // the caller goes through these
  const states = new Map(lists[0]!.map(({ id, state }) => [id, state])); // there is an instance
  const acknowledged = created(operations), inDoubt = of(operations, 'create').filter((operation) => !done(operation)).length;
  for (const { id } of acknowledged) if (!states.has(id!)) say('conservation', `${id} was acknowledged and is not there`);
  const known = new Set(acknowledged.map(({ id }) => id));
  const extra = [...states.keys()].filter((id) => !known.has(id)).length;
  if (extra > inDoubt) say('conservation', `${extra} sessions nobody was told of, and only ${inDoubt} in doubt`);

  const revoked = [...states.values()].filter((state) => state === 'revoked').length;
  const counted = audit.reduce((sum, { count }) => sum + count, 0);
  if (revoked !== counted) say('conservation', `${revoked} sessions are revoked, and ${counted} were counted`);
  const byRequest = new Map(audit.map((row) => [row.requestId, row]));
  for (const { requestId, count } of of(operations, 'revoke').filter(done)) {
    const row = byRequest.get(requestId);
    if (row?.count !== count) say('conservation', `a revoke answered ${count}, and the audit has ${row?.count}`);
  }
  const asked = new Set(of(operations, 'end').map(({ id }) => id));
  for (const [id, state] of states) if (state === 'ended' && !asked.has(id)) say('conservation', `${id} has ended, and nobody asked for it`);
  for (const { id } of of(operations, 'end').filter(done)) if (states.get(id) === 'active') say('conservation', `${id} was ended and is active`);
}

/** R2. Every reader is told of everything, once by the event's id, in order, and in time where nothing is wrong. */
function delivery(history: History, app: string, operations: readonly Operation[], toldMs: number, say: Say): void {
  const { lists, audit } = history.final.get(app)!; // as above
  const revokedAll = audit.filter(({ isAll }) => isAll);
  for (const [index, { told }] of history.readers.filter((reader) => reader.app === app).entries()) {
    const ids = new Map<string, string>();
    const order: string[] = [];
    const first = new Map<string, number>();
    for (const { id, type, sessionId, revocationId, at } of told) {
      const what = `${type} ${sessionId ?? revocationId}`;
      if (ids.has(id)) { if (ids.get(id) !== what) say('delivery', `the event ${id} was two things`); continue; } // at least once: it may be told again
      ids.set(id, what);
      if (first.has(what) && type !== 'session.updated') say('delivery', `reader ${index} got ${what} as two events`);
      else first.set(what, at);
      if (type === 'reset') say('delivery', `reader ${index} was reset`);
      if (type === 'session.disconnected' && !first.has(`session.connected ${sessionId}`)) say('delivery', `reader ${index} heard that ${sessionId} was cut before it connected`);
      order.push(id);
    }
    for (const { id } of created(operations)) if (!first.has(`session.connected ${id}`)) say('delivery', `reader ${index} never heard that ${id} connected`);
    for (const { id } of revokedAll) if (!first.has(`sessions.revoked ${id}`)) say('delivery', `reader ${index} never heard of the revoke-all ${id}`);
    for (const { id, state } of lists[0]!) if (state === 'ended' && !first.has(`session.disconnected ${id}`)) say('delivery', `reader ${index} never heard that ${id} ended`);
    for (const operation of of(operations, 'revoke')) {
      if (!done(operation) || operation.count !== 1 || operation.target === 'all' || !('sessionId' in operation.target)) continue;
      const at = first.get(`session.disconnected ${operation.target.sessionId}`);
      if (at === undefined) say('delivery', `reader ${index} never heard that ${operation.target.sessionId} was revoked`);
      else if (at - operation.end > toldMs && !history.faults.some(({ start, end }) => start < at && end + toldMs > operation.start)) say('delivery', `reader ${index} heard ${(at - operation.end).toFixed(0)} ms late`);
    }
    const other = history.readers.find((reader) => reader.app === app && reader.told !== told);
    if (other) {
      const others = [...new Set(other.told.map(({ id }) => id))].filter((id) => ids.has(id));
      const mine = order.filter((id) => others.includes(id));
      if (mine.join() !== others.join()) say('delivery', `reader ${index} heard things in another order`);
    }
  }
}

/** R2. Whoever holds the stream of a session that is over was told so, once and why, and nobody else was. */
function disconnects(history: History, app: string, say: Say): void {
  const states = new Map(history.final.get(app)!.lists[0]!.map(({ id, state }) => [id, state])); // as above
  for (const { sessionId, told } of history.clients.filter((client) => client.app === app)) {
    const state = states.get(sessionId);
    if (told.join() !== (state === 'active' ? '' : state)) say('delivery', `the client of ${sessionId}, which is ${state}, was told: ${told.join(', ') || 'nothing'}`);
  }
}

/** Nothing of another application is in any answer or event. */
function tenancy(history: History, app: string, operations: readonly Operation[], say: Say): void {
  const foreign = new Set(created(history.operations.filter((operation) => operation.app !== app)).map(({ id }) => id!)); // `created` has only those
  const look = (id: string | undefined, where: string) => { if (id !== undefined && foreign.has(id)) say('tenancy', `${id} is of another application, and was in ${where}`); };
  for (const { items } of of(operations, 'list')) for (const { id } of items) look(id, 'a list');
  for (const reader of history.readers) if (reader.app === app) for (const { sessionId } of reader.told) look(sessionId, 'an event');
}

/** R6. Whoever cannot be answered is told so: no list without what is there, no "not found", no "who are you". */
function honesty(operations: readonly Operation[], say: Say): void {
  const creates = created(operations);
  for (const operation of operations) {
    const { kind, status, hasRetryAfter, start, instance } = operation;
    if (status === 503 && !hasRetryAfter) say('honesty', `${kind} was 503 without Retry-After`);
    if (status !== 0 && status !== 503 && !done(operation)) say('honesty', `${kind} was ${status} on instance ${instance}`);
    if (kind !== 'list' || !done(operation)) continue;
    const shown = new Set(operation.items.map(({ id }) => id));
    const missing = creates.filter((create) => create.end < start && !shown.has(create.id!)).length;
    if (missing > 0) say('honesty', `a list of instance ${instance} had ${shown.size} and lacked ${missing} that were there`);
  }
}

/** When all is well again, all instances say the same. */
function convergence(history: History, app: string, say: Say): void {
  const [first, ...others] = history.final.get(app)!.lists.map((list) => JSON.stringify(list)); // as above
  for (const [index, list] of others.entries()) if (list !== first) say('convergence', `instance ${index + 1} lists other than instance 0`);
}
