// A process that does one thing to a store, so that a test can kill it: node store-process.ts DIRECTORY APPLICATION WHAT
import { connectedStatuses } from '../../server/session.ts';
import { createStore } from '../../server/store/index.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { actor, ORGANIZATION, times } from './store-times.ts';

const [directory = '', applicationId = '', what] = process.argv.slice(2);
const store = createStore(openSqlite(directory), { ...times, now: Date.now });
const tenant = { organizationId: ORGANIZATION, applicationId, boundTo: undefined };
const filter = { statuses: connectedStatuses, userId: 'u0' };

if (what === 'settle') await store.revokeAll(tenant, {}, actor);
console.log('begins');
if (what === 'settle') await store.settleRevocations(applicationId);
else if (what === 'revoke all') await store.revokeAll(tenant, {}, actor);
else await store.revokeMatching(tenant, filter, { userId: 'u0' }, {}, actor);
console.log('answered');
setInterval(() => {}, 1_000); // until it is killed
