#!/usr/bin/env node
// `rollcall-mcp-check`: the conformance check as a command, with a report to read and 0 or 1 at its end.
/// <reference types="node" />
import { parseArgs } from 'node:util';
import { type Check, checkMcpServer } from './conformance.ts';

const USAGE = `Checks whether a running MCP server cuts its clients when Rollcall says so.

  rollcall-mcp-check <MCP endpoint> [options]

  --rollcall <url>       where Rollcall is                                      ROLLCALL_URL
  --application <id>     the application the server reports to                  ROLLCALL_APPLICATION
                         a token with sessions:read, :write and :revoke         ROLLCALL_TOKEN
                         what an MCP client authenticates with, of a test user  MCP_TOKEN
  --tool <name>          a tool without arguments that takes long, to see a call cut
  --within <seconds>     how fast everything has to happen (3)
  --lease <seconds>      Rollcall's LEASE; 0 does not wait for a killed client to be lost (90)

Tokens come from the environment, which other users of the machine do not see.
`;
const MARKS = { passed: '✓', failed: '✗', skipped: '-' };

const print = ({ name, outcome, detail }: Check) => console.log(`${MARKS[outcome]} ${name.padEnd(50)} ${outcome === 'skipped' ? 'skipped: ' : ''}${detail}`);

function seconds(text: string): number {
  const number = Number(text);
  if (text === '' || !(number >= 0)) throw new Error(`${text} is no number of seconds.`);
  return number * 1_000;
}

async function main(): Promise<number> {
  const { ROLLCALL_URL = '', ROLLCALL_APPLICATION = '', ROLLCALL_TOKEN = '', MCP_TOKEN = '' } = process.env;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      rollcall: { type: 'string', default: ROLLCALL_URL },
      application: { type: 'string', default: ROLLCALL_APPLICATION },
      tool: { type: 'string' },
      within: { type: 'string', default: '3' },
      lease: { type: 'string', default: '90' },
    },
  });
  const { help, rollcall, application, tool, within, lease } = values;
  if (help) {
    console.log(USAGE);
    return 0;
  }
  const [url] = positionals;
  const needed = { 'the MCP endpoint': url, '--rollcall': rollcall, '--application': application, ROLLCALL_TOKEN, MCP_TOKEN };
  const missing = Object.entries(needed).filter(([, value]) => !value);
  if (!url || missing.length > 0) throw new Error(`Say ${missing.map(([name]) => name).join(', ')}.\n\n${USAGE}`);
  const { passed, checks } = await checkMcpServer({
    url,
    token: MCP_TOKEN,
    service: { baseUrl: rollcall, token: ROLLCALL_TOKEN, applicationId: application },
    tool,
    withinMs: seconds(within),
    leaseMs: seconds(lease),
    onCheck: print,
  });
  const skipped = checks.filter(({ outcome }) => outcome === 'skipped').length;
  console.log(`\n${passed ? 'Clients of this server are cut when they should be' : 'NOT shown: that every client of this server is cut when it should be'}${skipped ? `, as far as could be seen (${skipped} skipped)` : ''}.`);
  return passed ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
