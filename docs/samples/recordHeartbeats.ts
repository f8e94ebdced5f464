import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '', ROLLCALL_SESSION: sessionId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { accepted, ended } = await client.sessions.heartbeat(applicationId, [{ sessionId, lastActiveAt: new Date().toISOString() }]);
console.log(`${accepted} connected`);
for (const over of ended) console.log(`disconnect ${over.sessionId}: ${over.reason}`);
