// What `@rollcall/client/events` exports: who connects and who is cut, as it happens, and the end of one session.
import type { components } from '../generated/api.ts';
import { ConnectionError } from './problem.ts';
import { realTiming, type Timing } from './request.ts';
import { follow, type StreamEvent, type StreamOptions } from './stream.ts';
import type { ConnectedSession, DisconnectReason, Session } from './types.ts';

type Schemas = components['schemas'];
type StreamEnd = Schemas['StreamEnd'];
/** What the contract's events are called, but for those that only end a stream. */
type EventType = Exclude<Schemas['ApplicationEvent'], StreamEnd>['event'];

interface Event<Type extends EventType> {
  type: Type;
  /** Opaque. Keep the last one you have handled, and pass it as `lastEventId` to go on after it. */
  id: string;
}

/** A session was created. It belongs to `generation`: a `sessions.revoked` of that or a later one is about it. */
export interface SessionConnectedEvent extends Event<'session.connected'>, ConnectedSession {}

/** Its token was refreshed, or it is back after it was lost. The session is as it was when the event was sent. */
export interface SessionUpdatedEvent extends Event<'session.updated'> {
  session: Session;
}

/** One session is over, or lost: `lost` is not for good. */
export interface SessionDisconnectedEvent
  extends Event<'session.disconnected'>,
    Omit<Schemas['SessionDisconnected'], 'reason'> {
  reason: DisconnectReason;
}

/** **Every** session of `generation` and of older ones is over; `count` of them were connected. It is the only event about them. */
export interface SessionsRevokedEvent extends Event<'sessions.revoked'>, SessionsRevoked {}
type SessionsRevoked = Schemas['SessionsRevoked'];

/** Events were missed and cannot be had any more: list again whatever you keep. The stream goes on from now. */
export interface ResetEvent extends Event<'reset'> {}

/** What happens in an application. Tell them apart by `type`. */
export type ApplicationEvent =
  | SessionConnectedEvent
  | SessionUpdatedEvent
  | SessionDisconnectedEvent
  | SessionsRevokedEvent
  | ResetEvent;

/** Why a session is over, and what to do next. */
export interface Disconnect extends Omit<Schemas['Disconnect'], 'reason'> {
  /** `revoked` and `ended` are final; `lost` is told to mere onlookers, and is not. May gain values. */
  reason: DisconnectReason;
  /** Milliseconds to wait before connecting again, so that not everybody comes back at once. */
  retryAfterMs: number;
}

/** What {@link subscribe} takes. */
export interface SubscribeOptions extends StreamOptions {
  /** The `id` of the last event that was handled. Without it the stream starts now. */
  lastEventId?: string | undefined;
}

/** What {@link watchSession} takes. */
export interface WatchOptions extends StreamOptions {
  sessionId: string;
}

/** Total over the contract: an event that it gains is a compile error here, and an unknown one is skipped. */
const KNOWN: Readonly<Record<EventType, true>> = {
  'session.connected': true,
  'session.updated': true,
  'session.disconnected': true,
  'sessions.revoked': true,
  reset: true,
};

/**
 * The events of an application, in order for each session.
 *
 * ```ts
 * for await (const event of subscribe({ baseUrl, token, applicationId, lastEventId })) {
 *   if (event.type === 'sessions.revoked') cutEverybody(event.generation);
 * }
 * ```
 *
 * The stream is opened when the loop asks for the first event, and again, after the last event handed out, whenever it
 * breaks or ends: nothing is missed within the 24 hours that the server keeps, and after that there is a `reset`. Nothing
 * is read ahead of the loop. It never ends by itself; leaving it closes the connection.
 *
 * It rejects when the server refuses for good, with a 4xx other than 408 and 429 as a {@link ProblemError}; when something
 * that is not this API answers, with a {@link ResponseError}; when the token function fails; and with `signal.reason`. To
 * go on after that, subscribe again with the last event's `id`.
 *
 * Needs the scope `sessions:read`.
 */
export function subscribe(options: SubscribeOptions): AsyncIterable<ApplicationEvent>;
/** @internal With the time of a test. */
export function subscribe(options: SubscribeOptions, timing: Timing): AsyncIterable<ApplicationEvent>;
export function subscribe(options: SubscribeOptions, timing: Timing = realTiming): AsyncIterable<ApplicationEvent> {
  const { lastEventId = '' } = options;
  return follow(options, { path: ['events'], lastEventId, read: readApplicationEvent }, timing);
}

/**
 * Resolves when the session is over, at once if it is already. The open stream **is** the session's heartbeat, unless the token has
 * no more than `sessions:read`. Rejects as {@link subscribe} does; a 404 `not-found` means that the session is no longer retained,
 * or somebody else's.
 *
 * Needs `sessions:write`, `sessions:connect` or `sessions:read`.
 */
export function watchSession(options: WatchOptions): Promise<Disconnect>;
/** @internal With the time of a test. */
export function watchSession(options: WatchOptions, timing: Timing): Promise<Disconnect>;
export async function watchSession(options: WatchOptions, timing: Timing = realTiming): Promise<Disconnect> {
  const path = ['sessions', options.sessionId, 'events'];
  for await (const disconnect of follow(options, { path, read: readDisconnect }, timing)) return disconnect;
  throw new Error('unreachable: a stream that is followed does not end');
}

function readApplicationEvent({ type, id, data }: StreamEvent): ApplicationEvent | undefined {
  if (!Object.hasOwn(KNOWN, type)) return undefined;
  // The contract says what comes under this name.
  return { ...parse(data), type, id } as ApplicationEvent;
}

function readDisconnect({ type, data, retryMs }: StreamEvent): Disconnect | undefined {
  if (type !== 'disconnect') return undefined;
  // The contract says what comes under this name.
  return { ...(parse(data) as Schemas['Disconnect']), retryAfterMs: retryMs };
}

/** @throws ConnectionError for what is no JSON object: something between here and the server has damaged it */
function parse(data: string): object {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // As bad as any other value.
  }
  throw new ConnectionError('The stream brought an event that cannot be read.');
}

export { ConnectionError, ProblemError, ResponseError, RollcallError, TimeoutError } from './problem.ts';
export type { StreamOptions, StreamState } from './stream.ts';
export type { ConnectedSession, DisconnectReason, Session } from './types.ts';
