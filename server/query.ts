// What the validator leaves to us in a query string and a body: every unknown name, repeated names, and values no store can keep.
import { invalid, MOST_ERRORS, step, type InvalidPart } from './problem.ts';

type Parameter = { in?: string; name?: string; $ref?: string; schema?: { type?: unknown } };
interface Contract {
  paths: Record<string, { parameters?: Parameter[] } & Record<string, { operationId?: string; parameters?: Parameter[]; requestBody?: object }>>;
  components: { parameters: Record<string, Parameter> };
}

/** What each operation takes in its query string, by operationId: the names, and which of them are whole numbers; and whether it takes anything beside its URL. */
export function queryNames({ paths, components }: Contract): ReadonlyMap<string, { names: ReadonlySet<string>; integers: ReadonlySet<string>; isOfUrlAlone: boolean }> {
  const resolve = ({ $ref, ...inline }: Parameter): Parameter => $ref ? components.parameters[$ref.split('/').at(-1)!] ?? {} : inline;
  return new Map(Object.values(paths).flatMap(({ parameters: shared = [], ...operations }) => Object.values(operations).map(({ operationId = '', parameters = [], requestBody }) => {
    const all = [...shared, ...parameters].map(resolve), query = all.filter((parameter) => parameter.in === 'query');
    const integers = query.filter(({ schema }) => schema?.type === 'integer');
    return [operationId, { names: new Set(query.map(({ name }) => name!)), integers: new Set(integers.map(({ name }) => name!)), isOfUrlAlone: !requestBody && all.every((parameter) => parameter.in === 'query' || parameter.in === 'path') }] as const;
  })));
}

/**
 * Names that the operation does not know, that are repeated, or that are empty: a misspelt filter must never widen a revoke. And what
 * lenient readers let pass as something else: text that does not decode, and numbers in other notations (`0x10`, `1e2`, ` 5`).
 */
export function queryErrors(search: string, known: ReadonlySet<string>, integers: ReadonlySet<string> = new Set()): InvalidPart[] {
  const seen = new Set<string>();
  const errors: InvalidPart[] = [];
  for (const part of search.split('&')) {
    const [[name, value] = []] = new URLSearchParams(`&${part}`); // bare, it would lose a leading question mark
    if (name === undefined || value === undefined) continue; // nothing between two `&`
    const pointer = `/query/${step(name)}`;
    if (!known.has(name)) errors.push({ pointer, detail: 'is not a parameter of this operation' });
    else if (seen.has(name)) errors.push({ pointer, detail: 'is given more than once' });
    else if (value === '') errors.push({ pointer, detail: 'must not be empty' });
    else if (part.includes('#') || !decodes(part)) errors.push({ pointer, detail: 'must be percent-encoded UTF-8' });
    else if (integers.has(name) && !/^-?\d+$/.test(value)) errors.push({ pointer, detail: 'must be integer' });
    seen.add(name);
  }
  return errors;
}

function decodes(text: string): boolean {
  try { return decodeURIComponent(text) !== undefined; } catch { return false; }
}

const RFC3339 = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i;

/** A date-time that exists (no 31 February, no leap second: no clock here counts them) and that has four digits for its year in UTC too. */
export function isDateTime(text: string): boolean {
  const [, date, time] = RFC3339.exec(text) ?? [];
  const local = new Date(`${date}T${time}Z`);
  if (Number.isNaN(local.getTime()) || !local.toISOString().startsWith(`${date}T${time}`)) return false;
  return new Date(text.toUpperCase()).toISOString().length === 24;
}

const DEEPEST = 20;
/** The largest body that can be valid, a thousand heartbeats with all their fields, has 6,002 values. */
const MOST_VALUES = 10_000, MOST_HEARTBEATS = 1_000;
const DEEPEST_CLIENT_INFO = 16;
const LARGEST_CLIENT_INFO = 8 * 1024;

/**
 * Values that JSON allows and no store gives back as they came: NUL, lone surrogates, numbers that JavaScript rounds; and nesting
 * that would exhaust a stack. Walks without recursion, before anything else looks at the body.
 * @throws Problem where it has seen enough, and nobody should look any further: the validator lists every mistake, and over 260,000 of them, sent in 600 bytes, everybody else would wait.
 */
export function bodyErrors(body: unknown): InvalidPart[] {
  const errors: InvalidPart[] = [];
  let values = 1;
  const stack: { value: unknown; pointer: string; depth: number }[] = [{ value: body, pointer: '/body', depth: 0 }];
  for (let item; (item = stack.pop());) {
    if (errors.length === MOST_ERRORS) throw invalid(...errors);
    const { value, pointer, depth } = item;
    if (typeof value === 'string') {
      if (!storable(value)) errors.push({ pointer, detail: 'must be well-formed Unicode without NUL' });
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) errors.push({ pointer, detail: 'is too large to be exact; send it as a string' });
    } else if (typeof value === 'object' && value !== null) {
      if (depth >= DEEPEST) throw invalid({ pointer: '/body', detail: `is nested deeper than ${DEEPEST} levels` });
      if ((values += Array.isArray(value) ? value.length : Object.keys(value).length) > MOST_VALUES) throw invalid(tooMuch(body));
      for (const [key, inner] of Object.entries(value)) {
        const at = `${pointer}/${step(key)}`;
        if (!storable(key) || key === '__proto__') errors.push({ pointer: storable(key) ? at : pointer, detail: 'is not a name that can be kept' });
        else stack.push({ value: inner, pointer: at, depth: depth + 1 });
      }
    }
  }
  return errors;
}

/** Most likely it is a batch that was never split. */
function tooMuch(body: unknown): InvalidPart {
  const { heartbeats } = body as { heartbeats?: unknown }; // it has many values
  return Array.isArray(heartbeats) && heartbeats.length > MOST_HEARTBEATS ? { pointer: '/body/heartbeats', detail: `must not have more than ${MOST_HEARTBEATS} items` }
    : { pointer: '/body', detail: `must not have more than ${MOST_VALUES} values` };
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
