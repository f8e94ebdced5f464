// The mock for frontend teams: the contract's examples on the contract's paths, on this machine only, open to any page's origin.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { getHttpOperationsFromSpec } from '@stoplight/prism-http';
import { toProblem, type Problem } from '../problem.ts';
import { createAnswer, LARGEST_BODY, type Answered } from './answer.ts';
import { allowBrowsers } from './browsers.ts';
import { called, port, whole, whyNot } from './called.ts';
import { chosenDelay, LONGEST_DELAY_MS, table } from './examples.ts';

const CONTRACT = fileURLToPath(new URL('../../openapi.yaml', import.meta.url));

export interface Mock { url: string; table: string; close: () => Promise<void> }
interface Options { port?: number; spec?: string; /** Before every answer, where the call does not say otherwise; ms. */ delay?: number; log?: (line: string) => void }

export async function startMock({ port = 0, spec = CONTRACT, delay = 0, log = () => {} }: Options = {}): Promise<Mock> {
  const operations = await getHttpOperationsFromSpec(spec);
  const answer = createAnswer(operations);
  const readable = [...new Set(operations.flatMap(({ responses }) => responses.flatMap(({ headers = [] }) => headers.map(({ name }) => name))))].join(', ');

  const server = createServer(async (req, res) => {
    const requestId = /^[\w.-]{1,64}$/.exec(String(req.headers['x-request-id'] ?? ''))?.[0] ?? randomUUID();
    allowBrowsers(req, res, readable);
    if (req.method === 'OPTIONS') return void res.writeHead(204).end();
    const answered = await reply(req, requestId).catch((error: unknown) => refusal(toProblem(error), requestId));
    res.writeHead(answered.status, { ...answered.headers, 'Cache-Control': 'no-store', 'Content-Length': Buffer.byteLength(answered.body) });
    res.end(answered.body); // Node leaves the body out of an answer to HEAD
    log(`${req.method} ${req.url} ${answered.status}`);
  });

  async function reply(req: IncomingMessage, requestId: string): Promise<Answered> {
    // No URL parser: what it makes of `//x`, of `/a/../b` or of a whole address is not what was asked for.
    const [path = '', search = ''] = (req.url ?? '').split(/\?(.*)/s);
    const query = new URLSearchParams(search);
    const body = await readAll(req);
    await wait(chosenDelay(query, req.headers) ?? delay, undefined, { ref: false });
    return answer({ method: req.method ?? '', path, query, headers: req.headers, body, requestId });
  }

  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on TCP
    table: table(operations),
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections(); // a browser keeps its own open for minutes
    }),
  };
}

function refusal(problem: Problem, requestId: string): Answered {
  const headers = { ...problem.headers, 'X-Request-Id': requestId, 'Content-Type': 'application/problem+json' };
  return { status: problem.status, headers, body: JSON.stringify(problem.body(requestId)) };
}

async function readAll(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    // One piece more than any operation takes is enough to be refused; read on to the end all the same, or the caller never sees the answer.
    if (size - chunk.length <= LARGEST_BODY) chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const introduction = ({ url, table }: Mock): string => `Rollcall mock on ${url}
It is stateless: every answer is an example from openapi.yaml, and nothing that you send is kept.
Any bearer token will do:  curl -H 'Authorization: Bearer any' ${url}/api/v1/applications
Choose an answer in the query (or with the header Prefer: code=404, example=empty, delay=500):
  ?__code=404        this status              ?__example=empty   this example
  ?__dynamic=true    made up from the schema  ?__seed=7          the same again
  ?__delay=1500      wait so many ms, at most ${LONGEST_DELAY_MS}; for all calls: npm run mock -- --delay 1500
Requests are validated as the server does it: unknown, empty and repeated query parameters are 400.

${table}
`;

if (import.meta.main) {
  const options = called('mock', "Answers every call with the contract's examples, and keeps nothing.")
    .addOption(port(4010))
    .option('--delay <ms>', 'before every answer', whole(0, LONGEST_DELAY_MS), 0)
    .parse().opts<{ port: number; delay: number }>();
  try {
    const mock = await startMock({ ...options, log: console.log });
    console.log(introduction(mock));
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void mock.close());
  } catch (error) {
    console.error(`The mock cannot start: ${whyNot(error)}`);
    process.exitCode = 1;
  }
}
