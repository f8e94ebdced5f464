// One request and its open response: what its head says, and how to end it from outside while a handler still works on it.
import type { McpRequest, McpResponse } from './http.ts';
import type { RequestId } from './message.ts';
import { type Refusal, rpcError, send } from './refusal.ts';

/** The head of a response, seen as it is written. */
export interface Head {
  readonly status: number;
  header(name: string): string | undefined;
}

/** A response that is being worked on. */
export interface Exchange {
  /** It is a stream that stays, and the server has accepted it. */
  readonly isStream: boolean;
  /** Settles the calls that wait for it, as far as its form still allows, and ends it; the handler's own answer goes nowhere. */
  cut(refusal: Refusal): void;
  /** Ends a stream in good order. */
  end(): void;
}

export interface ExchangeOptions {
  /** A GET or `subscriptions/listen`. */
  readonly listens: boolean;
  readonly ids: readonly RequestId[];
  onHead?(head: Head): void;
  onClose(exchange: Exchange): void;
}

export function openExchange(response: McpResponse, { listens, ids, onHead, onClose }: ExchangeOptions): Exchange {
  let head: Head | undefined;
  const isEventStream = () => /^text\/event-stream/i.test(head?.header('content-type') ?? '');
  const { writeHead } = response;
  response.writeHead = (status: number, ...rest: unknown[]) => {
    response.writeHead = writeHead;
    head = { status, header: (name) => text(inList(rest.at(-1), name) ?? response.getHeader(name)) };
    onHead?.(head);
    // Handed on as it came: the types only say that nobody looks at it here.
    return writeHead.call(response, status, ...(rest as never[]));
  };

  const exchange: Exchange = {
    get isStream() {
      return listens && head?.status === 200 && isEventStream();
    },

    cut(refusal) {
      if (response.writableEnded || response.destroyed) return;
      if (!response.headersSent) send(response, refusal, ids);
      else if (!isEventStream()) response.destroy();
      else {
        // Without an answer of its own, a call hangs until the client's time limit when its stream just ends.
        const errors = ids.map((id) => rpcError(refusal, id));
        for (const frame of errors.length > 0 ? errors : [goodbye(refusal)]) response.write(sse(frame));
        response.end();
      }
      silence(response);
    },

    end() {
      if (response.writableEnded || response.destroyed) return;
      response.end();
      silence(response);
    },
  };
  response.once('close', () => onClose(exchange));
  return exchange;
}

/** Cuts them all, and forgets them: one that cannot be written to must not save the others. */
export function cutAll(exchanges: Map<Exchange, McpRequest>, refusalOf: (request: McpRequest) => Refusal, onError: (error: unknown) => void): void {
  for (const [exchange, request] of exchanges) {
    try {
      exchange.cut(refusalOf(request));
    } catch (error) {
      onError(error);
    }
  }
  exchanges.clear();
}

/** The best an idle stream can carry: clients that show log messages show it. */
function goodbye({ message, reason }: Refusal): object {
  const params = { level: 'alert', logger: 'session', data: { reason, message } };
  return { jsonrpc: '2.0', method: 'notifications/message', params };
}

function sse(message: object): string {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}

/**
 * Makes the response deaf. The SDK's handler may still answer, and `writeHead` on a response that is over throws: unhandled,
 * that ends the process. Callbacks are called, so that nobody waits for a write that never happens.
 */
function silence(response: McpResponse): void {
  const ignore = (result: unknown) => (...args: unknown[]) => {
    const callback = args.at(-1);
    if (typeof callback === 'function') queueMicrotask(() => callback());
    return result;
  };
  const unheard = { writeHead: ignore(response), end: ignore(response), setHeader: ignore(response), write: ignore(true) };
  Object.assign(response, unheard, { appendHeader: ignore(response), removeHeader: ignore(undefined), flushHeaders: ignore(undefined) });
}

/** A header in the last argument of `writeHead`: an object, or a flat list of names and values. */
function inList(headers: unknown, name: string): unknown {
  if (Array.isArray(headers)) {
    const pairs = Array.isArray(headers[0]) ? headers.flat() : headers;
    const at = pairs.findIndex((value, index) => index % 2 === 0 && String(value).toLowerCase() === name);
    return at < 0 ? undefined : pairs[at + 1];
  }
  if (typeof headers !== 'object' || headers === null) return undefined;
  return Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
}

function text(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : String(value);
}
