// Values of the contract's schemas, and values that no schema expects.
import fc, { type Arbitrary } from 'fast-check';
import type { SchemaObject } from 'openapi-typescript';
import { follow } from '../contract/contract.ts';

type Schema = Parameters<typeof follow<SchemaObject>>[0];
interface Node { type?: string | string[]; enum?: unknown[]; const?: unknown; format?: string; pattern?: string; minLength?: number; maxLength?: number; minimum?: number; maximum?: number; minItems?: number; maxItems?: number; uniqueItems?: boolean; items?: Schema; properties?: Record<string, Schema>; required?: string[]; additionalProperties?: unknown }

// Letters and what tends to be mistaken for something else: by SQL, HTML, URLs, shells, logs, terminals, and by whoever counts characters.
const LETTERS = [...'abcXYZ019 ._-~!*()', ...'"\'`\\/%&?#+=:;,@$<>[]{}|^', 'é', 'ß', 'İ', '漢', '😀', '\u{10ffff}', '\u0301', '\u200b', '\u200d', '\u202e', '\ufeff', '\u00a0', '\ufffd', '\u{e0001}', '%00', '${7*7}', '{{7}}', '-- ', '\\u0000', '<b>'];
/** Not in a line of text, but in free JSON. */
const CONTROLS = ['\n', '\r', '\t', '\u0001', '\u001b[31m', '\u007f', '\u0085', '\u2028', '\u2029'];
const NAMES = ['name', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__', 'length', '$ref', '$where', '', ' ', 'a.b', 'a/b', 'a~b', '0', '-1', 'id', 'then', 'toJSON', 'é'];

const length = (text: string) => [...text].length;

const line = (least: number, most: number, letters = LETTERS): Arbitrary<string> => fc.oneof(
  { weight: 8, arbitrary: fc.array(fc.constantFrom(...letters), { minLength: Math.max(1, least), maxLength: 12 }).map((all) => [...all.join('')].slice(0, most).join('')) },
  { weight: 1, arbitrary: fc.constantFrom('a', '😀', 'é').map((letter) => letter.repeat(most)) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', minLength: Math.max(1, least), maxLength: 20 }).map((text) => [...text].slice(0, most).join('')).filter((text) => length(text) >= least && /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u.test(text)) },
);

const moment = fc.tuple(fc.oneof(fc.date({ min: new Date('0001-01-02T00:00:00Z'), max: new Date('9999-12-30T00:00:00Z'), noInvalidDate: true }), fc.date({ min: new Date(Date.now() - 3_600_000), max: new Date(Date.now() + 86_400_000), noInvalidDate: true })), fc.nat(5))
  .map(([date, form]) => {
    const text = date.toISOString();
    return [text, text.replace(/\.\d+/, ''), text.replace('Z', '+00:00'), text.toLowerCase(), text.replace(/\.\d+Z/, '.123456789Z'), text.replace('Z', '-00:00')][form]!; // as many as forms
  });

/** Any JSON that is kept as it is. */
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 4, withCrossShrink: false },
    fc.oneof(fc.constant(null), fc.boolean(), fc.integer(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 }).filter((value) => !Number.isInteger(value) || Number.isSafeInteger(value)), line(0, 30, [...LETTERS, ...CONTROLS])),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...NAMES), tie('value'), { maxKeys: 4 })),
})).value;

/** What the schema allows. An id of something that is there is a placeholder such as `@session:7`, filled in before it is sent. */
export function valid(schema: Schema): Arbitrary<unknown> {
  const node = follow(schema) as Node; // what of JSON Schema the contract uses
  if (node.const !== undefined) return fc.constant(node.const);
  if (node.enum) return fc.constantFrom(...node.enum);
  const types = [node.type ?? 'string'].flat();
  return fc.oneof(...types.map((type): Arbitrary<unknown> => {
    switch (type) {
      case 'null': return fc.constant(null);
      case 'boolean': return fc.boolean();
      case 'integer': return fc.oneof(fc.integer({ min: node.minimum ?? -1_000, max: Math.min(node.maximum ?? 1_000, 2 ** 31 - 1) }), fc.constantFrom(node.minimum ?? 0, node.maximum ?? 1_000));
      case 'array': return node.uniqueItems ? fc.uniqueArray(valid(node.items!), { minLength: node.minItems ?? 0, maxLength: 4 }) : fc.array(valid(node.items!), { minLength: node.minItems ?? 0, maxLength: Math.min(node.maxItems ?? 10, 10) }); // an array says of what
      case 'object': {
        const known = fc.record(Object.fromEntries(Object.entries(node.properties ?? {}).map(([name, property]) => [name, valid(property)])), { requiredKeys: node.required ?? [] });
        return node.additionalProperties !== true ? known
          : fc.tuple(fc.dictionary(fc.constantFrom(...NAMES.filter((name) => !(name in (node.properties ?? {})))), json, { maxKeys: 4 }), known).map(([more, own]) => ({ ...more, ...own }));
      }
      default:
        if (node.format === 'uuid') return fc.nat(1_000).map((n) => `@session:${n}`);
        if (node.format === 'date-time') return moment;
        if (node.pattern === '^[A-Za-z0-9_-]+$') return fc.nat(1_000).map((n) => `@cursor:${n}`);
        return line(node.minLength ?? 0, node.maxLength ?? 200);
    }
  }));
}

/** A number, or half a character, that JSON can say and JavaScript's own JSON cannot: written as it is. */
export class Verbatim {
  readonly text: string;
  constructor(text: string) { this.text = text; }
}

let deep = '"x"';
for (let level = 0; level < 40; level++) deep = level % 2 ? `[${deep}]` : `{"a":${deep}}`;

/** What hardly any schema expects, as JSON values and as texts. */
export const odd: Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 2 ** 53, -(2 ** 53), 1e21, '', ' ', '\0', 'a\0b', '\ud800', 'a\udfff', '\n', '\u2028', 'x'.repeat(201), 'x'.repeat(256), '😀'.repeat(201), 'x'.repeat(9_000), [], {}, [null], [[]], { name: null },
    'null', 'true', '0', '-0', '1e3', '0x10', 'NaN', 'undefined', '[object Object]', "' or 1=1 --", '"; drop table sessions; --', '<script>alert(1)</script>', '../../etc/passwd', '${jndi:ldap://127.0.0.1/x}', '%00', '%ff', '\r\nSet-Cookie: a=b', '__proto__', 'constructor',
    '2026-02-31T00:00:00Z', '2026-01-01', '2026-01-01T00:00:00', '2026-01-01 00:00:00Z', '10000-01-01T00:00:00Z', '0000-01-01T00:00:00+23:59', '2026-12-31T23:59:60Z', '+002026-01-01T00:00:00Z', 'now', '1767225600',
    '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ABCDEF00-0000-7000-8000-00000000000A', '@session:1 ', 'urn:uuid:00000000-0000-0000-0000-000000000000', '@application', '@elsewhere'),
  fc.constantFrom('1e400', '-1e400', '-0', '1E-400', '123456789012345678901234567890', '0.1000000000000000055511151231257827', '"\\ud83d"', '"\\u0000"', '{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"a":1,"a":2}', deep, `[${'[],'.repeat(3_000)}[]]`).map((text) => new Verbatim(text)),
  json, fc.string({ unit: 'binary', maxLength: 40 }));

/** JSON as it goes over the wire. */
export function write(value: unknown): string {
  if (value instanceof Verbatim) return value.text;
  if (Array.isArray(value)) return `[${value.map(write).join()}]`;
  if (typeof value === 'object' && value !== null) return `{${Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}:${write(inner)}`).join()}}`;
  return JSON.stringify(value) ?? 'null';
}
