// What a request says in MCP: which era it speaks, whether it opens a connection, which calls wait for an answer.
import { headerOf, type McpRequest } from './http.ts';

export type RequestId = string | number;

/** A request, read once. Nothing in it is trusted. */
export interface Message {
  /** Opens a connection of the 2025 era. */
  readonly initializes: boolean;
  /** Speaks 2026-07-28: no sessions, every request says who sends it. */
  readonly isModern: boolean;
  /** Only asks what the server can do; clients that negotiate send it to servers of either era. */
  readonly discovers: boolean;
  /** Opens a stream that stays: GET, or `subscriptions/listen`. */
  readonly listens: boolean;
  /** Goes on with a stream that broke: the calls that waited on that one wait here now. */
  readonly resumes: boolean;
  /** Somebody wants something; pings, notifications and answers to the server are not that. */
  readonly isActivity: boolean;
  /** Calls that wait for an answer in this response. */
  readonly ids: readonly RequestId[];
  /** As the client said it: not checked. */
  readonly clientInfo: unknown;
  readonly mcpSessionId: string | undefined;
}

const META = 'io.modelcontextprotocol/';

export function readMessage(request: McpRequest): Message {
  const messages = request.method === 'POST' ? [request.body].flat().filter(isObject) : [];
  const calls = messages.filter(({ method, id }) => typeof method === 'string' && isId(id));
  const initialize = calls.find(({ method }) => method === 'initialize');
  const meta = objectOr(objectOr(messages[0]?.['params'])['_meta']);
  const isModern = typeof meta[`${META}protocolVersion`] === 'string';
  return {
    initializes: initialize !== undefined,
    isModern,
    discovers: calls.some(({ method }) => method === 'server/discover'),
    listens: request.method === 'GET' || calls.some(({ method }) => method === 'subscriptions/listen'),
    resumes: request.method === 'GET' && headerOf(request, 'last-event-id') !== undefined,
    isActivity: calls.some(({ method }) => !['initialize', 'ping', 'server/discover'].includes(String(method))),
    // isId has been asked above; the filter does not carry that into the type.
    ids: calls.map(({ id }) => id as RequestId),
    clientInfo: initialize ? objectOr(initialize['params'])['clientInfo'] : meta[`${META}clientInfo`],
    // The modern era has no such header, and servers are to ignore one.
    mcpSessionId: isModern ? undefined : headerOf(request, 'mcp-session-id'),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectOr(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

function isId(value: unknown): value is RequestId {
  return typeof value === 'string' || typeof value === 'number';
}
