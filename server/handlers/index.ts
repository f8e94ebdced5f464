// All handlers: total over the contract, by type.
import type { EventHub } from '../events.ts';
import type { Handlers } from '../operations.ts';
import type { Store } from '../store/store.ts';
import { applicationHandlers } from './applications.ts';
import { connectionHandlers } from './connections.ts';
import { revocationHandlers } from './revocations.ts';
import { sessionHandlers } from './sessions.ts';
import { streamHandlers } from './streams.ts';

export interface Dependencies {
  readonly store: Store;
  /** ms without activity after which a connected session is idle */
  readonly idleAfter: number;
  readonly hub: EventHub;
  /** ms for which a disconnected session is kept */
  readonly retention: number;
  /** ms for which events are kept */
  readonly eventRetention: number;
}

export const createHandlers = (dependencies: Dependencies): Handlers => ({
  ...applicationHandlers(dependencies),
  ...connectionHandlers(dependencies),
  ...revocationHandlers(dependencies),
  ...sessionHandlers(dependencies),
  ...streamHandlers(dependencies),
});
