// The named examples of the contract's responses, and how a caller of the mock chooses one of them.
import type { IncomingHttpHeaders } from 'node:http';
import type { getHttpOperationsFromSpec } from '@stoplight/prism-http';
import { invalid } from '../problem.ts';

/** An operation of the contract as Prism holds it: references resolved, examples in place. */
export type Operation = Awaited<ReturnType<typeof getHttpOperationsFromSpec>>[number];

export interface Example { status: number; name: string; value: unknown }

export const LONGEST_DELAY_MS = 10_000;

/** What the mock itself reads from the query. The first four are Prism's own, and `Prefer` may carry them too. */
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

/** One line per operation and one with what it can answer, for a person who has just started the mock. */
export function table(operations: Operation[]): string {
  return operations.map((operation) => {
    const names = Map.groupBy(examples(operation), ({ status }) => status);
    const answers = [...names].map(([status, of]) => `${status} ${of.map(({ name }) => name).join(', ')}`).join(' | ');
    return `${operation.method.toUpperCase().padEnd(6)} ${operation.path}  (${operation.iid})\n       ${answers}`;
  }).join('\n');
}

export interface Choice { code?: number; exampleKey?: string; dynamic: boolean; seed?: string }

/** Refuses what the contract does not have: a test that asks for a misspelt example must not pass by chance. */
export function choose(operation: Operation, query: URLSearchParams, headers: IncomingHttpHeaders): Choice {
  const preferred = new Map([...String(headers['prefer'] ?? '').matchAll(/(\w+)\s*=\s*"?([^",;]+)"?/g)].map(([, key, value]) => [key, value?.trim()]));
  const wish = (name: string): string | undefined => preferred.get(name) ?? query.get(`__${name}`) ?? undefined;
  const [code, name] = [wish('code'), wish('example')];
  const all = examples(operation);
  const withCode = all.filter(({ status }) => code === undefined || String(status) === code);
  if (!withCode.length) throw invalid({ pointer: '/query/__code', detail: `must be one of ${unique(all.map(({ status }) => status))}` });
  const found = withCode.find((example) => example.name === name);
  if (name !== undefined && !found) throw invalid({ pointer: '/query/__example', detail: `must be one of ${unique(withCode.map((example) => example.name))}` });
  // Left alone, Prism picks the lowest success; what creates something usually does create it.
  const usual = code === undefined && all.some(({ status }) => status === 201) ? 201 : undefined;
  const status = found?.status ?? (code === undefined ? usual : Number(code));
  const seed = wish('seed');
  return {
    dynamic: wish('dynamic') === 'true',
    ...(status !== undefined && { code: status }),
    ...(name !== undefined && { exampleKey: name }),
    ...(seed !== undefined && { seed }),
  };
}

/** How long to wait before answering. Bounded, so that a typing error does not look like a hanging server. */
export function chosenDelay(query: URLSearchParams): number {
  const wish = query.get('__delay') ?? '0';
  if (!/^\d{1,5}$/.test(wish) || Number(wish) > LONGEST_DELAY_MS) {
    throw invalid({ pointer: '/query/__delay', detail: `must be milliseconds, at most ${LONGEST_DELAY_MS}` });
  }
  return Number(wish);
}

const unique = (values: unknown[]): string => [...new Set(values)].join(', ');
