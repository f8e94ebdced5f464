// The fake service as a `fetch`: the contract's paths, statuses and problems in front of the memory.
import type { components } from '../../generated/api.ts';
import type { Heartbeat, NewSession, Session } from '../types.ts';
import type { Memory, Told } from './memory.ts';

type ProblemType = components['schemas']['ProblemType'];

const FIELDS = {
  session: ['name', 'userId', 'externalId', 'credentialId', 'credentialExpiresAt', 'tokenExpiresAt', 'hostname', 'userAgent', 'clientInfo'],
  filters: ['derivedStatus', 'userId', 'clientName', 'hostname'],
};

/** Thrown where a request is refused. */
class Refused extends Error {
  readonly problem: { type: ProblemType; title: string; status: number; detail?: string };

  constructor(status: number, type: ProblemType, title: string, detail?: string) {
    super(title);
    this.problem = { type, title, status, ...(detail !== undefined && { detail }) };
  }
}

const notFound = () => new Refused(404, '/docs/errors#not-found', 'There is nothing here.');
const invalid = (detail: string) => new Refused(400, '/docs/errors#invalid-request', 'The request is malformed.', detail);

export function serve(memory: Memory, applicationId: string): { fetch: typeof globalThis.fetch; setReachable(isReachable: boolean): void } {
  let isReachable = true;
  const streams = new Set<(reason: unknown) => void>();

  async function answer(request: Request): Promise<Response> {
    if (!/^Bearer \S+$/i.test(request.headers.get('authorization') ?? '')) throw new Refused(401, '/docs/errors#unauthorized', 'A valid bearer token is required.');
    const { pathname, searchParams: query } = new URL(request.url);
    const [, application, path = ''] = /^\/api\/v1\/applications\/([^/]+)(\/.*)?$/.exec(pathname) ?? [];
    if (application !== applicationId) throw notFound();
    const text = await request.text();
    const body: unknown = text === '' ? {} : JSON.parse(text);
    const [, sessionId = ''] = /^\/sessions\/([^/]+)/.exec(path) ?? [];
    const [, credentialId = ''] = /^\/revoked-credentials\/([^/]+)$/.exec(path) ?? [];
    memory.sweep();
    switch (`${request.method} ${path.replace(sessionId || credentialId || '/', (id) => (id === '/' ? id : '{id}'))}`) {
      case 'POST /sessions': return create(body as NewSession); // its fields are looked at next
      case 'GET /sessions': return json(200, list(query));
      case 'DELETE /sessions': return json(200, revoke(query));
      case 'GET /sessions/{id}': return json(200, { session: found(memory.get(sessionId)) });
      case 'DELETE /sessions/{id}': return json(200, { success: true, disconnectedCount: found(memory.revoke(sessionId)) });
      case 'POST /sessions/{id}/end': return json(200, { session: found(memory.end(sessionId)) });
      case 'POST /heartbeats': return json(200, memory.beat(beatsIn(body)));
      case 'GET /revoked-credentials': return json(200, { items: memory.denied() });
      case 'DELETE /revoked-credentials/{id}':
        if (!memory.allow(decodeURIComponent(credentialId))) throw notFound();
        return json(200, { success: true });
      case 'GET /events': return stream(request);
      default: throw new Refused(501, '/docs/errors#not-found', 'The fake has no such operation.', `${request.method} ${pathname}`);
    }
  }

  function create(body: NewSession): Response {
    const unknown = Object.keys(body).find((name) => !FIELDS.session.includes(name));
    if (unknown !== undefined) throw invalid(`/body/${unknown} is not a field of this object`);
    const created = memory.create(body);
    if (created.outcome === 'denied') {
      throw new Refused(403, '/docs/errors#credential-revoked', 'The credential was revoked.', 'The client has to authenticate again and connect with a new credential.');
    }
    const { outcome, ...answer } = created;
    return json(outcome === 'created' ? 201 : 200, answer);
  }

  function list(query: URLSearchParams): { items: Session[]; nextCursor?: string } {
    refuseUnknown(query, [...FIELDS.filters, 'limit', 'cursor', 'status', 'includeInactive']);
    const statuses = query.get('derivedStatus')?.split(',') ?? {
      active: ['active', 'idle'], inactive: ['expired', 'disconnected'], all: ['active', 'idle', 'expired', 'disconnected'],
    }[query.get('status') ?? (query.get('includeInactive') === 'true' ? 'all' : 'active')];
    if (!statuses) throw invalid('/query/status must be one of active, inactive, all');
    const all = memory.list((session) => statuses.includes(session.derivedStatus) && matches(query)(session));
    const from = Number(query.get('cursor') ?? 0), to = from + Number(query.get('limit') ?? 100);
    return { items: all.slice(from, to), ...(to < all.length && { nextCursor: String(to) }) };
  }

  function revoke(query: URLSearchParams): object {
    refuseUnknown(query, [...FIELDS.filters, 'dryRun', 'maxCount']);
    const statuses = query.get('derivedStatus')?.split(',') ?? ['active', 'idle', 'expired'];
    const isMeant = (session: Session) => statuses.includes(session.derivedStatus) && matches(query)(session);
    const matchedCount = memory.list(isMeant).length;
    if (matchedCount > Number(query.get('maxCount') ?? Infinity)) throw new Refused(409, '/docs/errors#revocation-too-large', 'The revocation matches more sessions than allowed.');
    if (query.get('dryRun') === 'true') return { success: true, disconnectedCount: 0, matchedCount };
    const isFiltered = FIELDS.filters.some((name) => query.has(name));
    return { success: true, disconnectedCount: isFiltered ? memory.revokeMatching(isMeant) : memory.revokeAll() };
  }

  function stream(request: Request): Response {
    const last = request.headers.get('last-event-id') ?? '';
    const missed = last === '' ? [] : memory.eventsAfter(last) ?? [{ id: memory.newestEvent(), event: 'reset', data: {} }];
    let leave = () => {};
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const write = (text: string) => controller.enqueue(new TextEncoder().encode(text));
        const frame = ({ id, event, data }: Told) => write(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
        const stop = memory.listen(frame);
        const breakOff = (reason: unknown) => {
          leave();
          controller.error(reason);
        };
        const cut = () => breakOff(request.signal.reason);
        leave = () => {
          stop();
          streams.delete(breakOff);
          request.signal.removeEventListener('abort', cut);
        };
        streams.add(breakOff);
        request.signal.addEventListener('abort', cut, { once: true });
        write('retry: 100\n:\n\n');
        missed.forEach(frame);
        write(`id: ${memory.newestEvent()}\ndata:\n\n`);
      },
      cancel: () => leave(),
    });
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' } });
  }

  return {
    async fetch(input, init) {
      const request = new Request(input, init);
      request.signal.throwIfAborted();
      if (!isReachable) throw new TypeError('fetch failed', { cause: new Error('The fake is out of reach.') });
      try {
        return await answer(request);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        return json(error.problem.status, { ...error.problem, requestId: crypto.randomUUID() }, 'application/problem+json');
      }
    },
    setReachable(is) {
      isReachable = is;
      if (!is) for (const breakOff of streams) breakOff(new TypeError('terminated'));
    },
  };
}

function json(status: number, body: object, type = 'application/json; charset=utf-8'): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': type, 'X-Request-Id': crypto.randomUUID() } });
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw notFound();
  return value;
}

/** An unknown filter must not become a wider revoke. */
function refuseUnknown(query: URLSearchParams, known: string[]): void {
  for (const [name, value] of query) if (!known.includes(name) || value === '') throw invalid(`/query/${name} is not a parameter of this operation, or empty`);
}

function matches(query: URLSearchParams): (session: Session) => boolean {
  const is = (name: string, value: unknown) => !query.has(name) || query.get(name) === value;
  return (session) => is('userId', session.userId) && is('clientName', session.clientInfo?.name) && is('hostname', session.hostname);
}

function beatsIn(body: unknown): Heartbeat[] {
  const { heartbeats } = body as { heartbeats?: unknown }; // looked at, not trusted
  if (!Array.isArray(heartbeats) || heartbeats.length === 0 || heartbeats.length > 1_000) throw invalid('/body/heartbeats must have 1 to 1,000 items');
  return heartbeats;
}
