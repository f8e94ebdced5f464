// From single pages to everything: an async iterable that asks for the next page when it needs it.
import { RollcallError } from './problem.ts';
import type { Page } from './types.ts';

/** Every item of a list. Each loop over it starts again at the newest; leaving a loop early asks for no more pages. */
export function everyItem<Item>(page: (cursor: string | undefined) => Promise<Page<Item>>): AsyncIterable<Item> {
  return {
    async *[Symbol.asyncIterator]() {
      let cursor: string | undefined;
      do {
        const { items, nextCursor } = await page(cursor);
        yield* items;
        if (nextCursor !== undefined && nextCursor === cursor) {
          // A mock that answers every page alike would otherwise be walked for ever.
          throw new RollcallError('The list does not advance: a page names its own cursor as the next one.');
        }
        cursor = nextCursor;
      } while (cursor !== undefined);
    },
  };
}
