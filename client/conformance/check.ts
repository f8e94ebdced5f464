// The check: clients of a running MCP server are connected, watched in the service, revoked, and expected to be out.
import { createClient, RollcallError } from '../index.ts';
import type { Client } from '../client.ts';
import type { Session } from '../types.ts';
import { createPeer, type Era, type Open, type Peer } from './peer.ts';

export interface CheckOptions {
  /** The MCP endpoint: `https://app.example/mcp`. */
  url: string;
  /** An access token that the server accepts. It is revoked for a moment, so take one of its own, of a user who is nobody else. */
  token: string;
  /** Where the service is. The token needs `sessions:read`, `sessions:write` and `sessions:revoke`. */
  service: { baseUrl: string; token: string | (() => string | Promise<string>); applicationId: string; fetch?: typeof globalThis.fetch | undefined };
  /** A tool without arguments whose call takes longer than `withinMs`: without one, no call is cut. */
  tool?: string | undefined;
  /** How fast everything has to happen, in ms. Default 3,000. */
  withinMs?: number | undefined;
  /** The service's LEASE in ms; a killed client is lost after it. 0 leaves that check out. Default 90,000. */
  leaseMs?: number | undefined;
  fetch?: typeof globalThis.fetch | undefined;
  /** Hears of every check as it is decided. */
  onCheck?: ((check: Check) => void) | undefined;
}

export interface Check {
  name: string;
  outcome: 'passed' | 'failed' | 'skipped';
  /** What was seen. */
  detail: string;
}

export interface Report {
  /** No check failed. */
  passed: boolean;
  checks: Check[];
}

/** Ends what is being checked; the message is what was seen. */
class Failed extends Error {}
/** The check says nothing about this server; the message says why. */
class Skipped extends Error {}

/** A killed client is noticed by the lease, and the service looks every second. */
const LOST_SLACK_MS = 15_000;
/** The adapter reads the denied credentials anew at most every fifteen seconds. */
const WELCOME_MS = 20_000;
const PAUSE_MS = 50;

/** Is it cut when it should be? Never rejects because of what the server does. */
export async function checkMcpServer(options: CheckOptions): Promise<Report> {
  const { url, token, service, tool, withinMs = 3_000, leaseMs = 90_000, onCheck = () => {}, fetch = globalThis.fetch } = options;
  const { applicationId } = service;
  const client = createClient(service);
  const checks: Check[] = [];
  const run = `rollcall-mcp-check-${crypto.randomUUID().slice(0, 8)}`;
  let peers = 0;
  const newPeer = (era: Era) => createPeer({ url, token, fetch }, era, `${run}-${(peers += 1)}`);

  /** Answers what the check found, or undefined when it did not pass. */
  async function check<T>(name: string, decide: () => Promise<readonly [found: T, detail: string]>): Promise<T | undefined> {
    let result: { found?: T; outcome: Check['outcome']; detail: string };
    try {
      const [found, detail] = await decide();
      result = { found, outcome: 'passed', detail };
    } catch (error) {
      result = { outcome: error instanceof Skipped ? 'skipped' : 'failed', detail: detailOf(error) };
    }
    const decided = { name, outcome: result.outcome, detail: result.detail };
    checks.push(decided);
    onCheck(decided);
    return result.found;
  }

  const report = (): Report => ({ passed: checks.every(({ outcome }) => outcome !== 'failed'), checks });

  const deniedBefore = new Set<string>();
  const era = await check('A client can connect', async () => {
    for await (const { credentialId } of client.credentials.listRevoked(applicationId)) deniedBefore.add(credentialId);
    return findEra(newPeer);
  });
  if (era === undefined) return report();

  const first = newPeer(era);
  const session = await check('It is seen as a session', async () => {
    await first.connect();
    return timed(withinMs, 'there is no session of it: is the adapter in front of this endpoint, and does it report to this application?', () => sessionOf(client, applicationId, first));
  });
  if (session === undefined) return report();

  await check('A client that says goodbye is ended', async () => {
    if (era !== '2025-11-25') throw new Skipped(`${era} has no goodbye`);
    const leaving = newPeer(era);
    await leaving.connect();
    const { id } = await until(withinMs, 'there is no session of it', () => sessionOf(client, applicationId, leaving));
    if (!(await leaving.leave())) throw new Skipped('the server takes no DELETE');
    return timed(withinMs, 'it is not ended', () => isOver(client, applicationId, id, 'ended'));
  });

  // It is waited for while the rest is done.
  const dying = leaseMs === 0 ? undefined : killOne(newPeer(era));

  async function killOne(peer: Peer): Promise<{ id: string; at: number }> {
    await peer.connect();
    const { id } = await until(withinMs, 'there is no session of it', () => sessionOf(client, applicationId, peer));
    if ((await peer.listen()) === undefined) throw new Skipped('the server has no stream that could break: such a client is let go after idleTimeoutMs');
    await pause(PAUSE_MS * 4);
    peer.die();
    return { id, at: performance.now() };
  }
  dying?.catch(() => {}); // looked at below
  await dying?.catch(() => {}); // it needs the credential that is about to be revoked

  const stream = await first.listen();
  const call = tool === undefined ? undefined : await inFlight(first, tool, withinMs);
  const revokedAt = performance.now();
  await check('A revoke finds it', async () => {
    const { disconnectedCount } = await client.sessions.revoke(applicationId, session.id);
    if (disconnectedCount !== 1) throw new Failed(`it disconnected ${disconnectedCount}`);
    return [true, since(revokedAt)];
  });

  await check('Its open stream ends', async () => {
    if (!stream) throw new Skipped('the server has no stream');
    await within(withinMs - (performance.now() - revokedAt), 'it is still open', stream.over);
    return [true, since(revokedAt)];
  });
  await check('Its call in flight is rejected', async () => {
    if (tool === undefined) throw new Skipped('no tool was named that takes long enough');
    if (typeof call === 'string' || !call) throw new Failed(call ?? '');
    const text = await within(withinMs - (performance.now() - revokedAt), 'it is still being worked on', call.over);
    if (text === undefined || /"error"\s*:/.test(text)) return [true, since(revokedAt)];
    throw new Failed(/"result"\s*:/.test(text) ? 'it was answered with a result' : 'its stream ended without an answer: the client waits for its own time limit');
  });
  await check('Its next request is refused', () => refused(withinMs, revokedAt, () => first.ask()));
  await check('It cannot connect again with the same credential', () => refused(withinMs, revokedAt, () => newPeer(era).connect()));

  first.die(); // what it still holds, on a server that cut nothing

  await check('It is welcome when its credential is allowed again', async () => {
    for await (const { credentialId } of client.credentials.listRevoked(applicationId)) {
      if (!deniedBefore.has(credentialId)) await client.credentials.allow(applicationId, credentialId);
    }
    const again = newPeer(era);
    const found = await timed(WELCOME_MS, 'it is still refused', async () => (await again.connect()).ok || undefined);
    await again.leave();
    again.die();
    return found;
  });

  await check('A client that dies is lost', async () => {
    if (!dying) throw new Skipped('no lease was given');
    const { id, at } = await dying;
    await until(leaseMs + LOST_SLACK_MS + withinMs, 'it still counts as connected', () => isOver(client, applicationId, id, 'lost'));
    return [true, `after ${Math.round((performance.now() - at) / 1_000)} s`];
  });
  return report();
}

/** The older era if it has streams there, else the newer one: what can be watched says more. */
async function findEra(newPeer: (era: Era) => Peer): Promise<readonly [Era, string]> {
  let served: Era | undefined, refusal = '';
  for (const era of ['2025-11-25', '2026-07-28'] as const) {
    const peer = newPeer(era);
    const response = await peer.connect();
    if (!response.ok) {
      refusal ||= `${response.status} ${(await response.text()).slice(0, 200)}`;
      continue;
    }
    const stream = await peer.listen();
    await peer.leave();
    peer.die();
    if (stream) return [era, `${era}, with streams`];
    served ??= era;
  }
  if (served === undefined) throw new Failed(`it is refused: ${refusal}`);
  return [served, `${served}, without streams`];
}

/** A call that has not been answered at once; else what is wrong with it. */
async function inFlight(peer: Peer, tool: string, withinMs: number): Promise<Open | string> {
  const asked = peer.call(tool); // its head may come with its answer only
  const call: Open = { over: asked.then(({ over }) => over, () => undefined) };
  const early = await Promise.race([call.over.then((text) => text ?? 'the connection broke'), pause(Math.min(withinMs, 300))]);
  return typeof early === 'string' ? `nothing was in flight, name a tool that takes longer: ${tool} had answered before the revoke: ${early.slice(0, 200)}` : call;
}

async function sessionOf(client: Client, applicationId: string, { name }: Peer): Promise<Session | undefined> {
  return (await client.sessions.page(applicationId, { clientName: name })).items[0];
}

async function isOver(client: Client, applicationId: string, sessionId: string, reason: string): Promise<true | undefined> {
  const { disconnectReason } = await client.sessions.get(applicationId, sessionId);
  if (disconnectReason !== undefined && disconnectReason !== reason) throw new Failed(`it reads ${disconnectReason}`);
  return disconnectReason === reason || undefined;
}

/** 401 and what it takes for the client's own login to begin. */
async function refused(withinMs: number, revokedAt: number, ask: () => Promise<Response>): Promise<readonly [true, string]> {
  let last = '';
  const response = await until(withinMs - (performance.now() - revokedAt), () => `it is answered ${last}`, async () => {
    const answer = await ask();
    last = String(answer.status);
    return answer.status === 401 ? answer : undefined;
  });
  const challenge = response.headers.get('www-authenticate');
  if (!challenge) throw new Failed('401, but without WWW-Authenticate: no client begins its login');
  return [true, `401, ${challenge}`];
}

/** Says whose word it is: a refusal of Rollcall's is none of the server's. */
function detailOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, cause } = error;
  return `${error instanceof RollcallError ? 'Rollcall: ' : ''}${message}${cause instanceof Error ? ` (${cause.message})` : ''}`;
}

const since = (at: number) => `after ${Math.round(performance.now() - at)} ms`;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, Math.max(0, ms)));

async function timed<T>(ms: number, otherwise: string, ask: () => Promise<T | undefined>): Promise<readonly [T, string]> {
  const from = performance.now();
  return [await until(ms, otherwise, ask), since(from)];
}

/** Asks at least once, and again until there is an answer. */
async function until<T>(ms: number, otherwise: string | (() => string), ask: () => Promise<T | undefined>): Promise<T> {
  const from = performance.now();
  for (;;) {
    const found = await ask();
    if (found !== undefined) return found;
    if (performance.now() - from > ms) throw new Failed(`after ${Math.round(performance.now() - from)} ms ${typeof otherwise === 'string' ? otherwise : otherwise()}`);
    await pause(PAUSE_MS);
  }
}

async function within<T>(ms: number, otherwise: string, promise: Promise<T>): Promise<T> {
  const late = Symbol('late');
  const first = await Promise.race([promise, pause(ms).then((): typeof late => late)]);
  if (first === late) throw new Failed(`${otherwise} after ${Math.round(ms)} ms`);
  return first as T; // the only other one in the race
}
