// How `npm test` runs: the quick suites; `npm run test:long` adds the files named *.long.test.ts.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: process.env['LONG'] ? ['test/**/*.long.test.ts'] : ['test/**/*.test.ts'],
    exclude: process.env['LONG'] ? [] : ['test/**/*.long.test.ts'],
    globalSetup: 'test/support/setup.ts',
    // Two at once: most files wait for a network or a database. The long ones measure time, and have the machine to themselves.
    maxWorkers: process.env['LONG'] ? 1 : 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // CI counts both runs together.
    ...(process.env['RESULTS'] && { reporters: ['default', ['json', { outputFile: process.env['RESULTS'] }]] }),
  },
});
