import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '', ROLLCALL_SESSION: sessionId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { disconnectReason, disconnectedAt } = await client.sessions.end(applicationId, sessionId);
console.log(disconnectReason, disconnectedAt);
