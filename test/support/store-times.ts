// What stores under test are opened with, and who calls them; without a test framework, so that processes of their own can use it too.
import type { StoreOptions } from '../../server/store/index.ts';

export const SECOND = 1_000, MINUTE = 60_000, HOUR = 3_600_000, DAY = 86_400_000;
export const times: Omit<StoreOptions, 'now'> = { idleAfter: 5 * MINUTE, lease: 90 * SECOND, retention: 30 * DAY, eventRetention: DAY, auditRetention: 400 * DAY };
export const actor = { subject: 'operator', requestId: 'request-1' };
export const ORGANIZATION = 'org_test';
