import { subscribe } from '../../client/events.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;

// Runs until you leave the loop; a stream that breaks is opened again where it stopped.
for await (const event of subscribe({ baseUrl, token, applicationId })) {
  console.log(event.type);
  if (event.type === 'sessions.revoked') break;
}
