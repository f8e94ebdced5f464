// Every path of the contract in every spelling a proxy, a router and a browser might disagree about: nobody gets past the token by one.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contract, operations } from '../contract/contract.ts';
import { targetOf } from '../support/calls.ts';
import { contentsOfSqlite } from '../support/contents.ts';
import { raw, type RawAnswer, type RawRequest } from '../support/raw.ts';
import { startTestService, type TestService } from '../support/service.ts';

let test: TestService, ids: Record<string, string>, foreign: string;
beforeAll(async () => {
  test = await startTestService({ validateResponses: false });
  const applicationId = await test.application();
  const connect = async (body: object) => (await test.call('POST', `/applications/${applicationId}/sessions`, { body })).body.session.id as string;
  await test.call('DELETE', `/applications/${applicationId}/sessions/${await connect({ credentialId: 'grant' })}`);
  ids = { applicationId, sessionId: await connect({}), credentialId: 'grant' };
  foreign = await test.token({ organizationId: 'org_other' });
});
afterAll(() => test.close());

/** One character of each segment written otherwise, and whatever else is said to mean the same path. */
function spellings(path: string, origin: string): string[] {
  const segments = path.split('/'), last = segments.at(-1)!; // a path has one
  const hex = (text: string) => [...text].map((character) => `%${character.charCodeAt(0).toString(16)}`).join('');
  const few = (segment: string) => [segment.toUpperCase(), hex(segment[0]!) + segment.slice(1), `%2e/${segment}`, `x/../${segment}`, `/${segment}`, `%2f${segment}`, `${segment};x=1`];
  const many = (segment: string) => [
    ...few(segment), segment[0]!.toUpperCase() + segment.slice(1), hex(segment).toUpperCase(), hex(hex(segment[0]!)) + segment.slice(1), `${segment};`, `${segment}%20`, `${segment}%09`, `${segment}%00`,
    `.${segment}`, `${segment}.`, `./${segment}`, `x/%2e%2e/${segment}`, `%2e%2e/${segment}`, `..;/${segment}`, `\\${segment}`, `%5c${segment}`, `${segment}%0d%0aX:%20y`, `${segment}\u00ad`, `\uff0f${segment}`, `\u{1d52}${segment}`, `${segment}%c0%af`, `${segment}%ef%bc%8f`,
  ];
  const each = segments.flatMap((segment, index) => segment === '' ? [] : (index === segments.length - 1 ? many : few)(segment).map((other) => [...segments.slice(0, index), other, ...segments.slice(index + 1)].join('/')));
  return [...new Set([
    ...each, `${path}/`, `${path}//`, `${path}/.`, `${path}/..`, `${path}/%2e`, `${path}?`, `${path}??`, `${path}#`, `${path}#x`, `${path}%23`, `${path}%3f`, `${path}.json`, `${path}~`, `${path}\t`, `/${path}`, `//${path}`, `/.${path}`, `/livez/..${path}`, `/docs/..${path}`, `/docs/%2e%2e${path}`, `/livez;${path}`, `/livez%2f..${path}`,
    `${origin}${path}`, `${origin.toUpperCase()}${path}`, `http://elsewhere.example${path}`, `https://user:secret@127.0.0.1${path}`, `${path.slice(1)}`, `*${path}`, `${path}?_method=DELETE&method=DELETE&X-HTTP-Method-Override=DELETE`, path.replace('/v1', ''), path.replace('/v1', '/v2'), path.replace('/v1', '/v1.0'), path.replace('/api', ''), path.replaceAll('/', '%2F'), path.slice(0, -last.length) + encodeURIComponent(last).repeat(2),
  ])];
}

const OVERRIDES = [
  ['X-HTTP-Method-Override', 'GET'], ['X-HTTP-Method', 'GET'], ['X-Method-Override', 'GET'], ['X-Original-URL', '/livez'], ['X-Rewrite-URL', '/livez'], ['X-Forwarded-Prefix', '/livez'], ['X-Forwarded-Path', '/livez'], ['X-Forwarded-Uri', '/livez'],
  ['X-Original-Method', 'OPTIONS'], ['X-Forwarded-Method', 'OPTIONS'], ['X-Forwarded-Host', 'localhost'], ['Forwarded', 'for=127.0.0.1;host=localhost;proto=https'], ['X-Custom-IP-Authorization', '127.0.0.1'], ['Upgrade', 'h2c'], ['Content-Location', '/livez'], ['Max-Forwards', '0'], ['Origin', 'http://127.0.0.1'],
] as const;

const paths = Object.keys(contract.paths ?? {});
const methodsOf = (path: string) => operations.filter((operation) => operation.path === path).map(({ method }) => method.toUpperCase());

/** All of them, a few at a time. */
async function sendAll(requests: readonly RawRequest[]): Promise<(readonly [string, RawAnswer])[]> {
  const answers: (readonly [string, RawAnswer])[] = [];
  for (let at = 0; at < requests.length; at += 32) {
    answers.push(...await Promise.all(requests.slice(at, at + 32).map(async (request) => [`${request.method} ${request.target} ${JSON.stringify(request.headers ?? [])}`, await raw(test.url, request)] as const)));
  }
  return answers;
}

describe.each(paths)('%s', (path) => {
  const plain = () => targetOf(operations.find((operation) => operation.path === path)!, ids); // a path has an operation

  it('is refused without a token however it is written, and nothing happens', async () => {
    const before = contentsOfSqlite(test.directory), target = plain();
    const written = spellings(target, test.url).flatMap((other) => methodsOf(path).slice(-1).map((method): RawRequest => ({ method, target: other }))); // the one that takes most away
    const overridden = OVERRIDES.flatMap((header) => methodsOf(path).map((method): RawRequest => ({ method, target, headers: [header] })));
    expect(written.length).toBeGreaterThan(70);
    const answers = await sendAll([...written, ...overridden]);
    expect(answers.filter(([, { status }]) => ![400, 401, 404, 405].includes(status)).map(([name, { status }]) => `${name}: ${status}`)).toEqual([]);
    expect(answers.filter(([, { headers }]) => headers['content-type']?.startsWith('application/problem+json') !== true).map(([name]) => name)).toEqual([]);
    expect(contentsOfSqlite(test.directory)).toBe(before);
  });

  it.skipIf(!path.includes('{applicationId}'))('shows another organization nothing however it is written', async () => {
    const before = contentsOfSqlite(test.directory);
    const answers = await sendAll(spellings(plain(), test.url).flatMap((target) => methodsOf(path).slice(-1).map((method): RawRequest => ({ method, target, headers: [['Authorization', `Bearer ${foreign}`]] }))));
    // A path that became another one may be a list of their own.
    const wrong = answers.filter(([, { status, text }]) => ![400, 404, 405, 415].includes(status) && !(status === 200 && text === '{"items":[]}'));
    expect(wrong.map(([name, { status }]) => `${name}: ${status}`)).toEqual([]);
    expect(contentsOfSqlite(test.directory)).toBe(before);
  });
});
