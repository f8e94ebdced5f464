// CORS of the mock and the sandbox: whoever asks may, there is nothing to protect on this machine.
import type { IncomingMessage, ServerResponse } from 'node:http';

/** @param readable names of headers that pages may read, separated by commas */
export function allowBrowsers({ headers }: IncomingMessage, res: ServerResponse, readable?: string): void {
  res.setHeader('Access-Control-Allow-Origin', headers.origin ?? '*');
  res.setHeader('Access-Control-Allow-Credentials', 'true');
  res.setHeader('Access-Control-Allow-Methods', headers['access-control-request-method'] ?? '*');
  res.setHeader('Access-Control-Allow-Headers', headers['access-control-request-headers'] ?? '*');
  if (readable !== undefined) res.setHeader('Access-Control-Expose-Headers', readable);
  res.setHeader('Vary', 'Origin');
}
