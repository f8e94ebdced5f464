// Whether an answer is one that the contract documents: its status, its type, and its body by the schema for both.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { SchemaObject } from 'openapi-typescript';
import { contract, follow, operations, type Operation } from '../contract/contract.ts';

const ajv = new Ajv2020({ strict: false, allErrors: true });
formats.default(ajv, { mode: 'full' });
ajv.addFormat('uuid', /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
ajv.addSchema(contract, 'contract');

export const operation = (id: string): Operation => {
  const found = operations.find((candidate) => candidate.id === id);
  if (!found) throw new Error(`the contract has no ${id}`);
  return found;
};

const escape = (step: string): string => encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'));
const compiled = new Map<string, ValidateFunction>();

/** What is wrong with the answer; nothing when the contract documents it so. */
export function undocumented(id: string, { status, type, body }: { status: number; type: string; body: unknown }): string[] {
  const { spec, path, method } = operation(id);
  const responses = spec.responses ?? {};
  const key = String(status) in responses ? String(status) : status >= 500 ? 'default' : undefined;
  if (key === undefined) return [`${id} does not document ${status}`];
  const response = responses[key]!; // it is there, by the line above
  const media = type.split(';', 1)[0]!;
  const content = follow(response).content ?? {};
  if (!(media in content)) return [`${id} ${status} does not document ${type}`];
  if (!/json/.test(media)) return [];
  const at = '$ref' in response ? response.$ref : `#/paths/${escape(path)}/${method}/responses/${key}`;
  const ref = `contract${at}/content/${escape(media)}/schema`;
  const validate = compiled.get(ref) ?? ajv.compile({ $ref: ref });
  compiled.set(ref, validate);
  return validate(body) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${id} ${status} ${instancePath} ${message}`);
}

const requestSchema = (ref: string): ValidateFunction => {
  const validate = compiled.get(ref) ?? ajv.compile({ $ref: ref });
  compiled.set(ref, validate);
  return validate;
};

/** Whether the contract's schema allows this body. */
export function allowsBody(id: string, body: unknown): boolean {
  const { path, method } = operation(id);
  return requestSchema(`contract#/paths/${escape(path)}/${method}/requestBody/content/application~1json/schema`)(body) === true;
}

/** Whether the contract's schema allows this text as the value of a parameter. */
export function allowsParameter(id: string, name: string, text: string): boolean {
  const { parameters } = operation(id);
  const schema = follow<SchemaObject>(parameters.find((parameter) => parameter.name === name)!.schema!); // callers take the name from there
  const type = 'type' in schema ? schema.type : 'string';
  const value = type === 'integer' ? (/^-?\d+$/.test(text) ? Number(text) : text) : type === 'boolean' ? ({ true: true, false: false }[text] ?? text) : type === 'array' ? text.split(',') : text;
  const key = `${id} ${name}`, validate = compiled.get(key) ?? ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"contract#/')));
  compiled.set(key, validate);
  return validate(value) === true;
}
