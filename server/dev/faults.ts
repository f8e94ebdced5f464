// What the sandbox can do to a call, and how a caller asks for it: in the query, in the header Prefer, or for all calls at once.
import { challenge, invalid, Problem, type ProblemCode } from '../problem.ts';

/** One call's misfortune. */
export interface Faults {
  /** Milliseconds before anything else happens. */
  delay?: number;
  /** Answered instead of the server's answer. */
  code?: number;
  /** The connection is cut after so many milliseconds, whatever has been sent until then. */
  drop?: number;
  /** How many of the calls get `code` and `drop`: 0.2 is every fifth, at random. */
  rate?: number;
}

const CODES: Readonly<Record<number, ProblemCode>> = {
  400: 'invalid-request', 401: 'unauthorized', 403: 'insufficient-scope', 404: 'not-found', 408: 'request-timeout', 409: 'revocation-too-large',
  429: 'rate-limited', 500: 'internal-error', 503: 'store-unavailable',
};
const LONGEST_MS = 60_000;

const FORMS: Record<keyof Faults, { is: (value: number) => boolean; must: string }> = {
  delay: { is: (ms) => Number.isInteger(ms) && ms >= 0 && ms <= LONGEST_MS, must: `must be milliseconds, at most ${LONGEST_MS}` },
  code: { is: (code) => code in CODES, must: `must be one of ${Object.keys(CODES).join(', ')}` },
  drop: { is: (ms) => Number.isInteger(ms) && ms >= 0 && ms <= LONGEST_MS, must: `must be milliseconds, at most ${LONGEST_MS}` },
  rate: { is: (rate) => rate >= 0 && rate <= 1, must: 'must be a number from 0 to 1' },
};
const NAMES = Object.keys(FORMS) as (keyof Faults)[]; // they are its keys

/** Where the call says them, `__code` and so on, as it does to the mock; the rest of the query is the server's. */
export function askedFor(search: string, prefer: string): { faults: Faults; rest: string } {
  const query = new URLSearchParams(search), wishes = new Map<string, string>();
  for (const [, name = '', value = ''] of prefer.matchAll(/(\w+)\s*=\s*"?([^",;\s]+)"?/g)) wishes.set(name, value);
  for (const name of NAMES) if (query.has(`__${name}`)) wishes.set(name, query.get(`__${name}`) ?? '');
  // Not serialized anew: what the server gets is what was sent.
  const rest = search.split('&').filter((pair) => !NAMES.some((name) => pair.startsWith(`__${name}=`))).join('&');
  return { faults: readFaults(Object.fromEntries(NAMES.flatMap((name) => wishes.has(name) ? [[name, wishes.get(name)!]] : [])), '/query/__'), rest };
}

/** @throws Problem that names what is no fault */
export function readFaults(given: Record<string, string | undefined>, at = '/query/'): Faults {
  const entries = Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const wrong = entries.flatMap(([name, value]) => {
    const form = FORMS[name as keyof Faults]; // or none, which is looked at next
    if (!form) return [{ pointer: `${at}${name}`, detail: `must be one of ${NAMES.join(', ')}` }];
    return value !== '' && form.is(Number(value)) ? [] : [{ pointer: `${at}${name}`, detail: form.must }];
  });
  if (wrong.length) throw invalid(...wrong);
  return Object.fromEntries(entries.map(([name, value]) => [name, Number(value)]));
}

/** The refusal that a fault's code stands for, as the server would word it. */
export function refusalFor(code: number): Problem {
  const headers: Record<string, string> = code === 429 || code === 503 ? { 'Retry-After': '1' } : code === 401 ? challenge({ error: 'invalid_token' }) : {};
  return new Problem(CODES[code] ?? 'internal-error', { detail: 'You asked the sandbox for this.', headers });
}
