import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const client = createClient({ baseUrl, token });

const { id } = await client.applications.create({ name: 'Billing MCP server' });
console.log(id);
