// The seam between the adapter and the service: the five things the adapter asks of it, and the service as their source.
import { createClient } from '../index.ts';
import { subscribe } from '../events.ts';
import { ProblemError } from '../problem.ts';
import type { ClientOptions, Heartbeat, NewSession } from '../types.ts';

/** A session as the service keeps it. */
export interface Registered {
  sessionId: string;
  /** A revoke-all of this generation or a later one is about this session. */
  generation: number;
}

/** What somebody else did to sessions. */
export type RegistryEvent =
  | { type: 'ended'; sessionId: string; reason: string }
  | { type: 'revoked-all'; generation: number }
  /** Events may have been missed. */
  | { type: 'reset' };

export interface Registry {
  /** @throws when the service cannot be asked, or refuses for a reason other than the credential */
  create(session: NewSession): Promise<Registered | 'credential-revoked'>;
  /** Up to 1,000; answers those that are over, and why: `revoked`, `ended` or `unknown`. */
  beat(heartbeats: Heartbeat[]): Promise<{ sessionId: string; reason: string }[]>;
  end(sessionId: string): Promise<void>;
  /** Credentials to refuse, each until when, in ms since the epoch. */
  deniedCredentials(): AsyncIterable<{ credentialId: string; until: number }>;
  /** Runs until the signal cuts it or the service refuses for good. `onState` hears when events begin to come, and when they stop. */
  events(signal: AbortSignal, onState: (isOpen: boolean) => void): AsyncIterable<RegistryEvent>;
}

/** Where the service is, and as whom to speak to it. */
export interface ServiceOptions {
  /** Without `/api/v1`: `https://rollcall.example.com`. */
  baseUrl: string;
  /** With the scopes `sessions:read` and `sessions:write`; a function is asked again before every attempt. */
  token: string | (() => string | Promise<string>);
  /** The application the sessions belong to. */
  applicationId: string;
  /** Used instead of the global `fetch`. */
  fetch?: ClientOptions['fetch'];
}

/** Whoever waits for an answer is an MCP client, or the next report a few seconds later: no long patience, no retries. */
const PATIENCE = { timeoutMs: 5_000, retries: 0 };

export function serviceRegistry({ baseUrl, token, applicationId, fetch }: ServiceOptions): Registry {
  const client = createClient({ baseUrl, token, fetch, ...PATIENCE });
  return {
    async create(body) {
      try {
        const { session, generation } = await client.sessions.create(applicationId, body);
        return { sessionId: session.id, generation };
      } catch (error) {
        if (error instanceof ProblemError && error.code === 'credential-revoked') return 'credential-revoked';
        throw error;
      }
    },

    beat: async (heartbeats) => (await client.sessions.heartbeat(applicationId, heartbeats)).ended,

    end: async (sessionId) => void (await client.sessions.end(applicationId, sessionId, { retries: 2 })),

    async *deniedCredentials() {
      for await (const { credentialId, deniedUntil } of client.credentials.listRevoked(applicationId, { limit: 1_000 })) {
        yield { credentialId, until: Date.parse(deniedUntil) };
      }
    },

    async *events(signal, onState) {
      const stream = subscribe({ baseUrl, token, applicationId, fetch, signal, onState: ({ state }) => onState(state === 'open') });
      for await (const event of stream) {
        if (event.type === 'session.disconnected') yield { type: 'ended', sessionId: event.sessionId, reason: event.reason };
        else if (event.type === 'sessions.revoked') yield { type: 'revoked-all', generation: event.generation };
        else if (event.type === 'reset') yield { type: 'reset' };
      }
    },
  };
}
