// A server that answers as scripted, and a client of it whose waits are written down instead of waited.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { type Client, createClientWith } from '../../client/client.ts';
import type { Timing } from '../../client/request.ts';
import type { ClientOptions } from '../../client/types.ts';

export const APP = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
export const ID = '0199a1b2-c3d4-7e5f-8a6b-9c0d1e2f3a4b';
export const SESSION = { session: { id: ID, name: 'Claude Code on build-07' } };

export interface Received {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

export interface Peer {
  url: string;
  received: Received[];
}

/** Answers the first request with the first answer, and so on; one request too many is a 418. */
export async function peer(...script: Answer[]): Promise<Peer> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const answer = script[received.length] ?? text418;
    const { method = '', url = '', headers } = request;
    const entry = { method, url, headers, body: '' };
    received.push(entry);
    entry.body = await text(request);
    answer(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  // A server that listens on a port has an address of this form.
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received };
}

/** A client of the peer, and the milliseconds it wanted to wait; chance is always one half. */
export function clientOf(
  { url }: Pick<Peer, 'url'>,
  options: Partial<ClientOptions> = {},
  timing: Partial<Timing> = {},
): { client: Client; waits: number[] } {
  const waits: number[] = [];
  const sleep = async (ms: number) => void waits.push(ms);
  const client = createClientWith({ baseUrl: url, token: 'secret', ...options }, { random: () => 0.5, sleep, ...timing });
  return { client, waits };
}

export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

export const page =
  (status: number, body: string, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/html', ...headers }).end(body);

export const problem = (status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Answer =>
  json(
    status,
    { type: `/docs/errors#${code}`, title: 'It was refused.', status, requestId: 'req-1', ...more },
    { 'content-type': 'application/problem+json', ...headers },
  );

export const unavailable = problem(503, 'store-unavailable');
export const ok = json(200, SESSION);

/** The connection breaks before there is an answer. */
export const breaks: Answer = (response) => void response.socket?.destroy();

/** There is never an answer. */
export const hangs: Answer = () => {};

/** Half an answer, and no more of it. */
export const stalls: Answer = (response) =>
  void response.writeHead(200, { 'content-type': 'application/json' }).write('{"session":');

/** Half an answer, then the connection breaks. */
export const breaksOff: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write('{"session":', () => response.socket?.destroy());
};

const text418: Answer = page(418, 'No answer was scripted for this request.');
