// A history: what clients asked, when by one monotonic clock, and what they were told. Whoever runs it writes it, `check.ts` judges it.

export type State = 'active' | 'revoked' | 'ended' | 'lost';

/** What came back: a status as HTTP has it, 0 for no answer at all. */
export interface Answered<Body> { status: number; hasRetryAfter?: boolean; body?: Body }

export type Target = { sessionId: string } | { userId: string } | 'all';
export interface Listed { id: string; state: State }
export interface Audited { id: string; requestId: string; count: number; isAll: boolean }

/** One instance of the service, as clients see it. Never rejects. */
export interface Api {
  create(app: string, userId: string): Promise<Answered<{ id: string }>>;
  /** Answers which of them are over. */
  beat(app: string, ids: readonly string[]): Promise<Answered<{ ended: string[] }>>;
  end(app: string, id: string): Promise<Answered<object>>;
  revoke(app: string, target: Target, requestId: string): Promise<Answered<{ count: number }>>;
  list(app: string): Promise<Answered<{ items: Listed[] }>>;
  get(app: string, id: string): Promise<Answered<{ state: State }>>;
  audit(app: string): Promise<Answered<{ items: Audited[] }>>;
}

export interface Told { id: string; at: number; type: string; sessionId?: string | undefined; revocationId?: string | undefined }

interface Asked { readonly instance: number; readonly app: string; readonly start: number; readonly end: number; readonly status: number; readonly hasRetryAfter: boolean }
export type Operation = Asked & (
  | { readonly kind: 'create'; readonly userId: string; readonly id: string | undefined }
  | { readonly kind: 'beat'; readonly ids: readonly string[]; readonly over: readonly string[] }
  | { readonly kind: 'end'; readonly id: string }
  | { readonly kind: 'revoke'; readonly target: Target; readonly requestId: string; readonly count: number }
  | { readonly kind: 'list'; readonly items: readonly Listed[] }
  | { readonly kind: 'get'; readonly id: string; readonly state: State | undefined });

export interface History {
  readonly operations: Operation[];
  /** Each reader of an application's events, from before the first operation to after the last. */
  readonly readers: { readonly app: string; readonly told: Told[] }[];
  /** Clients that hold a session's own stream from just after it was made, and whenever it broke again: the reason they were told, as often as they were. */
  readonly clients: { readonly app: string; readonly sessionId: string; readonly told: State[] }[];
  /** When something was wrong. */
  readonly faults: { readonly what: string; readonly start: number; readonly end: number }[];
  /** What each application holds in the end: the list on each instance, and the audit. */
  readonly final: Map<string, { lists: Listed[][]; audit: Audited[] }>;
}
