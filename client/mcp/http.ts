// The parts of Express's requests and responses the adapter uses, by structure, so that it imports neither Express nor an MCP SDK.

/** What bearer authentication leaves on a request: the `AuthInfo` of both lines of the official SDK. */
export interface McpAuth {
  token: string;
  clientId: string;
  scopes: string[];
  /** Seconds since the epoch. */
  expiresAt?: number | undefined;
  /** Claims the verifier chose to keep, such as `sub` and `sid`. */
  extra?: Record<string, unknown> | undefined;
  /** Stamped by `requireBearerAuth` of SDK v2. */
  resourceMetadataUrl?: string | undefined;
}

/** A request as `express.json()` and bearer authentication leave it. */
export interface McpRequest {
  method: string;
  headers: Record<string, string | string[] | undefined>;
  body?: unknown;
  ip?: string | undefined;
  auth?: McpAuth | undefined;
}

/** Node's `ServerResponse`, as far as the adapter looks at it. */
export interface McpResponse {
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  readonly destroyed: boolean;
  // `never` accepts Node's overloads; the adapter only hands on what it was given.
  writeHead(status: number, ...rest: never[]): unknown;
  write(chunk: string): unknown;
  end(chunk?: string): unknown;
  setHeader(name: string, value: string | number): unknown;
  getHeader(name: string): unknown;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

export type Next = (error?: unknown) => void;

/** A header that is sent once; undefined when it is absent or empty. */
export function headerOf(request: McpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return (Array.isArray(value) ? value[0] : value) || undefined;
}

/** Whether there is a JSON body to parse; anything else is for the MCP handler to refuse. */
export function hasJsonBody({ headers }: McpRequest): boolean {
  const isSent = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  return isSent && /json/i.test(String(headers['content-type']));
}
