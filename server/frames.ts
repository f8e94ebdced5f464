// The frames of text/event-stream (WHATWG HTML, server-sent events).

export interface Frame { id?: string; event: string; data: unknown; retryMs?: number }

/** JSON has no line breaks of its own, so one `data:` line is enough, whatever is in it. */
export const frame = ({ id, event, data, retryMs }: Frame): string =>
  `${retryMs === undefined ? '' : `retry: ${retryMs}\n`}${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/**
 * Says where the reader is, and is no event: by the standard, an empty `data:` changes nothing. It is there because
 * widespread parsers overlook an id that comes alone.
 */
export const positionFrame = (id: string): string => `id: ${id}\ndata:\n\n`;

/** A moment to come back, spread so that not everybody comes at once; ms. */
export const jitteredRetry = (from = 1_000, to = 5_000): number => Math.round(from + Math.random() * (to - from));
