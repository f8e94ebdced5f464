// Traces, for whoever loads an OpenTelemetry SDK before the server; without one there is nothing, and it costs nothing.
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Attributes, type Tracer } from '@opentelemetry/api';
import type { IncomingHttpHeaders } from 'node:http';
import type { Database } from './store/database.ts';

export interface RequestSpan {
  readonly traceId: string;
  /** What is done in here belongs to the span. */
  run(work: () => void): void;
  end(name: string, attributes: Attributes, failure: string | undefined): void;
}

export interface Tracing {
  /** Goes on with the caller's trace, where there is one (W3C Trace Context, by the operator's propagator). */
  request(method: string, headers: IncomingHttpHeaders): RequestSpan;
  span<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** None when no SDK was loaded. */
export function findTracing(): Tracing | undefined {
  const provider = trace.getTracerProvider() as { getDelegateTracer?: (name: string) => Tracer | undefined; getTracer(name: string): Tracer }; // the API's own stand-in has one; an SDK's of another copy may not
  const tracer = provider.getDelegateTracer ? provider.getDelegateTracer('rollcall') : provider.getTracer('rollcall');
  return tracer && {
    request(method, headers) {
      const parent = propagation.extract(ROOT_CONTEXT, headers);
      const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes: { 'http.request.method': method } }, parent);
      const within = trace.setSpan(parent, span);
      return {
        traceId: span.spanContext().traceId,
        run: (work) => context.with(within, work),
        end(name, attributes, failure) {
          span.updateName(name).setAttributes(attributes);
          if (failure !== undefined) span.setAttribute('error.type', failure).setStatus({ code: SpanStatusCode.ERROR });
          span.end();
        },
      };
    },
    span: (name, work) => tracer.startActiveSpan(name, async (span) => {
      try {
        return await work();
      } catch (error) {
        span.setAttribute('error.type', error instanceof Error ? error.name : 'unknown').setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    }),
  };
}

/** Each transaction is a span of the request that asked for it. */
export const tracedDatabase = <Opened extends Database>(db: Opened, tracing: Tracing): Opened =>
  ({ ...db, transaction: (...work) => tracing.span('rollcall.store.transaction', () => db.transaction(...work)) });
