// How many calls one caller may make in a minute, and how many tokens an address may get wrong: counted in memory, by each instance for itself.
import { isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import { bearerToken, isTokenShaped, type Caller, type Verifier } from './auth.ts';
import type { Config } from './config.ts';
import type { OperationId } from './operations.ts';
import { Problem } from './problem.ts';
import { UUID } from './uuid.ts';

export interface Limits {
  /** Checks the token in an Authorization header for whoever is at this address. @throws Problem `rate-limited`, before the token is looked at, or what the verifier throws */
  authenticate(header: string | undefined, address: () => string): Caller | Promise<Caller>;
  /**
   * Counts one call; one that the caller has no right to against nobody but itself. What it answers are headers for whatever comes of the call, names
   * and values in turn; a refusal has them too. @throws Problem `rate-limited`
   */
  admit(caller: Caller, mayCall: boolean, operationId: OperationId, applicationId: string | undefined): readonly string[];
}

type LimitsConfig = Pick<Config, 'RATE_LIMIT_PRINCIPAL' | 'RATE_LIMIT_APPLICATION' | 'RATE_LIMIT_REVOKES' | 'RATE_LIMIT_CONNECTS' | 'RATE_LIMIT_NEW_APPLICATIONS' | 'RATE_LIMIT_FAILED_AUTH'>;

const BEARER = 'Bearer ';
const MINUTE = 60_000, SECOND = 1_000;
/** Keys that one limit remembers. Beyond it the one that was quiet for longest is forgotten, which is in its favour. */
const MOST_KEYS = 20_000;
const REVOKES: ReadonlySet<OperationId> = new Set<OperationId>(['revokeSessions', 'revokeSession', 'allowCredential', 'deleteApplication']);

/** A key's count since its first call; it begins anew when the time is over. */
interface Window { count: number; until: number }

interface Counter {
  readonly name: string;
  readonly most: number;
  /** As the RateLimit-Policy header has it. */
  readonly policy: string;
  windowOf(key: string, at: number): Window;
}

function createCounter(name: string, most: number, windowMs: number): Counter {
  const windows = new LRUCache<string, Window>({ maxSize: MOST_KEYS, sizeCalculation: () => 1 }); // with `max` it would take the room for all of them at once
  return {
    name, most, policy: `"${name}";q=${most};w=${windowMs / SECOND}`,
    windowOf(key, at) {
      let window = windows.get(key);
      if (window === undefined) windows.set(key, window = { count: 0, until: at + windowMs });
      else if (at >= window.until || at < window.until - windowMs) { window.count = 0; window.until = at + windowMs; } // the clock may be set back
      return window;
    },
  };
}

export function createLimits(config: LimitsConfig, verifier: Verifier, now: () => number): Limits {
  const counter = (name: string, most: number, windowMs = MINUTE) => most > 0 ? createCounter(name, most, windowMs) : undefined;
  const principal = counter('principal', config.RATE_LIMIT_PRINCIPAL), application = counter('application', config.RATE_LIMIT_APPLICATION);
  const revokes = counter('revokes', config.RATE_LIMIT_REVOKES), failures = counter('failed-auth', config.RATE_LIMIT_FAILED_AUTH, SECOND);
  const connects = counter('connects', config.RATE_LIMIT_CONNECTS), newApplications = counter('new-applications', config.RATE_LIMIT_NEW_APPLICATIONS);
  const policies = new Map<string, string>();

  return {
    authenticate(header, address) {
      const known = header?.startsWith(BEARER) ? verifier.recent(header.slice(BEARER.length)) : undefined;
      if (known) return known;
      const token = bearerToken(header);
      // A token that was good before is nobody's guess: whoever shares an address with an attacker goes on working. And no work is spent on what is no token.
      return !failures || verifier.knows(token) || !isTokenShaped(token) ? verifier.verify(token) : guess(failures, token, address);
    },

    admit({ organizationId, principal: who, scopes }, mayCall, operationId, applicationId) {
      const at = now();
      const taken: [Counter, Window][] = [];
      if (principal) taken.push([principal, principal.windowOf(who, at)]);
      const isRevoke = REVOKES.has(operationId);
      // Under the caller's own organization, or a stranger could use up what an application may. Whatever its clients do, it can still be revoked.
      if (application && mayCall && !isRevoke && applicationId !== undefined && UUID.test(applicationId)) taken.push([application, application.windowOf(`${organizationId}\0${applicationId}`, at)]);
      if (revokes && isRevoke) taken.push([revokes, revokes.windowOf(who, at)]);
      // What is kept costs more than what is asked: of the least trusted, their own sessions; of an organization, whoever acts for it, what is looked at again and again.
      if (connects && operationId === 'createSession' && !scopes.has('sessions:write')) taken.push([connects, connects.windowOf(who, at)]);
      if (newApplications && mayCall && operationId === 'createApplication') taken.push([newApplications, newApplications.windowOf(organizationId, at)]);
      if (taken.length === 0) return [];

      let nearest = taken[0]!;
      for (const one of taken) if (one[0].most - one[1].count < nearest[0].most - nearest[1].count) nearest = one;
      const [limit, window] = nearest, isFull = window.count >= limit.most;
      if (!isFull) for (const one of taken) one[1].count++;
      const policy = policyOf(taken), left = `"${limit.name}";r=${limit.most - window.count};t=${secondsTo(window, at)}`;
      if (isFull) throw tooMany(window, at, `The limit "${limit.name}" is ${limit.most} calls a minute.`, { 'RateLimit-Policy': policy, RateLimit: left });
      return ['RateLimit-Policy', policy, 'RateLimit', left];
    },
  };

  async function guess(failures: Counter, token: string, address: () => string): Promise<Caller> {
    const from = network(address()), at = now(), window = failures.windowOf(from, at);
    if (window.count >= failures.most) throw tooMany(window, at, 'Too many tokens from this address were wrong.');
    try {
      return await verifier.verify(token);
    } catch (error) {
      // Counted when it is known, not before: many who come at once with good tokens, after a restart say, are no attack.
      if (error instanceof Problem && error.code === 'unauthorized') failures.windowOf(from, now()).count++;
      throw error;
    }
  }

  function policyOf(taken: [Counter, Window][]): string {
    let key = '';
    for (const [{ name }] of taken) key += name;
    let policy = policies.get(key);
    if (policy === undefined) policies.set(key, policy = taken.map(([limit]) => limit.policy).join(', '));
    return policy;
  }
}

const secondsTo = ({ until }: Window, at: number): number => Math.max(1, Math.ceil((until - at) / SECOND));

const tooMany = (window: Window, at: number, detail: string, headers: Record<string, string> = {}) =>
  new Problem('rate-limited', { detail, headers: { ...headers, 'Retry-After': String(secondsTo(window, at)) } });

/** One household or one machine: an IPv4 address, or the first half of an IPv6 one, of which anybody has all the rest. */
export function network(address: string): string {
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (v4 !== undefined || !isIPv6(address)) return v4 ?? address.slice(0, 64);
  const [head = [], tail] = address.split('%', 1)[0]!.split('::').map((part) => part.split(':').filter(Boolean));
  const groups = tail === undefined ? head : [...head, ...Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0'), ...tail];
  return groups.slice(0, 4).map((group) => parseInt(group, 16).toString(16)).join(':');
}
