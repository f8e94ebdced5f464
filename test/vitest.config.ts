// How `npm test` runs: the quick suites; `npm run test:long` adds the files named *.long.test.ts.
import { defineConfig } from 'vitest/config';

const LONG = ['test/**/*.long.test.ts'];
/** Long tests that measure time, or build what others read: they have the machine to themselves. */
const MEASURING = ['bench/guard', 'unit/checkpoint', 'e2e/console', 'e2e/console-actions', 'integration/embedded-faults', 'integration/store-stall', 'integration/streams-scale', 'integration/timing'].map((name) => `test/${name}.long.test.ts`);

// Two at once: most files wait for a network or a database.
const quick = { include: ['test/**/*.test.ts'], exclude: LONG, maxWorkers: 2 };
const long = { projects: [
  { extends: true as const, test: { name: 'measuring', include: MEASURING, maxWorkers: 1, sequence: { groupOrder: 0 } } },
  { extends: true as const, test: { name: 'waiting', include: LONG, exclude: MEASURING, maxWorkers: 2, sequence: { groupOrder: 1 } } },
] };

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    ...(process.env['LONG'] ? long : quick),
    globalSetup: 'test/support/setup.ts',
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // CI counts both runs together.
    ...(process.env['RESULTS'] && { reporters: ['default', ['json', { outputFile: process.env['RESULTS'] }]] }),
  },
});
