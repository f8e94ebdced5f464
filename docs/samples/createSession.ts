import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { session, generation } = await client.sessions.create(applicationId, {
  externalId: 'mcp:5f2b9c0e',
  userId: 'user_ada',
  credentialId: 'sid:9b7c2f',
  hostname: 'build-07',
  clientInfo: { name: 'claude-code', title: 'Claude Code', version: '2.1.204' },
});
console.log(session.id, session.name, generation);
