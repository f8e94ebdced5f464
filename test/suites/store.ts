// The store's conformance suite: every database answers it, so it knows of none.
import { describe } from 'vitest';
import { beating } from './store/heartbeats.ts';
import { connecting } from './store/connect.ts';
import { listing } from './store/lists.ts';
import { denying } from './store/credentials.ts';
import { forgetting } from './store/retention.ts';
import { revoking } from './store/revokes.ts';
import type { Open } from './store/bed.ts';

export { times, type Open, type Opened } from './store/bed.ts';

export function storeSuite(name: string, open: Open): void {
  describe(name, () => {
    connecting(open);
    beating(open);
    listing(open);
    revoking(open);
    denying(open);
    forgetting(open);
  });
}
