// The named examples of the contract's responses, and how a caller of the mock chooses one of them.
import type { IncomingHttpHeaders } from 'node:http';
import type { getHttpOperationsFromSpec } from '@stoplight/prism-http';
import { invalid } from '../problem.ts';

/** An operation of the contract as Prism holds it: references resolved, examples in place. */
export type Operation = Awaited<ReturnType<typeof getHttpOperationsFromSpec>>[number];

export interface Example { status: number; name: string; value: unknown }

export const LONGEST_DELAY_MS = 10_000;

/** What the mock itself reads from the query. The first four are Prism's own; `Prefer` may carry them all. */
export const CONTROLS = ['__code', '__example', '__dynamic', '__seed', '__delay'];

export function examples(operation: Operation): Example[] {
  return operation.responses.flatMap(({ code, contents = [] }) => contents.flatMap((content) =>
    (content.examples ?? []).flatMap((example) => {
      if (!('value' in example)) return [];
      // The only answers without a status of their own are problems, and those carry it.
      const status = code === 'default' ? (example.value as { status: number }).status : Number(code);
      return [{ status, name: example.key, value: example.value }];
    })));
}

/** One line per operation and one with what it can answer, for a person who has just started the mock; what all of them can answer is said once, at the end. */
export function table(operations: Operation[]): string {
  const common = (operations[0] ? examples(operations[0]) : []).filter((one) => operations.every((operation) => examples(operation).some((other) => isSame(one, other))));
  const lines = operations.map((operation) => `${operation.method.toUpperCase().padEnd(6)} ${operation.path}  (${operation.iid})
       ${listed(examples(operation).filter((one) => !common.some((other) => isSame(one, other))))}`);
  return [...lines, `Each of them\n       ${listed(common)}`].join('\n');
}

const isSame = (one: Example, other: Example): boolean => one.status === other.status && one.name === other.name;

const listed = (of: Example[]): string =>
  [...Map.groupBy(of, ({ status }) => status)].map(([status, same]) => `${status} ${same.map(({ name }) => name).join(', ')}`).join(' | ');

export interface Choice { code?: number; exampleKey?: string; dynamic: boolean; seed?: string }

/** Refuses what the contract does not have: a test that asks for a misspelt example must not pass by chance. */
export function choose(operation: Operation, query: URLSearchParams, headers: IncomingHttpHeaders): Choice {
  const wish = wishes(query, headers);
  const all = examples(operation), code = wish('code');
  // A dialog that asks first shows the count of a dry run, which no other answer has.
  const name = wish('example') ?? (code === undefined && wish('dynamic') === undefined && query.get('dryRun') === 'true' ? 'preview' : undefined);
  const withCode = all.filter(({ status }) => code === undefined || String(status) === code);
  if (!withCode.length) throw invalid({ pointer: '/query/__code', detail: `must be one of ${unique(all.map(({ status }) => status))}` });
  const found = withCode.find((example) => example.name === name);
  if (name !== undefined && !found) throw invalid({ pointer: '/query/__example', detail: `must be one of ${unique(withCode.map((example) => example.name))}` });
  // Left alone, Prism picks the lowest success; what creates something usually does create it.
  const usual = code === undefined && all.some(({ status }) => status === 201) ? 201 : undefined;
  const status = found?.status ?? (code === undefined ? usual : Number(code));
  // Under `default` several statuses share one answer, of which Prism would show the first.
  const exampleKey = name ?? (code === undefined ? undefined : withCode[0]?.name);
  const seed = wish('seed');
  return {
    dynamic: wish('dynamic') === 'true',
    ...(status !== undefined && { code: status }),
    ...(exampleKey !== undefined && { exampleKey }),
    ...(seed !== undefined && { seed }),
  };
}

/** What the header `Prefer` asks for, or the query. */
function wishes(query: URLSearchParams, headers: IncomingHttpHeaders): (name: string) => string | undefined {
  const preferred = new Map([...String(headers['prefer'] ?? '').matchAll(/(\w+)\s*=\s*"?([^",;]+)"?/g)].map(([, key, value]) => [key, value?.trim()]));
  return (name) => preferred.get(name) ?? query.get(`__${name}`) ?? undefined;
}

/** How long to wait before answering, if this call says so. Bounded, so that a typing error does not look like a hanging server. */
export function chosenDelay(query: URLSearchParams, headers: IncomingHttpHeaders): number | undefined {
  const wish = wishes(query, headers)('delay');
  if (wish === undefined) return undefined;
  if (!/^\d{1,5}$/.test(wish) || Number(wish) > LONGEST_DELAY_MS) {
    throw invalid({ pointer: '/query/__delay', detail: `must be milliseconds, at most ${LONGEST_DELAY_MS}` });
  }
  return Number(wish);
}

const unique = (values: unknown[]): string => [...new Set(values)].join(', ');
