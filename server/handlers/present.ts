// How a session gets out: the only place that writes one, in an answer or in an event.
import { derivedStatus, type Session } from '../session.ts';
import { positionFrame } from '../sse.ts';
import type { StoredEvent } from '../store/store.ts';
import { encodeEventId } from './cursor.ts';

export const iso = (ms: number): string => new Date(ms).toISOString();

/** The contract's Session as JSON. What never changes is stored as JSON and sent as it is. */
export function presentSession(session: Session, now: number, idleAfter: number): string {
  const { id, disconnectReason, tokenExpiresAt, lastActiveAt, connectedAt, disconnectedAt, facts } = session;
  let json = `{"id":"${id}","status":"${disconnectReason === null ? 'active' : 'disconnected'}","derivedStatus":"${derivedStatus(session, now, idleAfter)}"`;
  if (disconnectReason !== null) json += `,"disconnectReason":"${disconnectReason}"`;
  if (tokenExpiresAt !== null) json += `,"tokenExpiresAt":"${iso(tokenExpiresAt)}"`;
  if (lastActiveAt !== null) json += `,"lastActiveAt":"${iso(lastActiveAt)}"`;
  json += `,"connectedAt":"${iso(connectedAt)}"`;
  if (disconnectedAt !== null) json += `,"disconnectedAt":"${iso(disconnectedAt)}"`;
  return `${json},${facts}}`;
}

/** One event of an application's stream, as it goes over the wire. */
export function presentEvent(event: StoredEvent, applicationId: string, now: number, idleAfter: number): string {
  const id = encodeEventId(event.at, event.position, applicationId);
  const frame = (data: string) => `id: ${id}\nevent: ${event.type}\ndata: ${data}\n\n`;
  switch (event.type) {
    case 'session.connected': case 'session.updated': {
      if (!event.session) return positionFrame(id); // it has been forgotten since: only the position is worth telling
      const session = presentSession(event.session, now, idleAfter);
      return frame(event.type === 'session.updated' ? `{"session":${session}}` : `{"session":${session},"generation":${event.generation}}`);
    }
    case 'session.disconnected': return frame(JSON.stringify({ sessionId: event.sessionId, reason: event.reason, disconnectedAt: iso(event.at) }));
    case 'sessions.revoked': return frame(JSON.stringify({ revocationId: event.revocationId, generation: event.generation, count: event.count }));
  }
}
