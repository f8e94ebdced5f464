// Work that Node would do again for every request, done once.
import { parse } from 'node:url';

/**
 * The validator calls `url.parse`. Until Node has warned of that once, each call walks the stack to see whether it should; the one warning is
 * nobody's to act on.
 */
export function warm(): void {
  const before = process.noDeprecation ?? false;
  process.noDeprecation = true;
  parse('http://localhost');
  process.noDeprecation = before;
}
