// Reads an event stream in a test: raw text and parsed events, waited for without polling the clock.
import { createParser } from 'eventsource-parser';

export interface ReceivedEvent { id: string | undefined; event: string; data: any } // the tests say what they expect of it

export interface TestStream {
  readonly response: Response;
  readonly events: ReceivedEvent[];
  /** Everything that came, as it came. */
  readonly text: string;
  /** The next event that was not taken yet. Rejects when the stream ends before there is one. */
  next(): Promise<ReceivedEvent>;
  /** Resolves when the stream has ended, with all that came. */
  ended: Promise<ReceivedEvent[]>;
  close(): void;
}

export async function openStream(url: string, token: string, headers: Record<string, string> = {}): Promise<TestStream> {
  const abort = new AbortController();
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}`, ...headers }, signal: abort.signal });
  const events: ReceivedEvent[] = [];
  let text = '', taken = 0, over = false;
  let wake = Promise.withResolvers<void>();
  const parser = createParser({ onEvent: ({ id, event, data }) => { if (event !== undefined) events.push({ id, event, data: JSON.parse(data) }); } }); // one without a name only tells the position
  const ended = (async () => {
    try {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>)) { // the two libraries of types disagree
        text += chunk;
        parser.feed(chunk);
        wake.resolve();
        wake = Promise.withResolvers();
      }
    } catch { /* cut, by us or by the server: the stream has ended */ }
    over = true;
    wake.resolve();
    return events;
  })();
  return {
    response, events, ended,
    get text() { return text; },
    async next() {
      while (events.length === taken) {
        if (over) throw new Error(`the stream ended after ${events.length} events:\n${text}`);
        await wake.promise;
      }
      return events[taken++]!;
    },
    close: () => abort.abort(),
  };
}
