import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

// Asks for page after page, as the loop needs them.
for await (const { id, name, derivedStatus } of client.sessions.list(applicationId, { derivedStatus: ['active', 'idle'] })) {
  console.log(id, name, derivedStatus);
}
