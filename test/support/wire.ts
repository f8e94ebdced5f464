// Many requests over few connections, with headers as they are given: what `fetch` would tidy up goes out as it is.
import { Agent, request } from 'node:http';
import type { RawAnswer, RawRequest } from './raw.ts';

export interface Wire {
  /** Answers when the answer is whole; a stream is left as soon as it has begun. */
  send(request: RawRequest): Promise<RawAnswer>;
  close(): void;
}

export function openWire(url: string, { connections = 16, timeoutMs = 30_000 } = {}): Wire {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: connections });

  const once = ({ method = 'GET', target, headers = [], body }: RawRequest) => new Promise<RawAnswer>((resolve, reject) => {
    const length = (body === undefined && method !== 'POST') || headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name)) ? [] : [['Content-Length', String(Buffer.byteLength(body ?? ''))]];
    const asked = request({ agent, hostname, port, method, path: target, headers: [['Host', `${hostname}:${port}`], ...length, ...headers].flat() as string[] }, (response) => {
      const heard: Record<string, string> = {};
      for (let index = 0; index < response.rawHeaders.length; index += 2) {
        const name = response.rawHeaders[index]!.toLowerCase(), value = response.rawHeaders[index + 1]!; // they come in pairs
        heard[name] = heard[name] === undefined ? value : `${heard[name]}, ${value}`;
      }
      const status = response.statusCode!; // an answer has one
      if (heard['content-type']?.startsWith('text/event-stream') && method !== 'HEAD') {
        resolve({ status, headers: heard, text: '', body: undefined });
        return void asked.destroy();
      }
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject).on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status, headers: heard, text, body: /json/.test(heard['content-type'] ?? '') && text ? JSON.parse(text) : undefined });
      });
    });
    asked.setTimeout(timeoutMs, () => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    asked.on('error', reject);
    asked.end(body);
  });

  return {
    async send(what) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await once(what);
        } catch (error) {
          // A kept connection that the server closed at the same moment: nothing was read of the request.
          if (attempt > 2 || !['ECONNRESET', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
        }
      }
    },
    close: () => agent.destroy(),
  };
}
