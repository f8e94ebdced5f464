// A JWKS endpoint that fails in every way a test asks for, and counts who came.
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

type Answer = (response: ServerResponse, server: KeyServer) => void;

const json = (response: ServerResponse, value: unknown) => { response.setHeader('Content-Type', 'application/json').end(JSON.stringify(value)); };
const padded = (server: KeyServer, bytes: number) => JSON.stringify({ keys: server.keys }) + ' '.repeat(bytes); // valid JSON, were it read to its end

/** How the endpoint may answer. */
export const answers = {
  keys: (response, server) => json(response, { keys: server.keys }),
  hang: () => {},
  'headers only': (response) => { response.flushHeaders(); },
  reset: (response) => { response.socket?.destroy(); },
  error: (response) => { response.writeHead(500).end('{"keys":[]}'); },
  HTML: (response) => { response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Sign in</title>'); },
  'no keys': (response) => json(response, { error: 'later' }),
  null: (response) => json(response, null),
  redirect: (response, server) => { response.writeHead(302, { Location: `${server.url}/elsewhere` }).end(); },
  '50 MB': (response, server) => {
    const text = Buffer.from(padded(server, 50 * 1024 * 1024));
    const send = (from: number): void => {
      server.sent = from;
      if (from >= text.length || response.destroyed) return void response.end();
      response.write(text.subarray(from, from + 65_536), () => { send(from + 65_536); });
    };
    send(0);
  },
  'gzip bomb': (response, server) => { response.setHeader('Content-Encoding', 'gzip').end(gzipSync(padded(server, 20 * 1024 * 1024))); },
} satisfies Record<string, Answer>;

export interface KeyServer {
  /** Its keys are at `url/keys`. */
  url: string;
  keys: JWK[];
  answer: keyof typeof answers;
  /** What its discovery document says; undefined makes it a 404. */
  discovery: object | undefined;
  /** Paths asked for, in order. */
  hits: string[];
  /** Bytes written by the last `50 MB`. */
  sent: number;
  stop(): Promise<void>;
  /** Again on the same port. */
  start(): Promise<void>;
}

export async function startKeyServer(): Promise<KeyServer> {
  const server = createServer((request, response) => {
    keyServer.hits.push(request.url ?? '');
    if (request.url === '/keys') return answers[keyServer.answer](response, keyServer);
    if (request.url === '/elsewhere') return answers.keys(response, keyServer);
    if (request.url?.endsWith('/.well-known/openid-configuration') && keyServer.discovery) return json(response, keyServer.discovery);
    response.writeHead(404).end();
  });
  const listen = async (port: number) => { await once(server.listen(port, '127.0.0.1'), 'listening'); };
  await listen(0);
  const { port } = server.address() as AddressInfo; // a TCP server has one
  const keyServer: KeyServer = {
    url: `http://127.0.0.1:${port}`, keys: [], answer: 'keys', discovery: undefined, hits: [], sent: 0,
    async stop() {
      if (!server.listening) return;
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    },
    start: () => listen(port),
  };
  return keyServer;
}

export interface KeyPair { publicJwk: JWK; sign(claims: Record<string, unknown>): Promise<string> }

export async function makeKey(kid: string | undefined, alg = 'ES256'): Promise<KeyPair> {
  const { publicKey, privateKey }: { publicKey: CryptoKey; privateKey: CryptoKey } = await generateKeyPair(alg, { extractable: true });
  return {
    publicJwk: { ...await exportJWK(publicKey), kid, alg, use: 'sig' },
    sign: (claims) => new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(privateKey),
  };
}
