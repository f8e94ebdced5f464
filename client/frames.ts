// From the bytes of one answer to the frames of an event stream (WHATWG HTML, server-sent events).
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { ConnectionError } from './problem.ts';
import type { Timing } from './request.ts';

/** Characters that one event may have. The largest the server sends is a small part of it. */
const MOST_BUFFERED = 2 ** 20;
/** Why a timer was taken back: a mere value, since it is thrown away, and an Error for every chunk would cost. */
const ARRIVED = 'arrived';

/** What may happen on a stream besides frames. */
export interface FrameOptions {
  /** Milliseconds without a byte after which the stream counts as dead. */
  silenceMs: number;
  /** Closes the stream, also while nobody reads. */
  signal: AbortSignal;
  /** The server says how many milliseconds to wait before coming back. */
  onRetry(ms: number): void;
}

/**
 * The frames of one body, read no faster than they are asked for; the body is let go of in any case.
 * @throws ConnectionError when it breaks off, falls silent, or has an event without an end; the signal's reason, when it is aborted
 */
export async function* readFrames(
  body: ReadableStream<Uint8Array>,
  { silenceMs, signal, onRetry }: FrameOptions,
  timing: Timing,
): AsyncGenerator<EventSourceMessage, undefined, undefined> {
  const reader = body.getReader();
  // Not waited for: of a connection that is to be closed, nothing is of interest any more.
  const close = () => void reader.cancel().catch(() => {});
  signal.addEventListener('abort', close, { once: true });
  // Decoding takes a byte order mark away, and keeps a character whose bytes come apart.
  const decoder = new TextDecoder();
  let frames: EventSourceMessage[] = [];
  let isTooLarge = false;
  const parser = createParser({
    maxBufferSize: MOST_BUFFERED,
    onEvent: (frame) => void frames.push(frame),
    onRetry,
    onError: ({ type }) => (isTooLarge ||= type === 'max-buffer-size-exceeded'),
  });
  try {
    signal.throwIfAborted();
    for (;;) {
      const chunk = await readWithin(reader, silenceMs, timing);
      signal.throwIfAborted();
      if (!chunk) return;
      parser.feed(decoder.decode(chunk, { stream: true }));
      for (const frame of frames) {
        yield frame;
        signal.throwIfAborted();
      }
      frames = [];
      if (isTooLarge) throw new ConnectionError(`The stream has an event of more than ${MOST_BUFFERED} characters.`);
    }
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
}

/** The next chunk, or undefined at the end. */
async function readWithin(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  silenceMs: number,
  timing: Timing,
): Promise<Uint8Array | undefined> {
  const arrived = new AbortController();
  const silence = timing.sleep(silenceMs, arrived.signal).catch(() => {});
  try {
    const chunk = await Promise.race([reader.read(), silence]);
    if (!chunk) throw new ConnectionError(`The stream was silent for ${silenceMs} ms.`);
    return chunk.value;
  } catch (error) {
    if (error instanceof ConnectionError) throw error;
    throw new ConnectionError('The stream broke off.', { cause: error });
  } finally {
    arrived.abort(ARRIVED);
  }
}
