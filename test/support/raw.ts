// A request as bytes on a socket, for what fetch would normalise or refuse to send.
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

export interface RawRequest {
  method?: string;
  /** The request target, exactly as it goes on the wire. */
  target: string;
  /** In this order; a name may repeat. */
  headers?: readonly (readonly [name: string, value: string])[];
  body?: string | Uint8Array;
}

export interface RawAnswer {
  status: number;
  /** Names in lower case; repeated ones joined with a comma. */
  headers: Record<string, string>;
  text: string;
  body: any; // the tests say what they expect of it
}

/** Sends one request and reads until the server closes. */
export async function raw(url: string, { method = 'GET', target, headers = [], body }: RawRequest): Promise<RawAnswer> {
  const { host, hostname, port } = new URL(url);
  const length: [string, string][] = body === undefined || headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name)) ? [] : [['Content-Length', String(Buffer.byteLength(body))]];
  const head = [['Host', host], ['Connection', 'close'], ...length, ...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`${method} ${target} HTTP/1.1\r\n${head}\r\n`, 'latin1');
      if (body !== undefined) socket.write(body);
    });
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('close', () => resolve());
    // The server may answer and close while we still write; what it said counts then.
    socket.on('error', (error) => chunks.length > 0 ? resolve() : reject(error));
  });
  return parse(Buffer.concat(chunks));
}

export interface Exchange { readonly answers: RawAnswer[]; readonly text: string; readonly ms: number; /** The connection was reset. */ readonly reset: boolean }

/** Sends exactly these bytes, each piece after a pause, and reads until the server closes. */
export async function exchange(url: string, pieces: string | readonly string[], { pauseMs = 0, halfClose = false }: { pauseMs?: number; halfClose?: boolean } = {}): Promise<Exchange> {
  const { hostname, port } = new URL(url), chunks: Buffer[] = [], started = performance.now();
  let reset = false;
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), hostname, async () => {
      for (const piece of [pieces].flat()) {
        if (!socket.writable) break;
        socket.write(piece, 'latin1');
        if (pauseMs) await wait(pauseMs);
      }
      if (halfClose) socket.end();
    });
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('close', () => resolve());
    socket.on('error', ({ code }: NodeJS.ErrnoException) => { reset ||= code === 'ECONNRESET'; });
  });
  const answers: RawAnswer[] = [];
  for (let rest = Buffer.concat(chunks); rest.length > 0;) {
    const head = rest.indexOf('\r\n\r\n') + 4;
    const length = Number(/^content-length: *(\d+)/im.exec(rest.subarray(0, head).toString('latin1'))?.[1] ?? rest.length);
    const isInterim = /^HTTP\/1.1 1/.test(rest.toString('latin1', 0, 12)); // `100 Continue`, before the answer
    if (!isInterim) answers.push(parse(rest.subarray(0, head + length)));
    rest = rest.subarray(isInterim ? head : head + length);
  }
  return { answers, text: Buffer.concat(chunks).toString('latin1'), ms: performance.now() - started, reset };
}

function parse(answer: Buffer): RawAnswer {
  const end = answer.indexOf('\r\n\r\n');
  const [first = '', ...lines] = answer.subarray(0, end).toString('latin1').split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name = '', value = ''] = /^([^:]+):\s*(.*)$/.exec(line) ?? [];
    headers[name.toLowerCase()] = headers[name.toLowerCase()] === undefined ? value : `${headers[name.toLowerCase()]}, ${value}`;
  }
  if (/^HTTP\/1.1 1/.test(first)) return parse(answer.subarray(end + 4)); // `100 Continue`, before the answer
  const text = answer.subarray(end + 4).toString();
  return { status: Number(first.split(' ')[1]), headers, text, body: /json/.test(headers['content-type'] ?? '') && text ? JSON.parse(text) : undefined };
}
