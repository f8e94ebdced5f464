// How a session gets out: the only place that writes one, in an answer or in an event.
import { statusIfConnected, type DerivedStatus, type DisconnectReason, type Session } from '../session.ts';
import { positionFrame } from '../frames.ts';
import { iso } from '../iso.ts';
import type { Answer, Json } from '../operations.ts';
import type { StoredEvent } from '../store/store.ts';
import { encodeEventId } from './cursor.ts';

// Text has no type, so the casts in this file are where it gets one; that they tell the truth is checked of every answer in the tests.
type SessionJson = Json<Answer<'getSession'>['session']>;

const statuses = (status: string, derived: DerivedStatus, reason?: DisconnectReason) => `","status":"${status}","derivedStatus":"${derived}",${reason === undefined ? '' : `"disconnectReason":"${reason}",`}`;
/** What follows an id, in one piece: an answer of many pieces takes as long to put together as to find. */
const CONNECTED = { active: statuses('active', 'active'), idle: statuses('active', 'idle'), expired: statuses('active', 'expired') };
const DISCONNECTED = { ended: statuses('disconnected', 'disconnected', 'ended'), lost: statuses('disconnected', 'disconnected', 'lost'), revoked: statuses('disconnected', 'disconnected', 'revoked') };

/** The contract's Session as JSON. What never changes is stored as JSON and sent as it is. */
export function presentSession(session: Session, now: number, idleAfter: number): SessionJson {
  const { id, disconnectReason, tokenExpiresAt, lastActiveAt, connectedAt, disconnectedAt, facts } = session;
  let json = `{"id":"${id}${disconnectReason === null ? CONNECTED[statusIfConnected(session, now, idleAfter)] : DISCONNECTED[disconnectReason]}`;
  if (tokenExpiresAt !== null) json += `"tokenExpiresAt":"${iso(tokenExpiresAt)}",`;
  if (lastActiveAt !== null) json += `"lastActiveAt":"${iso(lastActiveAt)}",`;
  json += `"connectedAt":"${iso(connectedAt)}",`;
  if (disconnectedAt !== null) json += `"disconnectedAt":"${iso(disconnectedAt)}",`;
  return `${json}${facts}}` as SessionJson;
}

export const presentOne = (session: SessionJson) => `{"session":${session}}` as Json<Answer<'getSession'>>;

export const presentConnected = (session: SessionJson, generation: number) => `{"session":${session},"generation":${generation}}` as Json<Answer<'createSession'>>;

export function presentPage(sessions: readonly Session[], nextCursor: string | undefined, now: number, idleAfter: number): Json<Answer<'listSessions'>> {
  let items = ''; // grown, not joined: joining would copy it once more
  for (const session of sessions) items += `${items === '' ? '' : ','}${presentSession(session, now, idleAfter)}`;
  return `{"items":[${items}]${nextCursor === undefined ? '' : `,"nextCursor":"${nextCursor}"`}}` as Json<Answer<'listSessions'>>;
}

/** One event of an application's stream, as it goes over the wire. */
export function presentEvent(event: StoredEvent, applicationId: string, now: number, idleAfter: number): string {
  const id = encodeEventId(event.at, event.position, applicationId);
  const frame = (data: string) => `id: ${id}\nevent: ${event.type}\ndata: ${data}\n\n`;
  switch (event.type) {
    case 'session.connected': case 'session.updated': {
      if (!event.session) return positionFrame(id); // it has been forgotten since: only the position is worth telling
      const session = presentSession(event.session, now, idleAfter);
      return frame(event.type === 'session.updated' ? presentOne(session) : presentConnected(session, event.generation));
    }
    case 'session.disconnected': return frame(JSON.stringify({ sessionId: event.sessionId, reason: event.reason, disconnectedAt: iso(event.at) }));
    case 'sessions.revoked': return frame(JSON.stringify({ revocationId: event.revocationId, generation: event.generation, count: event.count }));
  }
}
