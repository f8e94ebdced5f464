// What `@rollcall/client/mcp` exports: the adapter that makes the clients of an MCP server sessions of the service.
import { createMcpSessions } from './mcp/adapter.ts';
import type { McpSessions, McpSessionsOptions } from './mcp/options.ts';
import { serviceRegistry } from './mcp/registry.ts';

/**
 * An Express middleware (4.18 and later, or 5) for servers on either line of the official MCP SDK. It registers whoever connects,
 * says who is still there, and cuts whoever is revoked.
 *
 * ```ts
 * const sessions = mcpSessions({ service: { baseUrl, token, applicationId }, closeTransport: (id) => transports.get(id)?.close() });
 * app.all('/mcp', express.json(), requireBearerAuth({ verifier }), sessions, handler);
 * ```
 *
 * It throws nothing of its own at requests: what goes wrong in the background is told to `onError`.
 */
export function mcpSessions(options: McpSessionsOptions): McpSessions {
  return createMcpSessions(serviceRegistry(options.service), options);
}

export type { McpAuth, McpRequest, McpResponse } from './mcp/http.ts';
export type { Credential } from './mcp/identity.ts';
export type { McpSession, McpSessions, McpSessionsOptions, McpSessionsStats } from './mcp/options.ts';
export type { ServiceOptions } from './mcp/registry.ts';
