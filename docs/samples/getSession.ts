import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '', ROLLCALL_SESSION: sessionId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { name, derivedStatus, lastActiveAt } = await client.sessions.get(applicationId, sessionId);
console.log(name, derivedStatus, lastActiveAt ?? 'never active');
