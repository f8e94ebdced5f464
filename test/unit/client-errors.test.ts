// What a call rejects with: an error of ours, whatever answered or did not.
import { describe, expect, it } from 'vitest';
import type { Client } from '../../client/client.ts';
import { ConnectionError, ProblemError, ResponseError, retryAfterMs, RollcallError } from '../../client/problem.ts';
import * as at from './client-peer.ts';

const { APP, ID } = at;

async function failure(answer: Parameters<typeof at.peer>[0] | undefined, options: object = {}): Promise<unknown> {
  const peer = await at.peer(...(answer ? [answer] : []));
  const { client } = at.clientOf(peer, { retries: 0, ...options });
  return client.sessions.get(APP, ID).then(
    () => 'it succeeded',
    (reason: unknown) => reason,
  );
}

describe('a refusal', () => {
  it('is a ProblemError with everything the problem says', async () => {
    const errors = [{ pointer: '/query/limit', detail: 'must be <= 1000' }];
    const error = await failure(at.problem(400, 'invalid-request', { detail: 'Mend it.', errors }));
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toBeInstanceOf(RollcallError);
    expect(error).toMatchObject({
      name: 'ProblemError',
      message: '400 invalid-request: Mend it. /query/limit must be <= 1000.',
      status: 400,
      type: '/docs/errors#invalid-request',
      code: 'invalid-request',
      requestId: 'req-1',
      errors,
      problem: { title: 'It was refused.', detail: 'Mend it.' },
      isRetryable: false,
    });
  });

  it('that names nothing to mend has no errors, and its title for a message', async () => {
    expect(await failure(at.problem(404, 'not-found'))).toMatchObject({
      message: '404 not-found: It was refused.',
      errors: [],
      retryAfterMs: undefined,
    });
  });

  it('says when to come back', async () => {
    const error = await failure(at.problem(429, 'rate-limited', {}, { 'retry-after': '2' }));
    expect(error).toMatchObject({ isRetryable: true, retryAfterMs: 2_000 });
  });

  it('by something that speaks RFC 9457 without fragments keeps its type as the code', async () => {
    expect(await failure(at.problem(403, '', { type: 'about:blank' }))).toMatchObject({ code: 'about:blank' });
  });
});

describe('an answer that is not of this API', () => {
  it.each([
    ['an HTML 502', at.page(502, '<html>Bad gateway</html>'), 502, '502 is not an answer of this API (text/html).'],
    ['an empty 405', (response) => response.writeHead(405).end(), 405, '405 is not an answer of this API (empty).'],
    ['an HTML 200', at.page(200, '<html>Log in</html>'), 200, '200 is not an answer of this API (text/html).'],
    ['an empty 200', at.page(200, ''), 200, '200 is not an answer of this API (empty).'],
    ['a 204', (response) => response.writeHead(204).end(), 204, '204 is not an answer of this API (empty).'],
    ['a 200 of null', at.json(200, null), 200, '200 is not an answer of this API (application/json).'],
    ['JSON that is no problem', at.json(500, { type: 'error' }), 500, '500 is not an answer of this API (application/json).'],
    [
      'a problem whose errors are no list',
      at.problem(400, 'odd', { errors: 7 }),
      400,
      '400 is not an answer of this API (application/problem+json).',
    ],
    ['a redirect', at.page(307, '', { location: '/elsewhere' }), 307, '307 is not an answer of this API (empty).'],
  ] satisfies [string, Parameters<typeof at.peer>[0], number, string][])(
    'is a ResponseError: %s',
    async (_name, answer, status, message) => {
      const error = await failure(answer);
      expect(error).toBeInstanceOf(ResponseError);
      expect(error).toMatchObject({ name: 'ResponseError', status, message });
    },
  );

  it('is quoted up to a thousand characters, with the request id when there is one', async () => {
    const error = await failure(at.page(502, 'x'.repeat(5_000), { 'x-request-id': 'req-2' }));
    expect(error).toMatchObject({ body: 'x'.repeat(1_000), requestId: 'req-2' });
  });
});

describe('no answer', () => {
  it.each([
    ['a broken connection', at.breaks],
    ['a body that breaks off', at.breaksOff],
  ])('is a ConnectionError with its cause: %s', async (_name, answer) => {
    const error = await failure(answer);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ name: 'ConnectionError', isRetryable: true, cause: expect.any(Error) });
  });

  it('names the call without its query', async () => {
    const peer = await at.peer(at.breaks);
    const { client } = at.clientOf(peer, { retries: 0 });
    await expect(client.sessions.page(APP, { userId: 'user_ada' })).rejects.toThrow(
      `GET ${peer.url}/api/v1/applications/${APP}/sessions got no complete answer.`,
    );
  });
});

describe('a call that cannot be made', () => {
  const cannot = async (options: object, call = (client: Client): Promise<unknown> => client.sessions.get(APP, ID)) => {
    const peer = await at.peer(at.ok);
    const error = await call(at.clientOf(peer, options).client).catch((reason: unknown) => reason);
    expect(peer.received).toEqual([]);
    expect(error).toBeInstanceOf(RollcallError);
    // Just asserted.
    return error as RollcallError;
  };

  it('says that the token function failed, and why', async () => {
    const cause = new Error('the vault is sealed');
    expect(await cannot({ token: () => Promise.reject(cause) })).toMatchObject({ isRetryable: false, cause });
  });

  it('says that a token is unfit, without quoting it', async () => {
    const error = await cannot({ token: 'sec\nret' });
    expect(error.message).toBe('The token is empty or not fit for a header.');
    expect(error.cause).toBeUndefined();
    await cannot({ token: '' });
  });

  it('says so when the base URL or a parameter is none', async () => {
    expect(await cannot({ baseUrl: '' })).toMatchObject({ message: 'The request could not be made: its cause says why. The baseUrl is "".', cause: expect.any(Error) });
    expect((await cannot({}, (client) => client.sessions.page(APP, { userId: '\ud800' }))).cause).toBeInstanceOf(Error);
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2026-11-23T12:00:00Z');
  it.each([
    ['2', 2_000],
    ['0', 0],
    ['Mon, 23 Nov 2026 12:00:05 GMT', 5_000],
    ['Mon, 23 Nov 2026 11:00:00 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    [null, undefined],
  ])('of %j is %j ms', (header, ms) => {
    expect(retryAfterMs(header, now)).toBe(ms);
  });
});
