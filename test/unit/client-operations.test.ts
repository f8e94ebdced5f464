// Every operation of the contract has a call of the client, and each call is answered by a mock of the contract.
import { createLogger } from '@stoplight/prism-core';
import { getHttpOperationsFromSpec } from '@stoplight/prism-http';
import { createServer } from '@stoplight/prism-http-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, createClient } from '../../client/index.ts';
import type { operations } from '../../generated/api.ts';
import { APP, ID } from './client-peer.ts';

const EVENTS = 'text/event-stream';

/** What is answered by a stream of events is read by a subscription, not by a call. */
type Streamed = {
  [Id in keyof operations]: operations[Id]['responses'] extends { 200: { content: { [EVENTS]: unknown } } } ? Id : never;
}[keyof operations];
type Called = Exclude<keyof operations, Streamed>;

/** Total over the contract: a new operation fails the type check here, and the first test below. */
const calls = {
  listApplications: (client) => client.applications.page(),
  createApplication: (client) => client.applications.create({ name: 'Billing MCP server' }),
  getApplication: (client) => client.applications.get(APP),
  deleteApplication: (client) => client.applications.delete(APP),
  listSessions: (client) => client.sessions.page(APP, { derivedStatus: ['idle', 'expired'], includeInactive: true }),
  createSession: (client) => client.sessions.create(APP),
  revokeSessions: (client) => client.sessions.revokeAll(APP, { dryRun: true, maxCount: 5 }),
  getSession: (client) => client.sessions.get(APP, ID),
  revokeSession: (client) => client.sessions.revoke(APP, ID),
  endSession: (client) => client.sessions.end(APP, ID),
  recordHeartbeats: (client) => client.sessions.heartbeat(APP, [{ sessionId: ID }]),
  getSessionCounts: (client) => client.sessions.counts(APP),
  listRevocations: (client) => client.revocations.page(APP),
  listRevokedCredentials: (client) => client.credentials.pageRevoked(APP),
  allowCredential: (client) => client.credentials.allow(APP, 'sid:9b7c2f'),
} satisfies Record<Called, (client: Client) => Promise<object>>;

/** The part of each answer by which the caller recognizes it; the mock answers the contract's first example. */
const answers: Record<Called, object> = {
  listApplications: { items: [{ name: 'Billing MCP server' }, { name: 'Docs search' }] },
  createApplication: { name: 'Billing MCP server' },
  getApplication: { name: 'Billing MCP server' },
  deleteApplication: { success: true, disconnectedCount: 12 },
  listSessions: { items: [{ name: 'Claude Code on build-07' }, { name: 'cursor' }] },
  createSession: { session: { id: ID }, generation: 3 },
  revokeSessions: { success: true, disconnectedCount: 42 },
  getSession: { id: ID, derivedStatus: 'active' },
  revokeSession: { success: true, disconnectedCount: 1 },
  endSession: { id: ID, disconnectReason: 'ended' },
  recordHeartbeats: { accepted: 2, ended: [] },
  getSessionCounts: { byDerivedStatus: { active: 128 } },
  listRevocations: { items: [{ action: 'revokeSessions' }, {}, { action: 'allowCredential' }] },
  listRevokedCredentials: { items: [{ credentialId: 'sid:9b7c2f' }] },
  allowCredential: { success: true },
};

const contract = await getHttpOperationsFromSpec(new URL('../../openapi.yaml', import.meta.url).pathname);

const streamed = contract.filter((operation) =>
  operation.responses.some((response) => response.contents?.some((content) => content.mediaType === EVENTS)),
);

describe('the client', () => {
  const logger = createLogger('mock', { enabled: false });
  const mock = createServer(contract, {
    components: { logger },
    cors: false,
    config: {
      checkSecurity: true,
      validateRequest: true,
      validateResponse: true,
      errors: true,
      upstreamProxy: undefined,
      mock: { dynamic: false },
      isProxy: false,
    },
  });
  let baseUrl: string;
  beforeAll(async () => {
    baseUrl = await mock.listen(0, '127.0.0.1');
  });
  afterAll(() => mock.close());

  it('has a call for every operation that is not a stream, and none for what is not there', () => {
    const called = contract.filter((operation) => !streamed.includes(operation)).map((operation) => operation.iid);
    expect(Object.keys(calls).sort()).toEqual(called.sort());
  });

  // The keys of an object literal that is total over the operations.
  it.each(Object.keys(calls) as Called[])('calls %s', async (id) => {
    const sent: string[] = [];
    const fetch = (url: string, init: RequestInit) => {
      sent.push(`${init.method} ${new URL(url).pathname}`);
      return globalThis.fetch(url, init);
    };
    const client = createClient({ baseUrl, token: 'any', retries: 0, fetch });
    expect(await calls[id](client)).toMatchObject(answers[id]);

    const operation = contract.find((candidate) => candidate.iid === id);
    const ids: Record<string, string> = { applicationId: APP, sessionId: ID, credentialId: 'sid%3A9b7c2f' };
    const path = operation?.path.replace(/\{(\w+)\}/g, (_match, name: string) => ids[name] ?? '');
    expect(sent).toEqual([`${operation?.method.toUpperCase()} ${path}`]);
  });

  it('reads the problems of the contract', async () => {
    const client = createClient({ baseUrl, token: 'any', retries: 0, headers: { Prefer: 'code=409' } });
    await expect(client.sessions.revokeAll(APP, { maxCount: 500 })).rejects.toMatchObject({
      status: 409,
      code: 'revocation-too-large',
      message: '409 revocation-too-large: More than 500 sessions match; nothing was revoked.',
      requestId: '5f0c1c3e-6a55-4c5e-9d64-0f3d2a4f8a10',
    });
  });
});
