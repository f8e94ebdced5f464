import { watchSession } from '../../client/events.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '', ROLLCALL_SESSION: sessionId = '' } = process.env;

// The open stream is the session's heartbeat. It is opened again whenever it breaks, until the session is over.
const { reason, detail } = await watchSession({ baseUrl, token, applicationId, sessionId });
console.log(reason, detail);
