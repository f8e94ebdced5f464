// The operator's page, the alerts and the dashboard, held against what the server really says and does.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outline } from '../../docs/markdown.ts';
import { createMetrics } from '../../server/metrics.ts';
import { reason, reasonCodes } from '../../server/health.ts';
import { curlIsThere } from '../support/needs.ts';
import { startTestService, type TestService } from '../support/service.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/operating.md'), rules = read('deploy/prometheus/alerts.yaml');
const sections = outline(page).sections.filter(({ depth }) => depth === 2).map(({ title }) => title);
const { registry } = createMetrics({ version: '0', store: 'sqlite', isReady: async () => true });
const metrics = registry.getMetricsAsArray() as unknown as { name: string; help: string; type: string; labelNames: string[] }[]; // the types leave out what is there

/** Every name in an expression that is a metric's, less what a histogram appends. */
const namesIn = (expression: string) => [...expression.matchAll(/\b(?:rollcall|nodejs|process)_\w+/g)].map(([name]) => metrics.some((metric) => metric.name === name) ? name : name.replace(/_(?:bucket|sum|count)$/, ''));
/** The labels an expression selects or groups by. */
const labelsIn = (expression: string) => [...expression.matchAll(/\bby \(([^)]*)\)|(\w+)=~?"/g)].flatMap(([, group, label]) => group?.split(', ') ?? [label!]).filter((label) => !['instance', 'job', 'le'].includes(label)); // Prometheus adds these
const known = (expression: string) => {
  const used = namesIn(expression);
  expect(used.filter((name) => !metrics.some((metric) => metric.name === name))).toEqual([]);
  const labels = metrics.filter(({ name }) => used.includes(name)).flatMap(({ labelNames }) => labelNames);
  expect(labelsIn(expression).filter((label) => !labels.includes(label))).toEqual([]);
};

interface Alert { alert: string; expr: string; for: string; severity: string; summary: string; description: string; runbook: string }
/** The rules' own plain form of YAML: one key a line. */
const alerts: Alert[] = rules.split(/^ {6}- /m).slice(1).map((text) => {
  const value = (key: string) => new RegExp(`^\\s*${key}: (.+)$`, 'm').exec(text)?.[1]?.replace(/^"(.*)"$/, '$1') ?? '';
  return { alert: value('alert'), expr: value('expr'), for: value('for'), severity: value('severity'), summary: value('summary'), description: value('description'), runbook: value('runbook_url') };
});

describe('docs/operating.md', () => {
  it('has every metric of ours in its table, with its type, labels and words, and no other', () => {
    const rows = metrics.filter(({ name }) => name.startsWith('rollcall_')).map(({ name, type, labelNames, help }) => `| \`${name}\` | ${type} | ${labelNames.map((label) => `\`${label}\``).join(', ')} | ${help} |`);
    expect(rows.length).toBeGreaterThan(14);
    expect(page.split('\n').filter((line) => line.startsWith('| `rollcall_'))).toEqual(rows);
  });

  it('has every reason of /readyz', () => {
    const table = page.slice(page.indexOf('| code |'), page.indexOf('Each change is a line'));
    expect([...table.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, code]) => code)).toEqual(reasonCodes);
    expect(reasonCodes.map((code) => reason(code).detail).every(Boolean)).toBe(true);
  });

  it('begins with the big red button', () => expect(sections[0]).toBe('The big red button'));
});

describe.runIf(curlIsThere("the operator's commands"))('the big red button', () => {
  let test: TestService, app: string;
  beforeAll(async () => { test = await startTestService(); app = await test.application(); });
  afterAll(() => test.close());

  it('works as it is written, step by step', async () => {
    const text = page.slice(page.indexOf('## The big red button'), page.indexOf('## Running it'));
    const commands = text.split('\n').map((line) => line.trim()).filter((line) => /^(?:app=|api)/.test(line));
    const token = await test.token({ scopes: ['sessions:read', 'sessions:revoke', 'sessions:write'] });
    const connect = async (body: object) => (await test.call('POST', `/applications/${app}/sessions`, { body })).body.session.id as string;
    const session = await connect({ credentialId: 'sid:one' });
    for (const userId of ['ada', 'ada', 'bob']) await connect({ userId });
    const { stdout } = await promisify(execFile)('bash', ['-c', commands.join('\n')], { env: { PATH: process.env['PATH'], ROLLCALL_URL: test.url, ROLLCALL_TOKEN: token, ROLLCALL_APPLICATION: app, SESSION: session, CREDENTIAL: 'sid:one' } });
    const answers: unknown[] = stdout.trimEnd().split('\n').map((line) => JSON.parse(line));
    expect(answers).toMatchObject([
      { byDerivedStatus: { active: 4 } }, { items: [{}, {}, {}, {}] },
      { disconnectedCount: 0, matchedCount: 4 }, { disconnectedCount: 0, matchedCount: 2 },
      { disconnectedCount: 1 }, { disconnectedCount: 2 }, { disconnectedCount: 1 },
      { items: [] }, { items: [{}, {}, {}] },
      { items: [{ credentialId: 'sid:one' }] }, { success: true },
    ]);
  }, 60_000);
});

describe('deploy/prometheus/alerts.yaml', () => {
  it('is made of complete rules, each with its section, and the other way round', () => {
    expect(alerts.length).toBeGreaterThan(10);
    expect(rules.match(/^ {6}- /gm)).toHaveLength(rules.match(/\balert:/g)!.length);
    for (const { alert, runbook, ...rest } of alerts) {
      expect(alert).toMatch(/^Rollcall[A-Z]\w+$/);
      expect(runbook).toBe(`/docs/operating#${alert}`);
      expect(rest.severity).toMatch(/^(?:critical|warning|info)$/);
      expect(rest.for).toMatch(/^\d+[sm]$/);
      for (const part of [rest.expr, rest.summary, rest.description]) expect(part.length).toBeGreaterThan(10);
      expect([...rest.expr].filter((char) => '([{'.includes(char))).toHaveLength([...rest.expr].filter((char) => ')]}'.includes(char)).length);
    }
    expect(sections.filter((name) => name.startsWith('Rollcall'))).toEqual(alerts.map(({ alert }) => alert));
    for (const { alert } of alerts) expect(page.split(`\n## ${alert}\n`)[1]!.split('\n## ')[0]).toMatch(/- \*\*Meaning:\*\* \S[^]*- \*\*What to do:\*\* \S/); // it has its section
  });

  it.each(alerts.map(({ alert, expr }) => [alert, expr]))('%s asks for metrics and labels that exist', (_alert, expr) => known(expr));

  it('would notice a name that does not exist', () => expect(() => known('rate(rollcall_nothing_total[5m])')).toThrow());
});

describe('deploy/grafana/rollcall.json', () => {
  const { panels } = JSON.parse(read('deploy/grafana/rollcall.json')) as { panels: { title: string; targets: { expr: string }[] }[] }; // as Grafana exports it

  it('asks for metrics and labels that exist', () => {
    expect(panels.length).toBeGreaterThan(10);
    for (const { targets } of panels) for (const { expr } of targets) { expect(namesIn(expr)).not.toEqual([]); known(expr); }
  });
});
