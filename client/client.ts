// The client put together: options and timing in, resources out.
import { type Applications, createApplications } from './applications.ts';
import type { Timing } from './request.ts';
import { createCredentials, createRevocations, type Credentials, type Revocations } from './revocations.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { createTransport } from './transport.ts';
import type { ClientOptions } from './types.ts';

/** A client of one Rollcall server. It holds no connection and needs no closing. */
export interface Client {
  /** See who is connected, report who is, cut them off. */
  readonly sessions: Sessions;
  /** What clients connect to. */
  readonly applications: Applications;
  /** The audit. */
  readonly revocations: Revocations;
  /** What clients authenticate with, where a revoke has denied it. */
  readonly credentials: Credentials;
}

export function createClientWith(options: ClientOptions, timing: Timing): Client {
  const transport = createTransport(options, timing);
  return {
    sessions: createSessions(transport),
    applications: createApplications(transport),
    revocations: createRevocations(transport),
    credentials: createCredentials(transport),
  };
}
