// How the adapter says no: the JSON-RPC error and the HTTP answer around it.
import type { McpRequest, McpResponse } from './http.ts';
import type { RequestId } from './message.ts';

/** An answer of the adapter's own. */
export interface Refusal {
  readonly status: 401 | 404 | 503;
  readonly headers: Readonly<Record<string, string>>;
  readonly message: string;
  /** `data.reason` of the JSON-RPC error: what a client should tell cases apart by. */
  readonly reason: 'session_revoked' | 'session_not_found' | 'service_unavailable';
}

/**
 * The session, or what the client authenticated with, was revoked. 401 starts the client's login; 404, which some clients
 * answer by connecting again at once, is only for those who have nothing to log in with.
 */
export function revoked({ auth }: McpRequest, isAnonymous: boolean, resourceMetadataUrl: string | undefined): Refusal {
  const reason = 'session_revoked';
  if (isAnonymous) return { status: 404, headers: {}, message: 'Session revoked: initialize again', reason };
  const metadata = resourceMetadataUrl ?? auth?.resourceMetadataUrl;
  const challenge = 'Bearer error="invalid_token", error_description="Session revoked"';
  return {
    status: 401,
    headers: { 'WWW-Authenticate': metadata ? `${challenge}, resource_metadata="${metadata}"` : challenge },
    message: 'Session revoked: authenticate again',
    reason,
  };
}

/** To whoever uses the session id of somebody else: the same as for an id that never was. */
export const notFound: Refusal = { status: 404, headers: {}, message: 'Session not found', reason: 'session_not_found' };

export const unavailable: Refusal = {
  status: 503,
  headers: { 'Retry-After': '2' },
  message: 'The session service is out of reach',
  reason: 'service_unavailable',
};

/** Too many connections for this process, none of them idle. */
export const full: Refusal = { ...unavailable, headers: { 'Retry-After': '10' }, message: 'Too many sessions' };

/** The code both SDKs use for a session that is gone; what it means is in `reason`. */
const CODE = -32_001;

export function rpcError({ message, reason }: Refusal, id: RequestId | null): object {
  return { jsonrpc: '2.0', id, error: { code: CODE, message, data: { reason } } };
}

/** Answers a request whose response has not begun. */
export function send(response: McpResponse, refusal: Refusal, ids: readonly RequestId[]): void {
  const errors = ids.length === 0 ? [rpcError(refusal, null)] : ids.map((id) => rpcError(refusal, id));
  const body = JSON.stringify(errors.length === 1 ? errors[0] : errors);
  const length = new TextEncoder().encode(body).length;
  const headers = { ...refusal.headers, 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'Content-Length': length };
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.writeHead(refusal.status);
  response.end(body);
}
