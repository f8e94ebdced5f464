// Where the operator is, as the hash of the URL: application, view, filters, open session. Never the token.
import type { RevokeFilters, Session, SessionFilters } from '../index.ts';

export const VIEWS = ['sessions', 'audit', 'credentials'] as const;
export type View = (typeof VIEWS)[number];
export const STATUSES = ['active', 'idle', 'expired', 'disconnected'] as const;
export type Status = (typeof STATUSES)[number];
export const CONNECTED: readonly Status[] = ['active', 'idle', 'expired'];

/** All must hold; `statuses` is never empty, and in the order above. */
export interface Filter {
  statuses: readonly Status[];
  userId?: string | undefined;
  clientName?: string | undefined;
  hostname?: string | undefined;
  /** RFC 3339, UTC */
  lastActiveBefore?: string | undefined;
}

export interface Place { applicationId: string | undefined; view: View; filter: Filter; sessionId: string | undefined }

const TEXTS = ['userId', 'clientName', 'hostname'] as const;
export const EVERYBODY: Filter = { statuses: CONNECTED };

export function readPlace(hash: string): Place {
  const [path = '', search = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [applicationId, view] = path.split('/');
  const query = new URLSearchParams(search);
  const wanted = query.get('status')?.split(',');
  const statuses = STATUSES.filter((status) => wanted?.includes(status));
  const filter: Filter = { statuses: statuses.length > 0 ? statuses : CONNECTED };
  for (const name of TEXTS) if (query.get(name)) filter[name] = query.get(name) ?? undefined;
  const before = Date.parse(query.get('lastActiveBefore') ?? '');
  if (!Number.isNaN(before)) filter.lastActiveBefore = new Date(before).toISOString();
  return { applicationId: applicationId || undefined, view: VIEWS.find((name) => name === view) ?? 'sessions', filter, sessionId: query.get('session') ?? undefined };
}

export function writePlace({ applicationId, view, filter, sessionId }: Place): string {
  if (applicationId === undefined) return '#/';
  const query = new URLSearchParams();
  if (view === 'sessions') {
    if (!isConnected(filter.statuses)) query.set('status', filter.statuses.join());
    for (const name of TEXTS) if (filter[name]) query.set(name, filter[name]);
    if (filter.lastActiveBefore) query.set('lastActiveBefore', filter.lastActiveBefore);
    if (sessionId) query.set('session', sessionId);
  }
  const search = query.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
  return `#/${applicationId}/${view}${search && `?${search}`}`;
}

const isConnected = (statuses: readonly Status[]) => statuses.join() === CONNECTED.join();
const facts = ({ userId, clientName, hostname, lastActiveBefore }: Filter) =>
  Object.fromEntries(Object.entries({ userId, clientName, hostname, lastActiveBefore }).filter(([, value]) => value !== undefined)) as Omit<SessionFilters, 'derivedStatus'>; // the same names

export const sameFilter = (a: Filter, b: Filter): boolean => JSON.stringify([a.statuses, facts(a)]) === JSON.stringify([b.statuses, facts(b)]);
export const isFiltered = (filter: Filter): boolean => !sameFilter(filter, EVERYBODY);
export const hasFacts = (filter: Filter): boolean => Object.keys(facts(filter)).length > 0;

export const listFilters = (filter: Filter): SessionFilters => ({ derivedStatus: [...filter.statuses], ...facts(filter) });

/** What a revoke of the filtered is called with: only the connected can be revoked. Undefined when the filter shows none of them. */
export function revokeFilters(filter: Filter): RevokeFilters | undefined {
  const statuses = filter.statuses.filter((status) => status !== 'disconnected');
  if (statuses.length === 0) return undefined;
  return { ...facts(filter), ...(!isConnected(statuses) && { derivedStatus: statuses }) };
}

/** Whether a session as an event tells it belongs into the list. The server has decided its status; the rest is compared as the contract says. */
export function matches({ derivedStatus, userId, clientInfo, hostname, lastActiveAt, connectedAt, createdAt }: Session, filter: Filter): boolean {
  return filter.statuses.some((status) => status === derivedStatus)
    && (filter.userId === undefined || filter.userId === userId)
    && (filter.clientName === undefined || filter.clientName === clientInfo?.name)
    && (filter.hostname === undefined || filter.hostname === hostname)
    && (filter.lastActiveBefore === undefined || (lastActiveAt ?? connectedAt ?? createdAt) < filter.lastActiveBefore);
}

/** The filter in words, for dialogs and the audit. */
export function inWords({ derivedStatus, userId, clientName, hostname, lastActiveBefore }: SessionFilters): [string, string][] {
  const words: [string, string | undefined][] = [
    ['status', derivedStatus?.join(' or ')], ['user', userId], ['client', clientName], ['host', hostname], ['last active before', lastActiveBefore],
  ];
  return words.filter((pair): pair is [string, string] => pair[1] !== undefined);
}
