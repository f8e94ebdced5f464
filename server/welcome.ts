// What a server that signs its own tokens prints when it starts: where it is, and lines to paste; the first time with a demo application and a token.
import { resolve } from 'node:path';
import type { Config } from './config.ts';
import { mintToken } from './keys.ts';
import type { Service } from './service.ts';

export const DEMO_ORGANIZATION = 'demo';
export const ALL_SCOPES = ['sessions:read', 'sessions:write', 'sessions:revoke', 'applications:read', 'applications:write'];

const quoted = (text: string): string => /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** A line that another terminal needs where the data is elsewhere: what makes tokens and backups looks in ./data unless it is told. */
const place = ({ DATABASE_URL, DATA_DIR }: Config): string => DATABASE_URL === undefined && resolve(DATA_DIR) !== resolve('data') ? `  export DATA_DIR=${quoted(resolve(DATA_DIR))}\n` : '';

/** For a shell: a new token each time. */
const MINTED = `$(npm run -s token -- --org ${DEMO_ORGANIZATION})`;

const whereabouts = (url: string) => `Rollcall is on ${url}, its documentation on ${url}/docs, its console on ${url}/console.`;

/** Greets on stderr, and the first time, on the embedded database, makes a demo application. */
export async function welcome({ url, store, signingKey }: Service, config: Config): Promise<void> {
  if (!signingKey) return;
  const { items } = await store.listApplications(DEMO_ORGANIZATION, undefined, { after: undefined, limit: 1 });
  if (items.length > 0 || config.DATABASE_URL !== undefined) { // several instances may start at once there
    process.stderr.write(`
${whereabouts(url)}

To paste into another terminal with the same environment; the documentation uses these names:
${place(config)}  export ROLLCALL_URL=${url}
${items[0] ? `  export ROLLCALL_APPLICATION=${items[0].id}
` : ''}  export ROLLCALL_TOKEN=${MINTED}
${items[0] ? '' : `
Make a first application:
  curl -H "Authorization: Bearer $ROLLCALL_TOKEN" $ROLLCALL_URL/api/v1/applications --json '{ "name": "My application" }'
`}
`);
    return;
  }
  const application = await store.createApplication(DEMO_ORGANIZATION, 'Demo');
  // A server for others is somebody's service, and its output a log that is kept.
  const token = !/^(127\.|localhost$|::1$)/.test(config.HOST) ? undefined : await mintToken(signingKey, {
    organizationId: DEMO_ORGANIZATION, scopes: ALL_SCOPES, subject: 'demo', ttlMs: 24 * 60 * 60 * 1000,
    audience: config.AUTH_AUDIENCE, organizationClaim: config.ORG_CLAIM, scopeClaim: config.SCOPE_CLAIM,
  });
  process.stderr.write(`
${whereabouts(url)}

A demo application was made for you${token ? ', with a token that is valid for a day. For another terminal, to paste' : '. To paste into another terminal with the same environment'}; the documentation uses these names:
${place(config)}  export ROLLCALL_URL=${url}
  export ROLLCALL_APPLICATION=${application.id}
  export ROLLCALL_TOKEN=${token ?? MINTED}

See its sessions:
  curl -H ${token ? `'Authorization: Bearer ${token}' ${url}/api/v1/applications/${application.id}/sessions` : '"Authorization: Bearer $ROLLCALL_TOKEN" $ROLLCALL_URL/api/v1/applications/$ROLLCALL_APPLICATION/sessions'}

Fill it with some, in a terminal where that has been pasted:
  npm run seed -- --application ${application.id} --sessions 50

`);
}
