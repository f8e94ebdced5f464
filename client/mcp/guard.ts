// A token verifier that refuses what a revoke has denied, for hosts that verify tokens elsewhere than in front of the adapter.
import type { McpRequest } from './http.ts';
import type { McpSessions } from './options.ts';

/** @param isDenied is asked with a request that carries nothing but the token and what the verifier made of it */
export function guardWith(isDenied: (request: McpRequest) => boolean): McpSessions['verifier'] {
  return (verifier, refuse) => ({
    async verifyAccessToken(token) {
      const auth = await verifier.verifyAccessToken(token);
      if (isDenied({ method: 'POST', headers: { authorization: `Bearer ${token}` }, auth })) throw refuse('Session revoked');
      return auth;
    },
  });
}
