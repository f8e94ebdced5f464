// How a session gets out: the only place that writes one.
import { derivedStatus, type Session } from '../session.ts';

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
