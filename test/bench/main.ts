// `npm run bench`: measures this service beside its alternatives. --quick (fewer rounds, and of the two databases the embedded one), --only http,scale,streams,heartbeats,start, --readme
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeFigures } from './figures.ts';
import { measureHeartbeats } from './heartbeats.ts';
import { measureHttp } from './http.ts';
import { machine, pinLoad, root } from './processes.ts';
import { markdown, targetsTable, type Report } from './report.ts';
import { measureScale } from './scale.ts';
import { measureStart } from './start.ts';
import { reportStreams } from './streams.ts';

interface Options { quick: boolean; contenders?: readonly string[] }
const groups: Record<string, (options: Options) => Promise<Report>> = {
  http: ({ quick, contenders }) => measureHttp({ ...(quick ? { rounds: 2, seconds: 0.5, warm: 4, brief: true } : { rounds: 11, seconds: 1, warm: 8 }), ...(contenders && { only: contenders }) }),
  scale: ({ quick }) => measureScale({ times: quick ? 20 : 100, quick }),
  streams: ({ quick }) => reportStreams({ counts: quick ? [2_000] : [1_000, 10_000] }),
  heartbeats: ({ quick }) => measureHeartbeats({ seconds: quick ? 3 : 20, quick }),
  start: ({ quick }) => measureStart({ rounds: quick ? 2 : 9 }),
};

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false }, only: { type: 'string' }, contenders: { type: 'string' }, readme: { type: 'boolean', default: false } } });
const chosen = values.only?.split(',') ?? Object.keys(groups);
const results = join(root, 'test/bench/results');
pinLoad();
let missed = 0;
for (const name of chosen) {
  const group = groups[name];
  if (!group) throw new Error(`there is no ${name}; there are ${Object.keys(groups).join(', ')}`);
  console.log(`\n# ${name}\n`);
  const began = performance.now(), report = await group({ quick: values.quick, ...(values.contenders !== undefined && { contenders: values.contenders.split(',') }) });
  for (const table of report.tables) console.log(`${table.title}\n${markdown(table)}\n`);
  if (report.targets.length > 0) console.log(markdown(targetsTable(report.targets)));
  console.log(`\n${name} took ${((performance.now() - began) / 1_000).toFixed(0)} s.`);
  missed += report.targets.filter(({ met }) => !met).length;
  if (values.quick || values.contenders !== undefined) continue; // too few rounds to be kept
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, `${name}.json`), `${JSON.stringify({ command: report.command, quick: values.quick, at: new Date().toISOString(), machine: machine(), targets: report.targets, tables: report.tables, charts: report.charts, figures: report.figures }, null, 1)}\n`);
}
if (values.readme) writeFigures(results);
console.log(missed === 0 ? '' : `\n${missed} targets missed`);
process.exit(0);
