// A bar chart as SVG, readable on light and on dark pages.
import type { Chart } from './report.ts';

const WIDTH = 720, LABEL = 260, VALUE = 70, BAR = 18, GAP = 8, TOP = 34;
const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export function svg(charts: readonly Chart[]): string {
  let y = 0;
  const parts = charts.map(({ title, bars }) => {
    const most = Math.max(...bars.map(({ value }) => value)), scale = (WIDTH - LABEL - VALUE) / most;
    const head = `<text x="0" y="${y + 20}" class="title">${escape(title)}</text>`;
    y += TOP;
    const rows = bars.map(({ label, value, shown, ours }) => {
      const width = Math.max(1, Math.round(value * scale)), middle = y + BAR / 2 + 4;
      const row = `<text x="${LABEL - 10}" y="${middle}" text-anchor="end"${ours ? ' class="ours"' : ''}>${escape(label)}</text>`
        + `<rect x="${LABEL}" y="${y}" width="${width}" height="${BAR}" rx="3"${ours ? ' class="bar-ours"' : ''}/>`
        + `<text x="${LABEL + width + 8}" y="${middle}"${ours ? ' class="ours"' : ''}>${escape(shown)}</text>`;
      y += BAR + GAP;
      return row;
    });
    y += GAP;
    return [head, ...rows].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-label="${escape(charts.map(({ title }) => title).join('; '))}">
<style>
text { font: 13px system-ui, sans-serif; fill: #3d444d } .title { font-weight: 600; fill: #1f2328 } .ours { font-weight: 600; fill: #1f2328 }
rect { fill: #afb8c1 } .bar-ours { fill: #1a7f37 }
@media (prefers-color-scheme: dark) { text { fill: #9198a1 } .title, .ours { fill: #f0f6fc } rect { fill: #484f58 } .bar-ours { fill: #3fb950 } }
</style>
${parts.join('\n')}
</svg>
`;
}
