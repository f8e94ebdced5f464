// The first start of an embedded server: a demo application, a token, and a line to paste.
import type { Config } from './config.ts';
import { mintToken } from './keys.ts';
import type { Service } from './service.ts';

export const DEMO_ORGANIZATION = 'demo';
export const ALL_SCOPES = ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:read', 'applications:write'];

/** Greets on stderr, and the first time, on the embedded database, makes a demo application. */
export async function welcome({ url, store, signingKey }: Service, config: Config): Promise<void> {
  if (!signingKey) return;
  const { items } = await store.listApplications(DEMO_ORGANIZATION, undefined, { after: undefined, limit: 1 });
  if (items.length > 0 || config.DATABASE_URL !== undefined) { // several instances may start at once there
    process.stderr.write(`\nRollcall is on ${url}. A token: npm run -s token -- --org ${DEMO_ORGANIZATION}\n\n`);
    return;
  }
  const application = await store.createApplication(DEMO_ORGANIZATION, 'Demo');
  const token = await mintToken(signingKey, {
    organizationId: DEMO_ORGANIZATION, scopes: ALL_SCOPES, subject: 'demo', ttlMs: 24 * 60 * 60 * 1000,
    audience: config.AUTH_AUDIENCE, organizationClaim: config.ORG_CLAIM, scopeClaim: config.SCOPE_CLAIM,
  });
  process.stderr.write(`
Rollcall is on ${url}, its documentation on ${url}/docs.

A demo application was made for you:  ${application.id}
A token for it, valid for a day:      ${token}

See its sessions:
  curl -H 'Authorization: Bearer ${token}' ${url}/api/v1/applications/${application.id}/sessions

Fill it with some:
  npm run seed -- --application ${application.id} --sessions 50

`);
}
