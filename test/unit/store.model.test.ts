// Some histories, always the same, so that a failure is of the change at hand.
import { storeModelSuite } from '../suites/store-model.ts';

storeModelSuite({ seed: 20_261_123, runs: 60, timeoutMs: 120_000 });
