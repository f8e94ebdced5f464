// A request as bytes on a socket, for what fetch would normalise or refuse to send.
import { connect } from 'node:net';

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
