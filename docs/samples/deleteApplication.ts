import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { disconnectedCount } = await client.applications.delete(applicationId);
console.log(`gone; ${disconnectedCount} cut with it`);
