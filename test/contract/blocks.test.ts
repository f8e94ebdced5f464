// Every block of code in the documents is run by a test, or has a reason why not: a new one cannot slip in.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, DOCUMENTS } from '../support/blocks.ts';

const ROOT = new URL('../..', import.meta.url).pathname;

/** How it begins, and the test that runs it, or `not:` and the reason. */
type Row = [begins: string, how: string];
const START = 'test/e2e/readme.long.test.ts', SAMPLES = 'test/e2e/samples.test.ts', CLIENT = 'test/integration/client-readme.test.ts', RUN = 'test/e2e/blocks.test.ts';
const ELSEWHERE = 'test/contract/client-elsewhere.long.test.ts', OPERATING = 'test/integration/operating.test.ts', EXAMPLES = 'test/integration/mcp/examples.test.ts';
const rows: Record<string, Row[]> = {
  'README.md': [['npm ci && npm start', START], ['Revoking ada', 'test/e2e/demo.test.ts'], ['npm ci && npm test', 'test/contract/readme.test.ts']],
  'client/README.md': [
    ['npm pack --workspace client', ELSEWHERE],
    ["import { createClient }", CLIENT], ['const first', CLIENT], ['const { matchedCount }', CLIENT], ['import { subscribe }', CLIENT], ['import { watchSession }', CLIENT],
    ['import { connect }', CLIENT], ['import { createClient }', CLIENT], ['try {', CLIENT], ['const sessions', CLIENT],
  ],
  'docs/backup.md': [['npm run backup', RUN], ['npm run restore', RUN], ['pg_dump', 'test/integration/postgres-backup.test.ts']],
  'docs/console.md': [['npm run -s token', RUN]],
  'docs/frontend.md': [['curl -X PUT', RUN], ['npm run walk', 'test/e2e/walk.test.ts']],
  'docs/index.md': [['npm ci && npm start', START]],
  'docs/mcp.md': [
    ['npm pack --workspace client', ELSEWHERE], ['import { requireBearerAuth }', EXAMPLES], ['import { randomUUID }', EXAMPLES], ['npm install tsx', 'not: it installs the SDKs, which are here already; the servers themselves are run'], ['curl', EXAMPLES], ['const client = createClient', RUN],
    ['import assert', EXAMPLES], ['export ROLLCALL_URL', 'test/integration/mcp/conformance.test.ts'],
  ],
  'docs/operating.md': [
    ['export ROLLCALL_URL', OPERATING], ['api GET session-counts', OPERATING], ['api DELETE "sessions?dryRun', OPERATING], ['api DELETE "sessions/', OPERATING],
    ['api GET "sessions?', OPERATING], ['api GET revoked-credentials', OPERATING],
    ['docker build', 'not: it needs a container engine and a cluster; container.long.test.ts does what the container file says, deploy.test.ts holds the others to the program'],
    ['node --import', RUN],
  ],
  'docs/paging.md': [['curl', RUN], ['{ "items"', RUN], ['for await', RUN]],
  'docs/start.md': [
    ['npm ci && npm start', START], ['export ROLLCALL_URL', SAMPLES], ['curl', SAMPLES], ['export ROLLCALL_SESSION', SAMPLES], ['curl', SAMPLES], ['curl -N', SAMPLES],
    ['curl -X DELETE', SAMPLES], ['curl', SAMPLES], ['curl', SAMPLES], ['npm pack --workspace client', ELSEWHERE],
  ],
  'docs/versioning.md': [['npm run contract:diff', 'test/contract/contract-diff.test.ts']],
};

describe.each(DOCUMENTS)('%s', (document) => {
  it('has no block that is neither run nor excused', () => {
    const expected = rows[document] ?? [], blocks = blocksOf(document);
    expect(blocks.map((block, index) => block.slice(0, expected[index]?.[0].length ?? 40))).toEqual(expected.map(([begins]) => begins));
  });

  it('is read by the tests that are said to run its blocks', () => {
    for (const [, test] of (rows[document] ?? []).filter(([, how]) => !how.startsWith('not: '))) {
      expect(existsSync(join(ROOT, test)), test).toBe(true);
      expect(readFileSync(join(ROOT, test), 'utf8'), test).toContain(document);
    }
  });
});
