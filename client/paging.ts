// From single pages to everything: an async iterable that asks for the next page when it needs it.
import { RollcallError } from './problem.ts';
import type { Page, PageOptions } from './types.ts';

/** Every item of a list. Each loop over it starts again at the newest; leaving a loop early asks for no more pages. */
export function everyItem<Item, Options extends PageOptions>(
  options: Options | undefined,
  page: (options: Options | undefined) => Promise<Page<Item>>,
): AsyncIterable<Item> {
  return {
    async *[Symbol.asyncIterator]() {
      let next = options;
      for (;;) {
        const { items, nextCursor } = await page(next);
        yield* items;
        if (nextCursor === undefined) return;
        if (nextCursor === next?.cursor) {
          // A mock that answers every page alike would otherwise be walked for ever.
          throw new RollcallError('The list does not advance: nextCursor is the cursor of this page.');
        }
        // Options lacks nothing but a cursor, which the constraint says it may have.
        next = { ...options, cursor: nextCursor } as Options;
      }
    },
  };
}
