// The audit of every revoke, and the credentials that are refused because of one.
import { notFound } from '../problem.ts';
import type { Handlers } from '../operations.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { actorOf, found, tenantOf } from './input.ts';
import { iso } from '../iso.ts';
import type { Dependencies } from './index.ts';

export const revocationHandlers = ({ store }: Dependencies) => ({
  listRevocations: async ({ path, query, caller }) => {
    const list = ['revocations', path.applicationId];
    const page = found(await store.listRevocations(tenantOf(caller, path), { after: decodeCursor(query.cursor, list), limit: query.limit! })); // the validator filled in the default
    const items = page.items.map((revocation) => ({ ...revocation, createdAt: iso(revocation.createdAt) }));
    return { status: 200, body: { items, ...encodeCursor(page.next, list) } };
  },

  listRevokedCredentials: async ({ path, query, caller }) => {
    const list = ['revoked-credentials', path.applicationId];
    const page = found(await store.listRevokedCredentials(tenantOf(caller, path), { after: decodeCursor(query.cursor, list, /^[^\p{Cc}\p{Cs}]{1,255}$/u), limit: query.limit! })); // as above
    const items = page.items.map(({ credentialId, deniedUntil }) => ({ credentialId, deniedUntil: iso(deniedUntil) }));
    return { status: 200, body: { items, ...encodeCursor(page.next, list) } };
  },

  allowCredential: async ({ path, caller, requestId }) => {
    if (!found(await store.allowCredential(tenantOf(caller, path), path.credentialId, actorOf(caller, requestId)))) throw notFound();
    return { status: 200, body: { success: true } };
  },
}) satisfies Partial<Handlers>;
