// What a request's headers say that Node's own table of them hides.

/** How often a header was sent. `headersDistinct` knows too, for the price of a second table of all headers. */
export function timesSent(rawHeaders: readonly string[], name: string): number {
  let times = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const sent = rawHeaders[at]!; // names and values in turn
    if (sent.length === name.length && sent.toLowerCase() === name) times++;
  }
  return times;
}
