// The figures of README.md and docs/scaling.md, taken from the results of the last full run as they are: nobody copies a number.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { svg } from './chart.ts';
import { root } from './processes.ts';
import { markdown, type Chart, type Table } from './report.ts';

interface Kept { command: string; at: string; machine: { node: string; cpu: string }; tables: Table[]; charts?: Chart[] }

const BEGIN = '<!-- bench -->', END = '<!-- /bench -->';
/** Which groups of measurements stand where. */
const PLACES: Record<string, readonly string[]> = { 'README.md': ['http', 'streams'], 'docs/scaling.md': ['scale', 'heartbeats', 'start'] };

/** @throws Error when a document has no place for them */
export function writeFigures(results: string): void {
  for (const [document, groups] of Object.entries(PLACES)) {
    const kept = groups.map((group) => join(results, `${group}.json`)).filter((file) => existsSync(file)).map((file) => JSON.parse(readFileSync(file, 'utf8')) as Kept);
    const charts = kept.flatMap(({ charts = [] }) => charts);
    if (charts.length > 0) writeFileSync(join(results, 'bench.svg'), svg(charts));
    const text = [
      ...(charts.length > 0 ? ['![CPU per request, compared with Express](test/bench/results/bench.svg)', ''] : []),
      ...kept.flatMap(({ command, at, machine, tables }) => [
        ...tables.flatMap((table) => [`**${table.title}**`, '', markdown(table), '']),
        `\`${command}\`, ${at.slice(0, 10)}, Node ${machine.node.slice(1)}, two cores of a shared ${machine.cpu}.`, '',
      ]),
    ].join('\n').trim();
    const path = join(root, document), whole = readFileSync(path, 'utf8'), from = whole.indexOf(BEGIN), to = whole.indexOf(END);
    if (from === -1 || to < from) throw new Error(`${document} has no ${BEGIN} and ${END}`);
    writeFileSync(path, `${whole.slice(0, from + BEGIN.length)}\n${text}\n${whole.slice(to)}`);
  }
}
