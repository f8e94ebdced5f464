// The types of our handlers, read off the contract: one function per operationId, no more, no less.
import type { operations } from '../generated/api.ts';
import type { Caller } from './auth.ts';
import type { EventStream } from './sse.ts';

export type OperationId = keyof operations;

declare const says: unique symbol;
/** A T as JSON text: the store keeps most of a session that way, and nothing parses it again. No text is one by itself: `handlers/present.ts` says which are. */
export type Json<T> = string & { readonly [says]: (exactly: T) => T };

/** What the contract documents for the 200 of an operation. */
export type Answer<Id extends OperationId> = operations[Id]['responses'] extends { 200: { content: { 'application/json': infer B } } } ? B : never;

type Param<O, In extends string> = O extends { parameters: { [K in In]?: infer P } } ? NonNullable<P> : never;
type Body<O> = O extends { requestBody: { content: { 'application/json': infer B } } } ? B
  : O extends { requestBody?: infer R } ? [R] extends [undefined] ? undefined : R extends { content: { 'application/json': infer B } } ? B | undefined : undefined : undefined;

/** Headers a status carries, less those that every answer has. */
type Headers<R> = R extends { headers: infer H } ? { [K in keyof H as string extends K ? never : K extends 'X-Request-Id' | 'RateLimit' | 'RateLimit-Policy' ? never : K]: H[K] } : {};
type WithHeaders<R> = {} extends Headers<R> ? { headers?: never } : { headers: Headers<R> };

/** One member per documented success: the status is the discriminant, the body is the documented one. */
type Reply<R> = { [S in keyof R & number]:
  R[S] extends { content: { 'application/json': infer B } } ? { status: S; body: B | Json<B> } & WithHeaders<R[S]>
  : R[S] extends { content: { 'text/event-stream': unknown } } ? { status: S; stream: EventStream }
  : never }[keyof R & number];

export interface Call<O> {
  path: Param<O, 'path'>;
  query: Param<O, 'query'>;
  header: { [K in keyof Param<O, 'header'> as Lowercase<K & string>]: Param<O, 'header'>[K] };
  body: Body<O>;
  caller: Caller;
  requestId: string;
}

export type Handler<Id extends OperationId> = (call: Call<operations[Id]>) => Promise<Reply<operations[Id]['responses']>>;

/** Total: a forgotten operation, an undocumented status or a wrong body does not compile. */
export type Handlers = { [Id in OperationId]: Handler<Id> };
