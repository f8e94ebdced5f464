// Requests for every operation, made from the contract: as it wants them, one step beside it, and far away from it.
import fc, { type Arbitrary } from 'fast-check';
import type { ParameterObject, SchemaObject } from 'openapi-typescript';
import { follow, operations, type Operation } from '../contract/contract.ts';
import { odd, valid, write } from './values.ts';

/** Who calls. Only `everyone` may do everything everywhere in its lane. */
export type Who = 'everyone' | 'client' | 'bound' | 'foreign' | 'nobody';

export interface Attempt {
  readonly operation: Operation;
  /** As the contract wants it, one step beside it, or anything. */
  readonly kind: 'valid' | 'beside' | 'hostile';
  /** What was changed about a valid request. */
  readonly change: string;
  readonly who: Who;
  readonly method: string;
  /** Parts of the path that are filled in: encoded already where they are not placeholders. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: readonly string[];
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string | Buffer | undefined;
}

const schemaOf = (parameter: ParameterObject) => follow<SchemaObject>(parameter.schema!);
const inPlace = (operation: Operation, place: string) => operation.parameters.filter((parameter) => parameter.in === place);
const bodySchema = (operation: Operation) => operation.body?.content?.['application/json'];
const encodings = [encodeURIComponent, (text: string) => new URLSearchParams([['', text]]).toString().slice(1)];
const known: Record<string, string> = { applicationId: '@application', sessionId: '@session', credentialId: '@credential' };

const encodeAs = (form: number, value: unknown): string => {
  const text = Array.isArray(value) ? value.map((item) => typeof item === 'string' ? item : write(item)).join() : typeof value === 'string' ? value : write(value);
  return text.startsWith('@') && !/[^@\w:]/.test(text) ? text : encodings[form]!(text.toWellFormed()); // there are two
};

function validRequest(operation: Operation): Arbitrary<Attempt> {
  const media = bodySchema(operation);
  const body = media ? valid(follow(media).schema!) : fc.constant(undefined);
  const query = fc.tuple(...inPlace(operation, 'query').map((parameter) => fc.tuple(fc.constant(parameter.name), fc.option(valid(schemaOf(parameter)), { freq: 2 }), fc.nat(1))));
  const path = fc.tuple(...inPlace(operation, 'path').map(({ name }) => fc.tuple(fc.constant(name), fc.nat(1_000).map((n) => `${known[name] ?? '@nothing'}:${n}`))));
  const lastEvent = inPlace(operation, 'header').length > 0 ? fc.option(fc.nat(1_000).map((n) => ['Last-Event-ID', `@event:${n}`] as const)) : fc.constant(null);
  return fc.record({ body, query, path, lastEvent, without: fc.boolean() }).map(({ body, query, path, lastEvent, without }) => {
    const sent = media && !(without && operation.body?.required !== true && Object.keys(body as object).length === 0) ? write(body) : undefined; // a schema of a body is one of an object
    return {
      operation, kind: 'valid', change: '', who: 'everyone', method: operation.method.toUpperCase(), path: Object.fromEntries(path),
      query: query.flatMap(([name, value, form]) => value === null ? [] : [`${name}=${encodeAs(form, value)}`]),
      headers: [...(sent === undefined ? [] : [['Content-Type', 'application/json'] as const]), ...(lastEvent ? [lastEvent] : [])], body: sent,
    };
  });
}

const header = fc.oneof(
  fc.constantFrom<readonly [string, string]>(['Accept', 'text/html'], ['Accept', 'application/x-nothing;q=0'], ['Accept-Encoding', 'gzip, br'], ['If-None-Match', '*'], ['If-Match', '"x"'], ['If-Modified-Since', 'yesterday'], ['Range', 'bytes=0-1'], ['X-HTTP-Method-Override', 'DELETE'], ['X-Method-Override', 'DELETE'],
    ['X-Forwarded-Prefix', '/api/v2'], ['X-Original-URL', '/livez'], ['X-Forwarded-For', '127.0.0.1'], ['Origin', 'null'], ['Cookie', 'a=b'], ['Prefer', 'code=500'], ['Accept-Language', 'x'.repeat(2_000)], ['Upgrade', 'websocket'], ['Last-Event-ID', 'x'], ['Last-Event-ID', '@event:1'], ['Last-Event-ID', `zzzzzzzzzzz.zzzzzzzzzzz.zzzzzzzzzzz.ffffff`]),
  fc.tuple(fc.constantFrom('X-Request-Id', 'Last-Event-ID', 'User-Agent', 'Accept', 'If-None-Match', 'Traceparent', 'Referer'), fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f).map((code) => String.fromCharCode(code)), maxLength: 300 })));

const contentType = fc.constantFrom('text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=utf-16', 'application/json; charset=utf-7', 'APPLICATION/JSON', 'application/json;x=y', 'application/problem+json', 'application/', '', 'application/json, text/plain', '*/*', 'application/json; charset=UTF-8');

/** A path parameter as nobody should write it: as it goes over the wire. */
const oddSegment = fc.oneof(odd.map((value) => encodeAs(0, value)), fc.constantFrom('', '%', '%2', '%ff', '%C0%AF', '%E0%A4%A', '.', '..', '%2e%2e', '%2F', '%5C', '%00', ';', ';x=1', '*', ':applicationId', '{applicationId}', '@application:0%20', '@session:0/', '%25', '+', '~'));

/** Puts something else at one place of a JSON value; `where` chooses the place. */
function replaceAt(value: unknown, where: number, change: (found: unknown) => unknown): unknown {
  if (typeof value !== 'object' || value === null || where % 3 === 0 || Object.keys(value).length === 0) return change(value);
  const names = Object.keys(value), name = names[where % names.length]!; // there is one
  const changed = replaceAt((value as Record<string, unknown>)[name], Math.floor(where / 3), change);
  return Array.isArray(value) ? value.map((item, index) => index === Number(name) ? changed : item) : { ...value, [name]: changed };
}

const textOf = ({ body }: Attempt): string => typeof body === 'string' ? body : '{}';

/** One step beside a valid request. */
function beside(attempt: Attempt): Arbitrary<Attempt> {
  const { operation } = attempt, names = inPlace(operation, 'query').map(({ name }) => name), segments = Object.keys(attempt.path);
  const others = attempt.query.filter((part) => !part.startsWith('@'));
  const changed = (change: string, more: Partial<Attempt>): Attempt => ({ ...attempt, kind: 'beside', change, ...more });
  const typed = (type: string) => [...attempt.headers.filter(([name]) => name !== 'Content-Type'), ['Content-Type', type] as const];
  const steps: Arbitrary<Attempt>[] = [
    header.map((one) => changed('header', { headers: [...attempt.headers.filter(([name]) => name !== one[0]), one] })),
    fc.constantFrom<Who>('client', 'bound', 'foreign', 'nobody').map((who) => changed('who', { who })),
    fc.constantFrom('HEAD', 'OPTIONS', 'PUT', 'PATCH', 'TRACE', 'PROPFIND').map((method) => changed('method', { method })),
    odd.map((value) => changed('unknown parameter', { query: [...others, `${encodeAs(0, value)}=1`] })),
    fc.constantFrom('', '&', '&&', '=', '=1', '?', '%', '%ff', 'limit', 'limit=', 'limit[]=1', 'limit[__proto__]=1', '__proto__=1', 'userId[]=x', 'Limit=1', 'limit=1;cursor=x', 'limit=1%00', '#', '+').map((text) => changed('odd query', { query: [...others, text] })),
  ];
  if (names.length > 0) steps.push(
    fc.tuple(fc.constantFrom(...names), odd, fc.nat(1)).map(([name, value, form]) => changed(`parameter ${name}`, { query: [...others.filter((part) => !part.startsWith(`${name}=`)), `${name}=${encodeAs(form, value)}`] })),
    fc.constantFrom(...names).map((name) => changed('repeated parameter', { query: [...others, ...Array(2).fill(others.find((part) => part.startsWith(`${name}=`)) ?? `${name}=1`) as string[]] })),
  );
  if (segments.length > 0) steps.push(fc.tuple(fc.constantFrom(...segments), oddSegment).map(([name, text]) => changed(`path ${name}`, { path: { ...attempt.path, [name]: text } })));
  if (attempt.body !== undefined || operation.body) {
    const value: unknown = JSON.parse(textOf(attempt));
    const put = (change: string, next: unknown) => changed(change, { body: write(next), headers: typed('application/json') });
    steps.push(
      ...Array(4).fill(fc.tuple(fc.nat(10_000), odd).map(([where, other]) => put('value', replaceAt(value, where, () => other)))) as Arbitrary<Attempt>[],
      fc.tuple(fc.nat(10_000), fc.constantFrom('id', 'status', 'organizationId', 'agentId', 'createdAt', 'owner', '__proto__', 'constructor', 'x', '', 'a\0b', '\ud800'), odd).map(([where, name, other]) => put('more', replaceAt(value, where, (found) => typeof found === 'object' && found !== null && !Array.isArray(found) ? Object.fromEntries([...Object.entries(found), [name, other]]) : [found, other]))),
      fc.nat(10_000).map((where) => put('less', replaceAt(value, where, (found) => typeof found === 'object' && found !== null ? Object.fromEntries(Object.entries(found).slice(1)) : []))),
      contentType.map((type) => changed('content type', { headers: typed(type), body: attempt.body ?? '{}' })),
      fc.constantFrom('gzip', 'br', 'deflate', 'identity', 'x', 'gzip, gzip').map((coding) => changed('content coding', { body: attempt.body ?? '{}', headers: [...typed('application/json'), ['Content-Encoding', coding]] })),
      fc.constantFrom<(text: string) => string | Buffer>((text) => text.slice(0, -1), (text) => `${text}x`, (text) => `\ufeff${text}`, (text) => `[${text}]`, (text) => `${text}${text}`, (text) => text.replace('{', '{"name":"first",'), () => '', () => ' ', () => 'null', () => '"x"', () => '0',
        () => `${'['.repeat(5_000)}${']'.repeat(5_000)}`, () => '{"a":'.repeat(5_000), (text) => `${text}${' '.repeat(70_000)}`, (text) => Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from([0xff, 0xfe]), Buffer.from('}')]), (text) => Buffer.from(text, 'utf16le'), (text) => text.replace(/"/g, "'"), (text) => `/* */${text}`, (text) => text.replace(/}$/, ',}'))
        .map((spoil) => changed('spoiled body', { body: spoil(textOf(attempt)), headers: typed('application/json') })),
    );
  } else steps.push(fc.constantFrom('{}', 'x', 'null').map((text) => changed('a body where none belongs', { body: text, headers: typed('application/json') })));
  return fc.oneof(...steps);
}

function hostile(attempt: Attempt): Arbitrary<Attempt> {
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), odd.map((value) => write(value)));
  return fc.record({
    path: fc.tuple(...Object.keys(attempt.path).map((name) => oddSegment.map((segment) => [name, segment] as const))),
    query: fc.array(text.map((all) => encodeURIComponent(all.toWellFormed()).replace(/%3D|%26/gi, unescape)), { maxLength: 5 }),
    headers: fc.array(header, { maxLength: 5 }), type: contentType, body: fc.option(fc.oneof(text, fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)))),
    who: fc.constantFrom<Who>('everyone', 'client', 'bound', 'foreign', 'nobody'),
  }).map(({ path, body, type, headers, ...more }) => ({
    ...attempt, kind: 'hostile', change: 'everything', ...more, path: Object.fromEntries(path), body: body ?? undefined,
    headers: [...headers.filter(([name], index) => headers.findIndex(([other]) => other === name) === index), ...(body === null ? [] : [['Content-Type', type] as const])],
  }));
}

/** Those that build something up come more often than those that take everything away. */
const weights: Record<string, number> = { createSession: 12, recordHeartbeats: 4, getSession: 4, listSessions: 8, deleteApplication: 1, revokeSessions: 2 };

export const attempts: Arbitrary<Attempt> = fc.oneof(...operations.map((operation) => ({
  weight: weights[operation.id] ?? 3,
  arbitrary: fc.oneof(
    { weight: 4, arbitrary: validRequest(operation) },
    { weight: 5, arbitrary: validRequest(operation).chain(beside) },
    { weight: 1, arbitrary: validRequest(operation).chain(hostile) }),
})));
