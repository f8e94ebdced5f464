// A real OpenID Connect issuer on loopback whose clients get JWT access tokens by the client credentials grant.
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

export interface Issuer {
  /** Its URL, which is AUTH_ISSUER. */
  url: string;
  /** An access token for one of the clients, with these scopes. */
  accessToken(client: string, scopes: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

const RESOURCE = 'https://rollcall.example/';
const SECRET = 'a secret of the tests';
const SCOPES = ['sessions:read', 'sessions:write', 'sessions:connect', 'sessions:revoke', 'applications:read', 'applications:write'];

/** @param clients by id: the claims their tokens carry besides the usual ones, such as `org_id`. */
export async function startIssuer(clients: Record<string, Record<string, unknown>>, { audience = 'rollcall', algorithm = 'ES256', ttlSeconds = 600 } = {}): Promise<Issuer> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // a TCP server has one
  const provider = new Provider(url, {
    jwks: { keys: [{ ...await exportJWK(privateKey), kid: 'issuer-1', alg: algorithm, use: 'sig' }] },
    cookies: { keys: ['of no use here'] },
    clients: Object.keys(clients).map((client_id) => ({
      client_id, client_secret: SECRET, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], id_token_signed_response_alg: algorithm,
    })),
    ttl: { ClientCredentials: ttlSeconds },
    extraTokenClaims: (_: unknown, token: { clientId: string }) => clients[token.clientId],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        getResourceServerInfo: () => ({ scope: SCOPES.join(' '), audience, accessTokenFormat: 'jwt', accessTokenTTL: ttlSeconds, jwt: { sign: { alg: algorithm } } }),
      },
    },
  });
  server.on('request', provider.callback());
  return {
    url,
    async accessToken(client, scopes) {
      const response = await fetch(`${url}/token`, {
        method: 'POST',
        headers: { Authorization: `Basic ${Buffer.from(`${encodeURIComponent(client)}:${encodeURIComponent(SECRET)}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', scope: scopes.join(' '), resource: RESOURCE }),
      });
      const body = await response.json() as { access_token?: string }; // RFC 6749, section 5.1, or an error
      if (body.access_token === undefined) throw new Error(`no token: ${JSON.stringify(body)}`);
      return body.access_token;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}
