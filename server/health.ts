// Whether requests can be served just now, and if not, why.
import type { Duty, DutyName } from './background.ts';
import { StoreUnavailable, type Trouble } from './store/store.ts';

/** Stable codes, for machines; and words. */
const details = {
  starting: 'the server is starting, and waits for its store',
  'shutting-down': 'the server is shutting down',
  'store-unreachable': 'the store is out of reach',
  'storage-full': 'the disk of the store is full',
  'store-damaged': 'the store is damaged',
  'schema-newer': 'a newer Rollcall has changed the schema of the store; run that version here too',
  'store-not-writable': 'the store can be read, and takes no writes',
  'background-behind': 'background work has stood still for longer than it may',
  'issuer-unavailable': "the token issuer's keys are out of reach",
} as const;
export type ReasonCode = keyof typeof details;
export const reasonCodes = Object.keys(details) as ReasonCode[]; // the keys of a record over them
export interface Reason { readonly code: ReasonCode; readonly detail: string }

export const reason = (code: ReasonCode): Reason => ({ code, detail: details[code] });

const codeOf: Record<Trouble, ReasonCode> = { away: 'store-unreachable', full: 'storage-full', damaged: 'store-damaged', newer: 'schema-newer' };

/** However often somebody asks, the store is asked no more often. */
const FRESH_MS = 1_000;
/** A store that misses one write may have been slow. */
const NOT_WRITING_MS = 3_000;
/** Of what takes no time: streams that are not kept alive, and events that nobody looks for. */
const STOOD_STILL_MS = 30_000;
/** Of sweeping, which can take as long as there is much to do: only its failing counts. */
const FAILING_MS = 60_000;

export interface HealthOptions {
  /** Rejects when the store cannot be used. */
  readonly check: () => Promise<void>;
  readonly duties: () => ReadonlyMap<DutyName, Duty>;
  readonly canVerify: () => boolean;
  readonly isLeaving: () => boolean;
  /** Told when the reasons are others than they were. */
  readonly onChange: (reasons: readonly Reason[]) => void;
}

/** @returns the reasons why requests cannot be served just now; none means ready. */
export function createHealth({ check, duties, canVerify, isLeaving, onChange }: HealthOptions): () => Promise<readonly Reason[]> {
  let asked: { at: number; reasons: Promise<readonly Reason[]> } | undefined;
  let last = '';

  async function look(): Promise<readonly Reason[]> {
    const codes: ReasonCode[] = await check().then(() => backgroundTrouble(duties()), (error: unknown) => [error instanceof StoreUnavailable ? codeOf[error.trouble] : 'store-unreachable']);
    const reasons = [...codes, ...(canVerify() ? [] : ['issuer-unavailable'] as const)].map(reason);
    const now = reasons.map(({ code }) => code).join();
    if (now !== last) onChange(reasons);
    last = now;
    return reasons;
  }

  return async () => {
    if (isLeaving()) return [reason('shutting-down')];
    if (!asked || performance.now() - asked.at > FRESH_MS) asked = { at: performance.now(), reasons: look() };
    return asked.reasons;
  };
}

/** Background work writes to the store every second, so it is the one that notices. */
function backgroundTrouble(duties: ReadonlyMap<DutyName, Duty>): ReasonCode[] {
  const now = performance.now();
  const { failure, failingSince = now } = duties.get('maintain') ?? {};
  if (failure instanceof StoreUnavailable && now - failingSince > NOT_WRITING_MS) return [failure.trouble === 'away' ? 'store-not-writable' : codeOf[failure.trouble]];
  const stoodStill = (name: DutyName) => now - (duties.get(name)?.doneAt ?? now) > STOOD_STILL_MS;
  return now - failingSince > FAILING_MS || stoodStill('streams') || stoodStill('events') ? ['background-behind'] : [];
}
