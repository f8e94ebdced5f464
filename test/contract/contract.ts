// The contract as these tests read it: a list of operations with their references followed.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { MediaTypeObject, OpenAPI3, OperationObject, ParameterObject, ReferenceObject, ResponseObject, RequestBodyObject } from 'openapi-typescript';

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

export const CONTRACT = path('openapi.yaml');
export const LINT_CONFIG = path('docs/redocly.yaml');

/** Generated, and generated.test.ts says whether it is what the contract makes of it. */
export const contract: OpenAPI3 = JSON.parse(readFileSync(path('generated/openapi.json'), 'utf8'));

export interface Example { name: string; value: unknown; mediaType: string }
export interface Answer { status: string; response: ResponseObject; examples: Example[] }
export interface Operation { id: string; method: string; path: string; spec: OperationObject; parameters: ParameterObject[]; body: RequestBodyObject | undefined; answers: Answer[] }

export const operations: Operation[] = Object.entries(contract.paths ?? {}).flatMap(([path, item]) =>
  (['get', 'put', 'post', 'delete', 'patch'] as const).flatMap((method) => {
    const onPath = follow(item);
    const spec = onPath[method] && follow(onPath[method]);
    if (!spec) return [];
    return [{
      id: spec.operationId ?? `${method} ${path}`, method, path, spec,
      parameters: [...(onPath.parameters ?? []), ...(spec.parameters ?? [])].map((parameter) => follow(parameter)),
      body: spec.requestBody && follow(spec.requestBody),
      answers: Object.entries(spec.responses ?? {}).map(([status, one]) => {
        const response = follow<ResponseObject>(one);
        return { status, response, examples: examplesOf(response.content) };
      }),
    }];
  }));

export const problemTypes: string[] = enumOf('ProblemType');

export function examplesOf(content: Record<string, MediaTypeObject | ReferenceObject> = {}): Example[] {
  return Object.entries(content).flatMap(([mediaType, media]) =>
    Object.entries(follow(media).examples ?? {}).map(([name, example]) => ({ name, value: follow<{ value?: unknown }>(example).value, mediaType })));
}

/** The status an example is answered with; under `default` only the problem itself says it. */
export const statusOf = ({ status }: Answer, { value }: Example): number =>
  status === 'default' ? (value as { status: number }).status : Number(status); // contract.test.ts has checked that it is one

export function follow<T extends object>(node: T | ReferenceObject): T {
  if (!('$ref' in node)) return node;
  const steps = node.$ref.replace('#/', '').split('/');
  // Of the type its place asks for, or the linter would have refused it.
  return steps.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], contract) as T;
}

function enumOf(name: string): string[] {
  const schema: { enum?: unknown[] } | undefined = contract.components?.schemas?.[name];
  return (schema?.enum ?? []).map(String);
}
