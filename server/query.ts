// What the validator leaves to us in a query string and a body: every unknown name, repeated names, and values no store can keep.
import type { InvalidPart } from './problem.ts';

type Parameter = { in?: string; name?: string; $ref?: string };
interface Contract {
  paths: Record<string, { parameters?: Parameter[] } & Record<string, { operationId?: string; parameters?: Parameter[] }>>;
  components: { parameters: Record<string, Parameter> };
}

/** The names each operation takes in its query string, by operationId. */
export function queryNames({ paths, components }: Contract): ReadonlyMap<string, ReadonlySet<string>> {
  const resolve = ({ $ref, ...inline }: Parameter): Parameter => $ref ? components.parameters[$ref.split('/').at(-1)!] ?? {} : inline;
  return new Map(Object.values(paths).flatMap(({ parameters: shared = [], ...operations }) => Object.values(operations).map(({ operationId = '', parameters = [] }) =>
    [operationId, new Set([...shared, ...parameters].map(resolve).filter((parameter) => parameter.in === 'query').map(({ name }) => name!))] as const)));
}

/** Names that the operation does not know, that are repeated, or that are empty: a misspelt filter must never widen a revoke. */
export function queryErrors(search: string, known: ReadonlySet<string>): InvalidPart[] {
  const seen = new Set<string>();
  const errors: InvalidPart[] = [];
  for (const [name, value] of new URLSearchParams(search)) {
    const pointer = `/query/${escape(name)}`;
    if (!known.has(name)) errors.push({ pointer, detail: 'is not a parameter of this operation' });
    else if (seen.has(name)) errors.push({ pointer, detail: 'is given more than once' });
    else if (value === '') errors.push({ pointer, detail: 'must not be empty' });
    seen.add(name);
  }
  return errors;
}

const DEEPEST = 20;
const DEEPEST_CLIENT_INFO = 16;
const LARGEST_CLIENT_INFO = 8 * 1024;

/**
 * Values that JSON allows and no store gives back as they came: NUL, lone surrogates, numbers that JavaScript rounds; and nesting
 * that would exhaust a stack. Walks without recursion, before anything else looks at the body.
 */
export function bodyErrors(body: unknown): InvalidPart[] {
  const errors: InvalidPart[] = [];
  const stack: { value: unknown; pointer: string; depth: number }[] = [{ value: body, pointer: '/body', depth: 0 }];
  for (let item; (item = stack.pop()) && errors.length < 20;) {
    const { value, pointer, depth } = item;
    if (typeof value === 'string') {
      if (!storable(value)) errors.push({ pointer, detail: 'must be well-formed Unicode without NUL' });
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) errors.push({ pointer, detail: 'is too large to be exact; send it as a string' });
    } else if (typeof value === 'object' && value !== null) {
      if (depth >= DEEPEST) return [{ pointer: '/body', detail: `is nested deeper than ${DEEPEST} levels` }];
      for (const [key, inner] of Object.entries(value)) {
        const at = `${pointer}/${escape(key)}`;
        if (!storable(key) || key === '__proto__') errors.push({ pointer: storable(key) ? at : pointer, detail: 'is not a name that can be kept' });
        else stack.push({ value: inner, pointer: at, depth: depth + 1 });
      }
    }
  }
  return errors;
}

/** `clientInfo` is free in form, so its bounds are not a schema's. */
export function clientInfoErrors(clientInfo: unknown): InvalidPart[] {
  const pointer = '/body/clientInfo';
  if (typeof clientInfo !== 'object' || clientInfo === null) return [];
  if (Buffer.byteLength(JSON.stringify(clientInfo)) > LARGEST_CLIENT_INFO) return [{ pointer, detail: `must have at most ${LARGEST_CLIENT_INFO} bytes as JSON` }];
  return depth(clientInfo) > DEEPEST_CLIENT_INFO ? [{ pointer, detail: `must be at most ${DEEPEST_CLIENT_INFO} levels deep` }] : [];
}

/** Called after `bodyErrors` has bounded it. */
const depth = (value: unknown): number => typeof value !== 'object' || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depth));

const storable = (text: string): boolean => text.isWellFormed() && !text.includes('\0');

/** A name as one step of a JSON pointer (RFC 6901), whatever it is made of. */
const escape = (name: string): string => name.toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1').slice(0, 200);
