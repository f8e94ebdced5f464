import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { byDerivedStatus, byClientName } = await client.sessions.counts(applicationId);
console.log(`${byDerivedStatus.active} active, ${byDerivedStatus.idle} idle`);
for (const { clientName, count } of byClientName.items) console.log(clientName, count);
