// What a backend, an adapter or a client reports: a connection opened, is still there, has ended.
import { Problem, invalid } from '../problem.ts';
import { displayName } from '../session.ts';
import type { Handlers } from '../operations.ts';
import { found, ownerOf, proofOf, refuseClaims, tenantOf, time } from './input.ts';
import { presentConnected, presentOne, presentSession } from './present.ts';
import type { Dependencies } from './index.ts';

const OF_THE_TOKEN = ['credentialId', 'credentialExpiresAt', 'tokenExpiresAt'];

const credentialOf = ({ credentialId, credentialExpiresAt }: { credentialId?: string; credentialExpiresAt?: string }) =>
  credentialId === undefined ? undefined : { id: credentialId, expiresAt: time(credentialExpiresAt) ?? null };

export const connectionHandlers = ({ store, idleAfter, retention }: Dependencies) => ({
  createSession: async ({ path, body = {}, caller }) => {
    const owner = ownerOf(caller);
    if (owner !== undefined) {
      refuseClaims([{ body, pointer: '/body' }], OF_THE_TOKEN);
      if (body.userId !== undefined && body.userId !== owner) throw invalid({ pointer: '/body/userId', detail: "must be the token's subject when the scope is sessions:connect" });
    }
    const own = proofOf(caller, retention);
    const connected = found(await store.connect(tenantOf(caller, path), {
      name: displayName({ ...body, clientInfo: body.clientInfo }),
      userId: body.userId ?? owner,
      externalId: body.externalId,
      hostname: body.hostname ?? null,
      userAgent: body.userAgent ?? null,
      clientInfo: body.clientInfo ?? null,
      credential: own.credential ?? credentialOf(body),
      tokenExpiresAt: own.tokenExpiresAt ?? time(body.tokenExpiresAt) ?? null,
      owner: owner ?? '',
    }));
    if (connected.outcome === 'credential-revoked') {
      throw new Problem('credential-revoked', { detail: 'The client has to authenticate again and connect with a new credential.' });
    }
    const { outcome, session, generation } = connected;
    const answer = presentConnected(presentSession(session, store.now(), idleAfter), generation);
    return outcome === 'found' ? { status: 200, body: answer }
      : { status: 201, body: answer, headers: { Location: `/api/v1/applications/${path.applicationId}/sessions/${session.id}` } };
  },

  recordHeartbeats: async ({ path, body: { heartbeats }, caller }) => {
    const owner = ownerOf(caller);
    if (owner !== undefined) refuseClaims(heartbeats.map((body, index) => ({ body, pointer: `/body/heartbeats/${index}` })), OF_THE_TOKEN);
    const own = proofOf(caller, retention);
    const result = found(await store.recordHeartbeats(tenantOf(caller, path), owner, heartbeats.map((beat) => ({
      sessionId: beat.sessionId,
      lastActiveAt: time(beat.lastActiveAt),
      tokenExpiresAt: own.tokenExpiresAt ?? time(beat.tokenExpiresAt),
      credential: own.credential ?? credentialOf(beat),
    }))));
    return { status: 200, body: result };
  },

  endSession: async ({ path, caller }) => {
    const session = found(await store.endSession(tenantOf(caller, path), ownerOf(caller), path.sessionId));
    return { status: 200, body: presentOne(presentSession(session, store.now(), idleAfter)) };
  },
}) satisfies Partial<Handlers>;
