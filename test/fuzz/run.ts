// Sends the requests in lanes, each with an application of its own that it knows everything about, and holds every answer against the contract.
import { setTimeout as wait } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { operations } from '../contract/contract.ts';
import { allowsBody, allowsParameter, undocumented } from '../support/answers.ts';
import type { RawAnswer, RawRequest } from '../support/raw.ts';
import { openWire, type Wire } from '../support/wire.ts';
import { attempts, type Attempt, type Who } from './requests.ts';

export interface Target {
  readonly url: string;
  /** A token of organization `org_fuzz`, unless another is named. */
  token(request: { scopes?: readonly string[]; organizationId?: string; applicationId?: string; subject?: string }): Promise<string>;
  /** Lets the counts, which may be some seconds old, become old. */
  settle(): Promise<void>;
}

export interface Options {
  seed: number; lanes?: number; slowestMs?: number;
  /** Whether a 503 may come: where the database shares a busy machine with others. It is a finding when it comes for the same request again. */
  mayBeBusy?: boolean;
  until: (sent: number) => boolean;
}
export interface Outcome { sent: number; byKind: Record<string, number>; byStatus: Record<string, number>; taken: number; sessions: number; slowest: { ms: number; curl: string } }

const MOST_HEAD = 14_000;

/** What of a session never changes. */
const FACTS = ['id', 'name', 'createdAt', 'agentId', 'organizationId', 'hostname', 'userAgent', 'clientInfo', 'userId', 'externalId'];
const PROBLEM = ['type', 'title', 'status', 'requestId'];
/** What belongs to us and to nobody outside. */
const INTERNALS = /\bat (?:async )?[\w.<>]+ \(|\bat file:|node_modules|\.[cm]?[jt]s:\d+|SQLITE_|sqlite3?\b|postgres|\bpg_|relation "|syntax error at|duplicate key value|constraint failed|ECONN|ENOENT|EACCES|ERR_[A-Z]|\bundefined\b|\[object |TypeError|RangeError|SyntaxError|ReferenceError|\/(?:home|var|usr|root|srv|opt|work|tmp)\//;

interface Session { facts: Record<string, unknown> }
interface Lane { applicationId: string; sessions: Map<string, Session>; credentials: string[]; cursors: string[]; positions: string[]; tokens: Record<Who, string | undefined>; uncertain: boolean }

export class Finding extends Error {}

export async function fuzz(target: Target, { seed, lanes = 4, slowestMs = 2_000, mayBeBusy = false, until }: Options): Promise<Outcome> {
  const wire = openWire(target.url, { connections: lanes * 2 });
  const outcome: Outcome = { sent: 0, byKind: {}, byStatus: {}, taken: 0, sessions: 0, slowest: { ms: 0, curl: '' } };
  try {
    const state = await Promise.all(Array.from({ length: lanes }, () => openLane(target)));
    await Promise.all(state.map(async (lane, number) => {
      for (let batch = 0; !until(outcome.sent); batch++) {
        const own = (Math.imul(seed, 1_000_003) + batch * lanes + number) | 0;
        for (const [index, attempt] of fc.sample(attempts, { seed: own, numRuns: 100 }).entries()) {
          if (until(outcome.sent)) return;
          await one(target, wire, lane, attempt, `--seed ${seed} (batch ${own}, request ${index})`, outcome, slowestMs, mayBeBusy);
        }
      }
    }));
    await target.settle();
    for (const lane of state) outcome.sessions += await walk(wire, lane, `--seed ${seed}`);
    return outcome;
  } finally {
    wire.close();
  }
}

async function openLane(target: Target): Promise<Lane> {
  const every = [...new Set(operations.flatMap(({ spec }) => (spec.security ?? []).flatMap((way) => Object.values(way).flat() as string[])))].filter((scope) => scope !== 'sessions:connect');
  const everyone = await target.token({ scopes: every });
  const lane: Lane = { applicationId: '', sessions: new Map(), credentials: [], cursors: [], positions: [], uncertain: false, tokens: {
    everyone, nobody: undefined, client: await target.token({ scopes: ['sessions:connect'], subject: 'client' }),
    foreign: await target.token({ scopes: every, organizationId: 'org_elsewhere' }), bound: await target.token({ scopes: every, applicationId: '0199ffff-ffff-7fff-8fff-ffffffffffff' }),
  } };
  await newApplication(target.url, lane);
  return lane;
}

async function newApplication(url: string, lane: Lane): Promise<void> {
  const response = await fetch(`${url}/api/v1/applications`, { method: 'POST', headers: { authorization: `Bearer ${lane.tokens.everyone}`, 'content-type': 'application/json' }, body: '{"name":"Fuzz"}' });
  const { application } = await response.json() as { application: { id: string } }; // the contract's 201
  Object.assign(lane, { applicationId: application.id, sessions: new Map(), credentials: [], cursors: [], positions: [] });
}

const pick = (from: readonly string[], n: number, otherwise: string): string => from[n % Math.max(1, from.length)] ?? otherwise;

/** The placeholders filled in with what is there. */
function fill(text: string, lane: Lane, encode = (value: string) => value): string {
  return text.replace(/@(application|session|credential|cursor|event|elsewhere|nothing)(?::(\d+))?/g, (_, what: string, number = '0') => {
    const n = Number(number);
    switch (what) {
      case 'application': return lane.applicationId;
      case 'session': return pick([...lane.sessions.keys()].slice(-50), n, '0199ffff-ffff-7fff-8fff-ffffffffffff');
      case 'credential': return encode(pick(lane.credentials, n, 'nobody'));
      case 'cursor': return pick(lane.cursors, n, 'W10');
      case 'event': return pick(lane.positions, n, 'mhx2k0g0.0.1f.f90ae7');
      default: return '0199ffff-ffff-7fff-8fff-fffffffffffe';
    }
  });
}

function requestOf({ operation, path, query, headers, body, method, who }: Attempt, lane: Lane): RawRequest {
  const target = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => fill(path[name] ?? '', lane, encodeURIComponent));
  const token = lane.tokens[who];
  return {
    method, target: target + (query.length > 0 ? `?${fill(query.join('&'), lane)}` : ''),
    headers: [...headers.map(([name, value]) => [name, fill(value, lane)] as const), ...(token === undefined ? [] : [['Authorization', `Bearer ${token}`] as const])],
    ...(body !== undefined && { body: typeof body === 'string' ? fill(body, lane) : body }),
  };
}

/** What to type to see it again. */
function curlOf(url: string, { method, target, headers = [], body }: RawRequest): string {
  const quote = (text: string) => `$'${text.replace(/[\\']/g, '\\$&').replace(/[^\x20-\x7e]/gu, (character) => [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''))}'`;
  const data = body === undefined ? '' : ` --data-binary ${quote(typeof body === 'string' ? body : Buffer.from(body).toString('latin1')).slice(0, 20_000)}`;
  return `curl -i --path-as-is -X ${method} ${quote(url + target)}${headers.map(([name, value]) => ` -H ${quote(name === 'Authorization' ? `${name}: Bearer $TOKEN` : `${name}: ${value}`)}`).join('')}${data}`;
}

async function one(target: Target, wire: Wire, lane: Lane, attempt: Attempt, at: string, outcome: Outcome, slowestMs: number, mayBeBusy: boolean): Promise<void> {
  const request = requestOf(attempt, lane), curl = curlOf(target.url, request), { operation, kind, change, who } = attempt;
  if (Buffer.byteLength(request.target + JSON.stringify(request.headers)) > MOST_HEAD) return; // Node's own limit has its own tests
  const started = performance.now();
  let answered: RawAnswer;
  const wrong = (what: string): never => { throw new Finding(`${what}\n  ${operation.id}, ${kind}${change && ` (${change})`}, as ${who}, ${at}\n  ${curl}\n  ${answered ? `${answered.status} ${JSON.stringify(answered.headers)}\n  ${answered.text.slice(0, 1_000)}` : ''}`); };
  try {
    answered = await wire.send(request);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_INVALID_CHAR' || (error as NodeJS.ErrnoException).code === 'ERR_UNESCAPED_CHARACTERS') return; // our side cannot say it
    return wrong(`no answer: ${String(error)}`);
  }
  const ms = performance.now() - started;
  outcome.sent++;
  outcome.byKind[kind] = (outcome.byKind[kind] ?? 0) + 1;
  outcome.byStatus[answered.status] = (outcome.byStatus[answered.status] ?? 0) + 1;
  if (ms > outcome.slowest.ms) outcome.slowest = { ms, curl };
  if (ms > slowestMs) wrong(`it took ${Math.round(ms)} ms`);

  if (mayBeBusy && answered.status === 503 && answered.headers['retry-after'] !== undefined) {
    lane.uncertain = true; // what became of it is unknown
    answered = await tryAgain(wire, lane, request) ?? wrong('it is 503 again and again, while another request is answered');
    if (operation.id === 'deleteApplication' && who === 'everyone' && [200, 204, 404].includes(answered.status)) await newApplication(target.url, lane);
    return;
  }
  const said = judge(attempt, request, answered);
  if (said !== undefined) wrong(said);
  if (attempt.who === 'everyone' && answered.status < 300 && attempt.method === operation.method.toUpperCase()) {
    if (kind === 'valid') outcome.taken++;
    const odd = await remember(target, wire, lane, attempt, request, answered);
    if (odd !== undefined) wrong(odd);
  }
}

/** Does as Retry-After says. No answer means that not the machine is busy, but this request cannot be answered. */
async function tryAgain(wire: Wire, lane: Lane, request: RawRequest): Promise<RawAnswer | undefined> {
  for (let times = 0; times < 2; times++) {
    await wait(1_000);
    const [again, other] = await Promise.all([wire.send(request), wire.send({ target: '/api/v1/applications?limit=1', headers: [['Authorization', `Bearer ${lane.tokens.everyone}`]] })]);
    if (again.status !== 503 || other.status === 503) return again;
  }
  return undefined;
}

/** What is wrong with the answer, whatever was done before. */
function judge(attempt: Attempt, request: RawRequest, { status, headers, text, body }: RawAnswer): string | undefined {
  const { operation: { id, method, path }, kind, change, who } = attempt, type = headers['content-type'] ?? '';
  if (status >= 500) return 'a 5xx';
  if (headers['cache-control'] !== 'no-store' || headers['x-content-type-options'] !== 'nosniff' || headers['x-request-id'] === undefined) return 'a header that every answer has is missing';
  const named = Object.keys(headers).find((name) => ['x-powered-by', 'etag', 'server', 'set-cookie', 'x-injected'].includes(name) || name.startsWith('access-control'));
  if (named) return `a header that should not be there: ${named}`;
  if (request.method === 'OPTIONS') return status === 204 || status === 404 ? undefined : 'OPTIONS is 204 or 404';
  const own = request.method === method.toUpperCase() || (request.method === 'HEAD' && method === 'get');
  // A path that is another one is another operation's, or nobody's.
  const elsewhere = !own || /^path|everything/.test(change);
  if (request.method === 'HEAD') return text === '' ? undefined : 'HEAD has no body';
  if (status >= 400) {
    if (!type.startsWith('application/problem+json')) return `a refusal as ${type}`;
    const missing = PROBLEM.find((name) => body[name] === undefined);
    if (missing) return `a problem without ${missing}`;
    if (body.status !== status || body.requestId !== headers['x-request-id']) return 'a problem that disagrees with its answer';
    const [leak] = INTERNALS.exec(text) ?? [];
    if (leak !== undefined && !JSON.stringify(request).includes(leak) && !decodeURIComponentSafely(request.target).includes(leak)) return `it tells of the inside: ${leak}`;
    if (status === 401 && !headers['www-authenticate']?.startsWith('Bearer realm=')) return 'a 401 without a challenge';
    if (status === 405 && headers['allow'] === undefined) return 'a 405 without Allow';
  }
  const documented = undocumented(id, { status, type, body });
  if (documented.length > 0 && !(elsewhere && [404, 405].includes(status) && documented[0] === `${id} does not document ${status}`)) return documented.join('; ');
  if (who === 'nobody' && ![401, 404, 405].includes(status)) return 'somebody without a token was not refused';
  if (['foreign', 'bound'].includes(who) && status < 400 && path.includes('{applicationId}')) return 'somebody else was let in';

  if (who !== 'everyone' || !own) return undefined;
  if (kind === 'valid') {
    const asItIs = status < 300
      || (id === 'createSession' && status === 403 && /"credentialId"/.test(String(request.body)) && body.type === '/docs/errors#credential-revoked')
      || (id === 'revokeSessions' && status === 409 && request.target.includes('maxCount='))
      || (id === 'allowCredential' && status === 404) || (/sessionId/.test(path) && status === 404 && /0199ffff-ffff/.test(request.target))
      || (status === 400 && request.target.includes('cursor=') && body.type === '/docs/errors#invalid-cursor')
      || (id === 'createSession' && status === 400 && isTooLarge(request.body));
    if (!asItIs) return 'a valid request was refused';
  } else if (status < 300) {
    const forbidden = isForbidden(attempt, request);
    if (forbidden) return `what the contract forbids was taken: ${forbidden}`;
  }
  return undefined;
}

/** `clientInfo` has bounds that no schema says. */
function isTooLarge(body: RawRequest['body']): boolean {
  const clientInfo = JSON.stringify((parse(String(body)) as { clientInfo?: unknown }).clientInfo ?? null);
  return Buffer.byteLength(clientInfo) > 8 * 1024 || /^[^]*(?:[[{][^\]}]*){16}/.test(clientInfo);
}

function isForbidden({ operation: { id, parameters, body: schema } }: Attempt, { target, body }: RawRequest): string | undefined {
  if (schema && typeof body === 'string' && body !== '') {
    let value: unknown;
    try { value = parse(body); } catch { return 'a body that is no JSON'; }
    if (!allowsBody(id, value)) return 'the body';
  }
  const names = parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name);
  for (const [name, value] of new URLSearchParams(target.split('?').slice(1).join('?'))) {
    if (name === '' && value === '') continue;
    if (!names.includes(name) || !allowsParameter(id, name, value)) return `the query's ${name}`;
  }
  return undefined;
}

/** Learns from a success, and reads it back. */
async function remember(target: Target, wire: Wire, lane: Lane, { operation: { id } }: Attempt, request: RawRequest, { status, body, headers }: RawAnswer): Promise<string | undefined> {
  if (typeof body?.nextCursor === 'string') lane.cursors = [...lane.cursors.slice(-20), body.nextCursor];
  if (id === 'deleteApplication') await newApplication(target.url, lane);
  if (id === 'listRevokedCredentials') lane.credentials = body.items.map(({ credentialId }: { credentialId: string }) => credentialId).slice(0, 20);
  if (id !== 'createSession') return undefined;

  const session: Record<string, unknown> = body.session, sent = request.body ? parse(String(request.body)) as Record<string, unknown> : {};
  const facts = Object.fromEntries(FACTS.map((name) => [name, session[name]]));
  const there = lane.sessions.get(String(session['id']));
  if (there) return isDeepStrictEqual(there.facts, facts) ? undefined : 'a session that was there has other facts now';
  if (status !== 201 && lane.uncertain) return undefined;
  if (status !== 201) return 'a session was found that nobody has made';
  if (headers['location'] !== `/api/v1/applications/${lane.applicationId}/sessions/${String(session['id'])}`) return 'Location is not where it is';
  lane.sessions.set(String(session['id']), { facts });
  for (const name of ['name', 'userId', 'externalId', 'hostname', 'userAgent', 'clientInfo']) {
    if (name in sent && JSON.stringify(session[name]) !== JSON.stringify(sent[name])) return `${name} is answered otherwise than it was sent`;
  }
  if (typeof sent['tokenExpiresAt'] === 'string' && session['tokenExpiresAt'] !== new Date(sent['tokenExpiresAt'].toUpperCase()).toISOString()) return 'tokenExpiresAt is another moment than the one that was sent';
  const again = await wire.send({ target: headers['location'], headers: [['Authorization', `Bearer ${lane.tokens.everyone}`]] });
  const { derivedStatus: _, ...before } = session, { derivedStatus: __, ...after } = again.body?.session ?? {}; // it may have run out meanwhile
  return isDeepStrictEqual(before, after) ? undefined : `what getSession answers is not what createSession answered: ${again.text.slice(0, 500)}`;
}

/** At the end: the list has what was made, as it was made, the counts count the list, and every other list can be read to its end. */
async function walk(wire: Wire, lane: Lane, at: string): Promise<number> {
  const ask = async (path: string) => {
    const { status, body, text } = await wire.send({ target: `/api/v1/applications/${lane.applicationId}${path}`, headers: [['Authorization', `Bearer ${lane.tokens.everyone}`]] });
    if (status !== 200) throw new Finding(`at the end, ${at}: ${path} answers ${status} ${text}`);
    return body;
  };
  for (let attempt = 1; ; attempt++) {
    const { byDerivedStatus } = await ask('/session-counts');
    const walked: Record<string, number> = { active: 0, idle: 0, expired: 0, disconnected: 0 };
    const seen = new Map<string, Record<string, unknown>>();
    for (let cursor = '', limit = 7; ; limit = limit * 3 % 1_000 + 1) {
      const page = await ask(`/sessions?status=all&limit=${limit}${cursor}`);
      for (const session of page.items) {
        walked[session.derivedStatus] = (walked[session.derivedStatus] ?? 0) + 1;
        seen.set(session.id, session);
      }
      if (page.nextCursor === undefined) break;
      cursor = `&cursor=${page.nextCursor}`;
    }
    for (const [id, { facts }] of lane.sessions) {
      const session = seen.get(id);
      if (!session || !isDeepStrictEqual(Object.fromEntries(FACTS.map((name) => [name, session[name]])), facts)) throw new Finding(`at the end, ${at}: ${id} is ${session ? 'not as it was made' : 'not in the list'}\n${JSON.stringify(facts)}\n${JSON.stringify(session)}`);
    }
    if (seen.size < lane.sessions.size) throw new Finding(`at the end, ${at}: the list has ${seen.size} of ${lane.sessions.size}`);
    // What is denied is for adapters to refuse: whatever it is called, the walk must come to its end.
    for (const path of ['/revoked-credentials', '/revocations']) {
      for (let cursor = ''; ;) {
        const page = await ask(`${path}?limit=10${cursor}`);
        if (page.nextCursor === undefined) break;
        cursor = `&cursor=${page.nextCursor}`;
      }
    }
    if (isDeepStrictEqual(walked, byDerivedStatus)) return seen.size;
    if (attempt === 3) throw new Finding(`at the end, ${at}: the counts say ${JSON.stringify(byDerivedStatus)}, the list ${JSON.stringify(walked)}`);
    await new Promise((resolve) => { setTimeout(resolve, 5_100); }); // the counts may be five seconds old
  }
}

/** As RFC 8259 allows, a byte order mark is passed over. */
const parse = (text: string): unknown => JSON.parse(text.replace(/^\ufeff/, ''));

function decodeURIComponentSafely(text: string): string {
  try { return decodeURIComponent(text); } catch { return text; }
}
