// Tests that speak to the service through HTTP and are quick on the embedded database, once more on PostgreSQL: what is shown there holds here.
import { afterAll, describe } from 'vitest';
import { postgresIsThere } from '../support/postgres.ts';
import { ON_POSTGRES } from '../support/service.ts';

process.env[ON_POSTGRES] = 'yes';
afterAll(() => { delete process.env[ON_POSTGRES]; });

describe.runIf(postgresIsThere())('on PostgreSQL', { timeout: 60_000 }, () => {
  describe('tenancy', () => import('./tenancy.test.ts').then(() => {}));
  describe('semantics', () => import('./semantics.test.ts').then(() => {}));
  describe('threats', () => import('./threats.test.ts').then(() => {}));
});
