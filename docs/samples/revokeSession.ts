import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '', ROLLCALL_SESSION: sessionId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { disconnectedCount } = await client.sessions.revoke(applicationId, sessionId);
console.log(disconnectedCount === 1 ? 'thrown out' : 'it was over already');
