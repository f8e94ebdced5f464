// An MCP server on SDK v2 whose clients are sessions of Rollcall: five lines are about it, each marked.
import { requireBearerAuth } from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer, OAuthError, OAuthErrorCode } from '@modelcontextprotocol/server';
import express from 'express';
import { mcpSessions } from '../../client/mcp.ts'; // 1

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '', ROLLCALL_APPLICATION: applicationId = '', PORT = '3000' } = process.env;

/** Stands for your authorization server. */
const expiresAt = Math.floor(Date.now() / 1_000) + 3_600;
const users = new Map([['a-token-of-ada', 'ada'], ['a-token-of-bob', 'bob']]);
const verifier = {
  async verifyAccessToken(given: string) {
    const sub = users.get(given);
    if (!sub) throw new OAuthError(OAuthErrorCode.InvalidToken, 'Unknown token');
    return { token: given, clientId: 'example', scopes: [], expiresAt, extra: { sub } };
  },
};

const handler = toNodeHandler(createMcpHandler(() => {
  const server = new McpServer({ name: 'example', version: '1.0.0' });
  server.registerTool('greet', { description: 'Says hello' }, () => ({ content: [{ type: 'text', text: 'Hello' }] }));
  return server;
}));

const sessions = mcpSessions({ service: { baseUrl, token, applicationId } }); // 2

const app = express();
app.use('/mcp', requireBearerAuth({ verifier }), express.json());
app.use('/mcp', sessions); // 3
app.all('/mcp', (request, response) => handler(request, response, request.body));
const server = app.listen(Number(PORT), '127.0.0.1', () => process.send?.(server.address()));

process.once('SIGTERM', async () => {
  await sessions.close(); // 4
  server.close();
  server.closeAllConnections();
});
