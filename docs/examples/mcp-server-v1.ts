// An MCP server on SDK v1 with sessions of its own, whose clients are sessions of Rollcall: five lines are about it, each marked.
import { randomUUID } from 'node:crypto';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import { mcpSessions } from '../../client/mcp.ts'; // 1

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '', ROLLCALL_APPLICATION: applicationId = '', PORT = '3000' } = process.env;

/** Stands for your authorization server. */
const expiresAt = Math.floor(Date.now() / 1_000) + 3_600;
const users = new Map([['a-token-of-ada', 'ada'], ['a-token-of-bob', 'bob']]);
const verifier = {
  async verifyAccessToken(given: string) {
    const sub = users.get(given);
    if (!sub) throw new InvalidTokenError('Unknown token');
    return { token: given, clientId: 'example', scopes: [], expiresAt, extra: { sub } };
  },
};

const transports = new Map<string, StreamableHTTPServerTransport>();
const closeTransport = (id: string) => transports.get(id)?.close(); // 2: else nothing ever frees it when a client just goes away

async function openTransport() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => { transports.set(id, transport); },
  });
  transport.onclose = () => { if (transport.sessionId) transports.delete(transport.sessionId); };
  const server = new McpServer({ name: 'example', version: '1.0.0' });
  server.registerTool('greet', { description: 'Says hello' }, () => ({ content: [{ type: 'text', text: 'Hello' }] }));
  await server.connect(transport);
  return transport;
}

const sessions = mcpSessions({ service: { baseUrl, token, applicationId }, closeTransport }); // 3

const app = express();
app.use('/mcp', requireBearerAuth({ verifier }), express.json());
app.use('/mcp', sessions); // 4
app.all('/mcp', async (request, response) => {
  const id = request.get('mcp-session-id');
  const transport = id === undefined ? await openTransport() : transports.get(id);
  if (transport) await transport.handleRequest(request, response, request.body);
  else response.status(404).json({ jsonrpc: '2.0', id: null, error: { code: -32_001, message: 'Session not found' } });
});
const server = app.listen(Number(PORT), '127.0.0.1', () => process.send?.(server.address()));

process.once('SIGTERM', async () => {
  await sessions.close(); // 5
  server.close();
  server.closeAllConnections();
});
