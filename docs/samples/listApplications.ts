import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const client = createClient({ baseUrl, token });

for await (const { id, name } of client.applications.list()) console.log(id, name);
