// The contract as the documentation reads it: its operations in the order of their tags, with references followed.
import { readFileSync } from 'node:fs';
import type { MediaTypeObject, OpenAPI3, OperationObject, ParameterObject, ReferenceObject, RequestBodyObject, ResponseObject, SchemaObject } from 'openapi-typescript';

/** Generated from openapi.yaml, and CI checks that it is what the contract makes of it. */
export const readContract = (): OpenAPI3 => JSON.parse(readFileSync(new URL('../generated/openapi.json', import.meta.url), 'utf8'));

export const contract = readContract();

/** By media type. */
type Content = Record<string, MediaTypeObject>;
export interface Answer { status: string; description: string; content: Content }
export interface Operation {
  id: string; method: string; path: string; tag: string; summary: string; description: string;
  /** Each entry is one way in: the scopes that a token needs together. */
  scopes: string[][];
  parameters: ParameterObject[]; body: { required: boolean; content: Content } | undefined; answers: Answer[];
}
export interface Tag { name: string; title: string; description: string; operations: Operation[] }

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

export const operations: Operation[] = Object.entries(contract.paths ?? {}).flatMap(([path, item]) => {
  const onPath = follow(item);
  return METHODS.flatMap((method) => {
    const spec = onPath[method] && follow<OperationObject>(onPath[method]);
    return spec ? [operation(path, method, spec, onPath.parameters ?? [])] : [];
  });
});

export const tags: Tag[] = (contract.tags ?? []).map((tag) => ({
  name: tag.name, title: String((tag as { 'x-displayName'?: string })['x-displayName'] ?? tag.name), description: tag.description ?? '', // an extension has no type
  operations: operations.filter((operation) => operation.tag === tag.name),
}));

export const schemas: [name: string, schema: SchemaObject][] = Object.entries(contract.components?.schemas ?? {});

/** Where the page of the reference has an operation. */
export const anchorOf = ({ tag, id }: Operation): string => `#/${tag}/${id.toLowerCase()}`;

/** The last part of a reference is the name of what it refers to. */
export const nameOf = ({ $ref }: ReferenceObject): string => $ref.split('/').at(-1) ?? '';

export function follow<T extends object>(node: T | ReferenceObject): T {
  if (!('$ref' in node)) return node;
  // Of the type its place asks for, or the linter would have refused it.
  return node.$ref.replace('#/', '').split('/').reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], contract) as T;
}

function operation(path: string, method: string, spec: OperationObject, shared: (ParameterObject | ReferenceObject)[]): Operation {
  const body = spec.requestBody && follow<RequestBodyObject>(spec.requestBody);
  return {
    id: spec.operationId ?? '', method: method.toUpperCase(), path, tag: spec.tags?.[0] ?? '', summary: spec.summary ?? '', description: (spec.description ?? '').trim(),
    scopes: (spec.security ?? []).map((scheme) => (scheme as Record<string, string[]>)['bearerAuth'] ?? []), // the library's type has no names
    parameters: [...shared, ...(spec.parameters ?? [])].map((parameter) => follow(parameter)),
    body: body && { required: body.required ?? false, content: body.content as Content }, // the contract refers to no media type
    answers: Object.entries(spec.responses ?? {}).map(([status, one]) => {
      const { description, content = {} } = follow<ResponseObject>(one);
      return { status, description, content: content as Content }; // as above
    }),
  };
}
