// A valid call of every operation, made from the contract's own examples: an operation is tested from the day it is written.
import { examplesOf, follow, type Operation } from '../contract/contract.ts';
import type { RawRequest } from './raw.ts';

const UUID = /^[\da-f]{8}-/;

/** The target of an operation, with these ids in its path. @throws Error for a parameter that none of them stands for. */
export function targetOf({ id, path, parameters }: Operation, ids: Readonly<Record<string, string>>): string {
  const target = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    if (ids[name] === undefined) throw new Error(`${id}: nothing is known that could stand for {${name}}`);
    return encodeURIComponent(ids[name]);
  });
  const query = parameters.filter((parameter) => parameter.in === 'query' && parameter.required).map(({ name, example }) => {
    if (example === undefined) throw new Error(`${id}: the parameter ${name} is required and has no example`);
    return `${name}=${encodeURIComponent(String(example))}`;
  });
  return target + (query.length > 0 ? `?${query.join('&')}` : '');
}

/** The first example of the operation's body, about these ids. */
export function bodyOf({ id, body }: Operation, ids: Readonly<Record<string, string>>): unknown {
  if (!body) return undefined;
  const example = examplesOf(follow(body).content)[0];
  if (!example) throw new Error(`${id}: the body has no example`);
  return JSON.parse(JSON.stringify(example.value, (name, value: unknown) => typeof value === 'string' && UUID.test(value) ? ids[name] ?? value : value));
}

export function callOf(operation: Operation, ids: Readonly<Record<string, string>>): RawRequest {
  const body = bodyOf(operation, ids);
  return {
    method: operation.method.toUpperCase(), target: targetOf(operation, ids),
    ...(body !== undefined && { body: JSON.stringify(body), headers: [['Content-Type', 'application/json']] }),
  };
}

/** The same call with more headers. */
export const withHeaders = (call: RawRequest, ...headers: readonly (readonly [string, string])[]): RawRequest => ({ ...call, headers: [...call.headers ?? [], ...headers] });
