// What the table of sessions shows, and what the line below it says of the row one is at.
import type { Session } from '../index.ts';
import { absolute, ago, left } from './clock.ts';
import type { Column } from './grid.ts';
import { STATUSES } from './place.ts';
import type { Row } from './rows.ts';
import { shown } from './text.ts';

export const statusWord = ({ derivedStatus, disconnectReason }: Session): string =>
  derivedStatus === 'disconnected' && disconnectReason !== undefined ? disconnectReason : derivedStatus;

export const clientWords = ({ clientInfo }: Session): string => [clientInfo?.name, clientInfo?.version].filter((word) => typeof word === 'string').map(shown).join(' ');

/** The class that colours a status; a word this console does not know yet is shown without one. */
export const statusClass = ({ derivedStatus }: Session): string => STATUSES.find((status) => status === derivedStatus) ?? 'unknown';

export const columns: readonly Column<Row>[] = [
  { name: 'status', title: 'Status', text: ({ session }) => shown(statusWord(session)) },
  { name: 'name', title: 'Name', text: ({ session }) => shown(session.name), full: ({ session }) => shown(session.name) },
  { name: 'client', title: 'Client', text: ({ session }) => clientWords(session), full: ({ session }) => clientWords(session) },
  { name: 'host', title: 'Host', text: ({ session }) => shown(session.hostname), full: ({ session }) => shown(session.hostname) },
  { name: 'user', title: 'User', text: ({ session }) => shown(session.userId), full: ({ session }) => shown(session.userId) },
  { name: 'last', title: 'Last active', text: ({ session }) => ago(session.lastActiveAt), full: ({ session }) => absolute(session.lastActiveAt) },
  { name: 'since', title: 'Connected', text: ({ session }) => ago(session.connectedAt), full: ({ session }) => absolute(session.connectedAt) },
  { name: 'token', title: 'Token', text: ({ session }) => (session.status === 'active' ? left(session.tokenExpiresAt) : ''), full: ({ session }) => absolute(session.tokenExpiresAt) },
];

/** A row in full, times absolute: what a pointer gets by resting, for those who use none. */
export function rowLine({ session }: Row): string {
  const { lastActiveAt, connectedAt, tokenExpiresAt, disconnectedAt } = session;
  return [
    shown(session.name),
    lastActiveAt !== undefined && `last active ${absolute(lastActiveAt)}`,
    connectedAt !== undefined && `connected ${absolute(connectedAt)}`,
    disconnectedAt !== undefined && `disconnected ${absolute(disconnectedAt)}`,
    disconnectedAt === undefined && tokenExpiresAt !== undefined && `token until ${absolute(tokenExpiresAt)}`,
  ].filter(Boolean).join('  ·  ');
}

/** The text that the search box looks through. */
export const searchText = ({ id, name, hostname, userId, externalId, userAgent, clientInfo }: Session): string =>
  [id, name, hostname, userId, externalId, userAgent, clientInfo?.name, clientInfo?.title, clientInfo?.version].filter((value) => typeof value === 'string').join('\n').toLowerCase();
