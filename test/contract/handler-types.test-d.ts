// What does not compile in a handler; the type check of the repository runs it, there is nothing to execute.
import { expectTypeOf } from 'vitest';
import type { operations } from '../../generated/api.ts';
import type { Answer, Handler, Handlers, Json, OperationId } from '../../server/operations.ts';

declare const handlers: Handlers;
declare const session: Json<Answer<'getSession'>['session']>, one: Json<Answer<'getSession'>>, connected: Json<Answer<'createSession'>>, page: Json<Answer<'listSessions'>>;
const application = { id: '', name: '', organizationId: '', createdAt: '' };

// One function for each operationId of the contract.
expectTypeOf<OperationId>().toEqualTypeOf<keyof operations>();
const { listSessions: _forgotten, ...others } = handlers;
// @ts-expect-error a forgotten operation
others satisfies Handlers;
// @ts-expect-error an invented operation
({ ...handlers, inventSession: handlers.getSession }) satisfies Handlers;
// @ts-expect-error an operation in the place of another
({ ...handlers, getSession: handlers.getApplication }) satisfies Handlers;

// Answers: the status is documented, the body is that status's, and its headers are there.
(async () => ({ status: 200, body: { application } })) satisfies Handler<'getApplication'>;
(async () => ({ status: 201, body: { application }, headers: { Location: '/' } })) satisfies Handler<'createApplication'>;
(async () => ({ status: 200, body: one })) satisfies Handler<'getSession'>;
(async () => ({ status: 200, body: page })) satisfies Handler<'listSessions'>;
// @ts-expect-error an undocumented status
(async () => ({ status: 204, body: { application } })) satisfies Handler<'getApplication'>;
// @ts-expect-error a refusal is thrown, not answered
(async () => ({ status: 404, body: { application } })) satisfies Handler<'getApplication'>;
// @ts-expect-error a success of another operation
(async () => ({ status: 201, body: { application } })) satisfies Handler<'getApplication'>;
// @ts-expect-error no body
(async () => ({ status: 200 })) satisfies Handler<'getApplication'>;
// @ts-expect-error a body without a required field
(async () => ({ status: 200, body: { application: { id: '', name: '', organizationId: '' } } })) satisfies Handler<'getApplication'>;
// @ts-expect-error a field of the wrong type
(async () => ({ status: 200, body: { application: { ...application, createdAt: new Date() } } })) satisfies Handler<'getApplication'>;
// @ts-expect-error a value that is none of the enum
(async () => ({ status: 200, body: { accepted: 1, ended: [{ sessionId: '', reason: 'lost' }] } })) satisfies Handler<'recordHeartbeats'>;
// @ts-expect-error a required header is missing
(async () => ({ status: 201, body: { application } })) satisfies Handler<'createApplication'>;
// @ts-expect-error a header that is not documented for this answer
(async () => ({ status: 200, body: { application }, headers: { Location: '/' } })) satisfies Handler<'getApplication'>;
// @ts-expect-error text, which could say anything
(async () => ({ status: 200, body: '{}' })) satisfies Handler<'getSession'>;
// @ts-expect-error text around what has been presented
(async () => ({ status: 200, body: `{"session":${session}}` })) satisfies Handler<'getSession'>;
// @ts-expect-error text that says something else: a session without its envelope
(async () => ({ status: 200, body: session })) satisfies Handler<'getSession'>;
// @ts-expect-error a list where one is documented
(async () => ({ status: 200, body: page })) satisfies Handler<'getSession'>;
// @ts-expect-error one without its generation
(async () => ({ status: 200, body: one })) satisfies Handler<'createSession'>;
// @ts-expect-error a field more than is documented
(async () => ({ status: 200, body: connected })) satisfies Handler<'getSession'>;
// @ts-expect-error text of another operation
(async () => ({ status: 200, body: connected })) satisfies Handler<'getApplication'>;
// @ts-expect-error a body where a stream is documented
(async () => ({ status: 200, body: {} })) satisfies Handler<'streamApplicationEvents'>;
// @ts-expect-error a stream where a body is documented
(async () => ({ status: 200, stream: { applicationId: '', start: async () => {} } })) satisfies Handler<'getApplication'>;

// What a handler gets is what the contract says, no more.
type CallOf<Id extends OperationId> = Parameters<Handler<Id>>[0];
expectTypeOf<CallOf<'getSession'>['path']>().toEqualTypeOf<{ applicationId: string; sessionId: string }>();
expectTypeOf<CallOf<'listApplications'>['query']>().toEqualTypeOf<{ limit?: number; cursor?: string }>();
expectTypeOf<CallOf<'revokeSessions'>['body']>().toEqualTypeOf<undefined>();
expectTypeOf<undefined>().toExtend<CallOf<'createSession'>['body']>();
expectTypeOf<undefined>().not.toExtend<CallOf<'createApplication'>['body']>();
// @ts-expect-error a parameter that the operation does not have
(async ({ path }) => ({ status: 200, body: { application: { ...application, id: path.sessionId } } })) satisfies Handler<'getApplication'>;
