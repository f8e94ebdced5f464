import { createClient } from '../../client/index.ts';

const { ROLLCALL_URL: baseUrl = '', ROLLCALL_TOKEN: token = '' } = process.env;
const { ROLLCALL_APPLICATION: applicationId = '' } = process.env;
const client = createClient({ baseUrl, token });

const { matchedCount = 0 } = await client.sessions.revokeAll(applicationId, { clientName: 'cursor', dryRun: true });

// Not one more than was looked at. Without a filter it throws everybody out.
const { disconnectedCount } = await client.sessions.revokeAll(applicationId, { clientName: 'cursor', maxCount: matchedCount });
console.log(`${disconnectedCount} thrown out`);
