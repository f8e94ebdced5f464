import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

await client.credentials.allow(applicationId, 'sid:9b7c2f');
console.log('welcome again');
