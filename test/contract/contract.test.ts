// What must be true of the contract beyond what a linter asks for, and that the linter asks for what we think it does.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redocly } from '../../server/dev/redocly.ts';
import { CONTRACT, contract, examplesOf, LINT_CONFIG, operations, problemTypes, statusOf } from './contract.ts';

const problems = operations.flatMap((operation) => operation.answers.flatMap((answer) => answer.examples
  .filter(({ mediaType }) => mediaType === 'application/problem+json')
  .map((example) => ({ where: `${operation.id} ${answer.status} ${example.name}`, status: answer.status, value: example.value as { type: string; title: string; status: number } }))));

/** Refused before any operation is known. */
const ANYWHERE = [405, 408, 417, 431];

describe('the contract', () => {
  it('has the paths in full and no base path beside them', () => {
    expect(contract.servers).toEqual([expect.objectContaining({ url: '/' })]);
    expect(Object.keys(contract.paths ?? {}).filter((path) => !path.startsWith('/api/v1/'))).toEqual([]);
  });

  it('has every operationId once', () => {
    expect(operations.length).toBeGreaterThan(10);
    expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length);
  });

  it('titles every problem type the same everywhere, and knows every type', () => {
    const titles = new Map<string, Set<string>>();
    for (const { value } of problems) titles.set(value.type, (titles.get(value.type) ?? new Set()).add(value.title));
    expect([...titles].filter(([, of]) => of.size > 1)).toEqual([]);
    expect([...titles.keys()].filter((type) => !problemTypes.includes(type))).toEqual([]);
    expect(titles.size).toBeGreaterThan(10);
  });

  it('answers a problem with the status that the problem names', () => {
    const wrong = problems.filter(({ status, value }) => status === 'default' ? value.status !== 500 && !ANYWHERE.includes(value.status) : Number(status) !== value.status);
    expect(wrong.map(({ where }) => where)).toEqual([]);
  });

  it('lets no caller leave a plus sign in a query as it is: it would be read as a space', () => {
    expect(operations.flatMap(({ id, parameters }) => parameters.filter(({ allowReserved }) => allowReserved).map(({ name }) => `${id} ${name}`))).toEqual([]);
  });
});

describe.each(operations)('$id', ({ method, path, spec, parameters, body, answers }) => {
  it('says what it is', () => {
    expect(spec).toMatchObject({ operationId: expect.stringMatching(/^[a-z][A-Za-z]+$/), summary: expect.stringMatching(/^[A-Z]/), description: expect.stringMatching(/\S{3,}/) });
    expect(spec.tags).toHaveLength(1);
    expect(contract.tags?.map(({ name }) => name)).toContain(spec.tags?.[0]);
  });

  it('asks for a scope, whichever way in', () => {
    const scopes = (spec.security ?? []).map((way) => Object.values(way).flat());
    expect(scopes.length).toBeGreaterThan(0);
    for (const scope of scopes) expect(scope).toEqual([expect.stringMatching(/^(sessions|applications):[a-z]+$/), ...scope.slice(1)]);
  });

  it('documents its refusals', () => {
    const wanted = ['400', '401', '403', '429', '503', 'default', ...(path.includes('{') ? ['404'] : []), ...(body ? ['413', '415'] : [])];
    const documented = answers.map(({ status }) => status);
    expect(documented).toEqual(expect.arrayContaining(wanted));
    expect(documented.filter((status) => status.startsWith('2')).length).toBeGreaterThan(0);
  });

  it('has every parameter of its path, and no other there', () => {
    const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
  });

  it('shows every answer and every body by a named example', () => {
    for (const answer of answers) {
      for (const [type, media] of Object.entries(answer.response.content ?? {})) {
        const examples = examplesOf({ [type]: media });
        expect(examples.length, `${method} ${answer.status} ${type}`).toBeGreaterThan(0);
        for (const example of examples) expect(statusOf(answer, example), example.name).toBeGreaterThanOrEqual(200);
      }
      expect(Object.keys(answer.response.content ?? {}), answer.status).toEqual(answer.status.startsWith('2') ? [expect.any(String)] : ['application/problem+json']);
    }
    if (body) expect(examplesOf(body.content)).not.toEqual([]);
  });
});

describe('npm run lint', () => {
  let folder: string;
  beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'rollcall-lint-')); });
  afterAll(() => rm(folder, { recursive: true }));

  const lint = (file: string) => redocly('lint', file, '--config', LINT_CONFIG);

  it('finds nothing to say', async () => {
    const { code, output } = await lint(CONTRACT);
    expect(output).not.toMatch(/warning|error/i);
    expect(code).toBe(0);
  });

  it.each([
    ['an example of the wrong type', 'disconnectedCount: 42', 'disconnectedCount: many', 'no-invalid-media-type-examples'],
    ['an example with a field too many', 'disconnectedCount: 42', 'disconnectedCount: 42\n                    count: 42', 'no-invalid-media-type-examples'],
    ['a parameter with an impossible example', 'example: build-07', "example: ''", 'no-invalid-parameter-examples'],
    ['an operation without a name', 'operationId: getSessionCounts', 'deprecated: false', 'operation-operationId'],
  ])('refuses %s', async (_what, from, to, rule) => {
    const [good, file] = [await readFile(CONTRACT, 'utf8'), join(folder, `${rule}-${to.length}.yaml`)];
    expect(good).toContain(from);
    await writeFile(file, good.replace(from, () => to));
    const { code, output } = await lint(file);
    expect(output).toContain(rule);
    expect(code).toBe(1);
  });
});
