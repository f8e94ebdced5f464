// What a measurement answers, and how it is shown: tables of figures, and targets that were met or not.

export interface Table {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

export interface Target { about: string; bound: string; measured: string; met: boolean }

export interface Bar { label: string; value: number; shown: string; ours?: boolean }
export interface Chart { title: string; bars: readonly Bar[] }

export interface Report {
  /** The command that makes exactly this. */
  command: string;
  tables: readonly Table[];
  targets: readonly Target[];
  charts?: readonly Chart[];
  /** Every figure, for the JSON. */
  figures: unknown;
}

export const atMost = (about: string, value: number, bound: number, unit: string): Target =>
  ({ about, bound: `at most ${bound} ${unit}`.trim(), measured: `${round(value)} ${unit}`.trim(), met: value <= bound });
export const atLeast = (about: string, value: number, bound: number, unit: string): Target =>
  ({ about, bound: `at least ${bound.toLocaleString('en-US')} ${unit}`.trim(), measured: `${round(value)} ${unit}`.trim(), met: value >= bound });

const round = (value: number): string => Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : String(Math.round(value * 100) / 100);

/** As Markdown, which a terminal shows well enough. */
export function markdown({ columns, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), `|${columns.map((_, index) => index === 0 ? '---' : '---:').join('|')}|`, ...rows.map(line)].join('\n');
}

export const targetsTable = (targets: readonly Target[]): Table => ({
  title: 'Targets', columns: ['target', 'bound', 'measured', ''], rows: targets.map(({ about, bound, measured, met }) => [about, bound, measured, met ? 'met' : 'MISSED']),
});
