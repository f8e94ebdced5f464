// An MCP client of either era, reduced to what can be seen of being cut: it connects, listens, calls, says goodbye, or just dies.

export type Era = '2025-11-25' | '2026-07-28';

export interface Target {
  url: string;
  /** What the client authenticates with. */
  token: string;
  fetch: typeof globalThis.fetch;
}

/** A response that stays open. */
export interface Open {
  /** All that came, once it is over; undefined when the connection broke instead. */
  readonly over: Promise<string | undefined>;
}

export interface Peer {
  readonly era: Era;
  /** Its `clientInfo.name`. */
  readonly name: string;
  /** Opens the connection; what was answered. */
  connect(): Promise<Response>;
  /** A request that changes nothing. */
  ask(): Promise<Response>;
  /** The stream for what the server has to say; undefined when it has none. */
  listen(): Promise<Open | undefined>;
  call(tool: string): Promise<Open>;
  /** Says goodbye, as far as the era and the server know one. */
  leave(): Promise<boolean>;
  /** Is gone without a word. */
  die(): void;
}

const META = 'io.modelcontextprotocol/';

export function createPeer({ url, token, fetch }: Target, era: Era, name: string): Peer {
  const clientInfo = { name, version: '1.0.0' };
  const isModern = era === '2026-07-28';
  const life = new AbortController();
  let sessionId: string | undefined;
  let id = 0;

  function send(method: string, init: RequestInit = {}, headers: Record<string, string> = {}): Promise<Response> {
    const session: Record<string, string> = sessionId === undefined ? {} : { 'Mcp-Session-Id': sessionId };
    const common = { Authorization: `Bearer ${token}`, Accept: 'application/json, text/event-stream', 'Mcp-Protocol-Version': era };
    return fetch(url, { ...init, method, headers: { ...common, ...session, ...headers }, signal: life.signal, redirect: 'error' });
  }

  function post(method: string, params: Record<string, unknown> = {}, isNotification = false): Promise<Response> {
    const _meta = { [`${META}protocolVersion`]: era, [`${META}clientInfo`]: clientInfo, [`${META}clientCapabilities`]: {} };
    const message = { jsonrpc: '2.0', ...(!isNotification && { id: (id += 1) }), method, params: isModern ? { ...params, _meta } : params };
    const modern = { 'Mcp-Method': method, ...(typeof params['name'] === 'string' && { 'Mcp-Name': params['name'] }) };
    return send('POST', { body: JSON.stringify(message) }, { 'Content-Type': 'application/json', ...(isModern && modern) });
  }

  async function settled(response: Response): Promise<Response> {
    return new Response(await response.text(), response);
  }

  return {
    era,
    name,

    async connect() {
      if (isModern) return settled(await post('tools/list'));
      sessionId = undefined;
      const response = await settled(await post('initialize', { protocolVersion: era, capabilities: {}, clientInfo }));
      if (!response.ok) return response;
      sessionId = response.headers.get('mcp-session-id') ?? undefined;
      await settled(await post('notifications/initialized', {}, true));
      return response;
    },

    ask: async () => settled(await post('tools/list')),

    async listen() {
      const response = await (isModern ? post('subscriptions/listen', { notifications: { toolsListChanged: true } }) : send('GET', {}, { Accept: 'text/event-stream' }));
      if (response.ok && /^text\/event-stream/i.test(response.headers.get('content-type') ?? '')) return open(response);
      await response.body?.cancel();
      return undefined;
    },

    call: async (tool) => open(await post('tools/call', { name: tool, arguments: {} })),

    async leave() {
      if (isModern || sessionId === undefined) return false;
      return (await settled(await send('DELETE'))).ok;
    },

    die: () => life.abort(),
  };
}

function open(response: Response): Open {
  return { over: response.text().catch(() => undefined) };
}
