// npm run fuzz -- --minutes 10 [--seed N] [--database postgres://...] [--slowest MS] [--busy]: fuzzes a server process in production configuration.
import { parseArgs } from 'node:util';
import { startProcess } from './process.ts';
import { fuzz } from './run.ts';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string', default: String(Date.now() % 1_000_000_000) }, database: { type: 'string' }, lanes: { type: 'string', default: '4' }, slowest: { type: 'string', default: '2000' }, busy: { type: 'boolean', default: false } } });
const seed = Number(values.seed), ends = performance.now() + Number(values.minutes) * 60_000;
const server = await startProcess({ databaseUrl: values.database });
console.log(`seed ${seed}, ${server.url}, pid ${server.pid}, ${server.memory()} MB`);
const report = setInterval(() => console.log(`${Math.round((ends - performance.now()) / 1000)} s to go, ${server.memory()} MB`), 60_000);
try {
  const { slowest, ...outcome } = await fuzz(server, { seed, lanes: Number(values.lanes), slowestMs: Number(values.slowest), mayBeBusy: values.busy, until: () => performance.now() > ends });
  console.log(JSON.stringify(outcome, null, 2));
  console.log(`slowest: ${Math.round(slowest.ms)} ms, ${slowest.curl.slice(0, 300)}`);
  console.log(`${server.memory()} MB at the end`);
} catch (error) {
  console.error(error instanceof Error ? error.stack : error);
  process.exitCode = 1;
} finally {
  clearInterval(report);
  if (server.complaints.length > 0) { console.error(server.complaints.join('\n')); process.exitCode = 1; }
  await server.stop();
}
