import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

for await (const { createdAt, action, subject, disconnectedCount } of client.revocations.list(applicationId)) {
  console.log(createdAt, action, subject, disconnectedCount);
}
