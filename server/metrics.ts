// Every metric, with the words an operator reads; and the port they are read from.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import type { Server } from 'node:http';
import { problemCodes } from './problem.ts';

const { createServer } = process.getBuiltinModule('node:http'); // see http.ts

const REQUEST_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const DELAY_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];
/** How often the event loop's delay is looked at; the reported delays contain it. */
const LOOP_MS = 10;
const MOST_UNCOUNTED = 500;

export type Metrics = ReturnType<typeof createMetrics>;
export type RevocationKind = 'all' | 'filtered' | 'one' | 'application_deleted' | 'credential_allowed';

/** A registry of its own for each server. No label has as many values as there are users, applications or paths. */
export function createMetrics({ version, store, isReady }: { version: string; store: 'sqlite' | 'postgresql'; isReady: () => Promise<boolean> }) {
  const registry = new Registry();
  const registers = [registry];
  const counter = <Label extends string = never>(name: string, help: string, ...labelNames: Label[]) => new Counter({ name, help, labelNames, registers });
  const gauge = <Label extends string = never>(name: string, help: string, ...labelNames: Label[]) => new Gauge({ name, help, labelNames, registers });
  const histogram = <Label extends string = never>(name: string, help: string, buckets: number[], ...labelNames: Label[]) => new Histogram({ name, help, buckets, labelNames, registers });

  const metrics = {
    registry,
    /** All of them, as they are scraped. */
    read(): Promise<string> {
      countBatches();
      return registry.metrics();
    },
    /** A request is over. Counted together with others, when there are many or somebody looks: the library takes microseconds for each. */
    requestOver(operation: string, status: number | 'aborted', seconds: number): void {
      let batch = batches.get(operation);
      if (!batch) batches.set(operation, batch = { statuses: new Map(), seconds: [] });
      batch.statuses.set(status, (batch.statuses.get(status) ?? 0) + 1);
      if (batch.seconds.push(seconds) === MOST_UNCOUNTED) countBatches();
    },
    requests: counter('rollcall_requests_total', 'Requests that are over, by operation (an operationId, a kind of page, or unmatched) and HTTP status; aborted: the client left before an answer.', 'operation', 'status'),
    requestSeconds: histogram('rollcall_request_duration_seconds', 'From the head of a request to the end of its answer; of a stream, to its opening.', REQUEST_SECONDS, 'operation'),
    refusals: counter('rollcall_refusals_total', 'Requests that were refused, by the code of the problem: unauthorized is a failed authentication, rate-limited a limit that was met.', 'code'),
    streams: gauge('rollcall_streams_open', 'Event streams that are open on this instance: of sessions (a client each) and of applications (whoever watches one).', 'kind'),
    streamsClosed: counter('rollcall_streams_closed_total', 'Event streams that are over, by what ended them; slow_reader and failed deserve a look.', 'kind', 'reason'),
    sessions: gauge('rollcall_sessions', 'Sessions in the store by derivedStatus, all applications together; sampled in the background, the same on every instance.', 'status'),
    revocations: counter('rollcall_revocations_total', 'Revokes that were carried out by this instance, by kind; credential_allowed is the way back.', 'kind'),
    revokedSessions: counter('rollcall_revoked_sessions_total', 'Sessions that revokes of this instance have ended, by kind.', 'kind'),
    revokeSeconds: histogram('rollcall_revoke_event_delay_seconds', 'From the moment of a revoke to the moment its event was written to the last stream of this instance that had to be told; one for each event.', DELAY_SECONDS),
    storeSeconds: histogram('rollcall_store_transaction_duration_seconds', 'Transactions that write, with their wait for the database.', REQUEST_SECONDS),
    storeErrors: counter('rollcall_store_errors_total', 'Times the store was out of reach, or did not answer in time.', 'operation'),
    dutyDone: gauge('rollcall_background_last_success_timestamp_seconds', 'When each background duty was last done to its end, in seconds since the epoch.', 'duty'),
    dutyFailures: counter('rollcall_background_failures_total', 'Rounds of a background duty that failed; each is tried again.', 'duty'),
    backlogSeconds: gauge('rollcall_background_backlog_age_seconds', 'Age of the oldest revoke that is not yet written down row by row, or of the oldest expiry not yet noted; both are in effect before that.'),
    issuerFailures: counter('rollcall_issuer_failures_total', "Attempts to fetch the issuer's keys that failed."),
  };

  const batches = new Map<string, { statuses: Map<number | 'aborted', number>; seconds: number[] }>();
  const countBatches = () => {
    for (const [operation, { statuses, seconds }] of batches) {
      for (const [status, count] of statuses) metrics.requests.inc({ operation, status }, count);
      for (const one of seconds) metrics.requestSeconds.observe({ operation }, one);
    }
    batches.clear();
  };

  // What has not happened yet is 0, so that its first time shows in a rate.
  for (const code of problemCodes) metrics.refusals.inc({ code }, 0);
  for (const kind of ['all', 'filtered', 'one', 'application_deleted', 'credential_allowed'] satisfies RevocationKind[]) {
    metrics.revocations.inc({ kind }, 0);
    if (kind !== 'credential_allowed') metrics.revokedSessions.inc({ kind }, 0);
  }
  for (const kind of ['session', 'application']) metrics.streams.set({ kind }, 0);
  for (const operation of ['read', 'write']) metrics.storeErrors.inc({ operation }, 0);
  for (const duty of ['streams', 'events', 'maintain', 'forget', 'survey']) metrics.dutyFailures.inc({ duty }, 0);

  new Gauge({ name: 'rollcall_ready', help: '1 when /readyz would answer 200, else 0.', registers, async collect() { this.set(await isReady() ? 1 : 0); } });
  gauge('rollcall_build_info', 'Always 1; says which version runs, and on which store.', 'version', 'store').set({ version, store }, 1);
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_MS });
  return metrics;
}

/** Serves the metrics, and that it lives, and nothing else. */
export function metricsServer(metrics: Metrics): Server {
  return createServer({ headersTimeout: 5_000, requestTimeout: 5_000 }, (req, res) => {
    const answer = (status: number, type: string, text: string) => void res.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text), 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' }).end(text);
    const path = req.method === 'GET' || req.method === 'HEAD' ? req.url?.split('?', 1)[0] : undefined;
    if (path === '/livez') return answer(200, 'application/json', '{"status":"ok"}');
    if (path !== '/metrics') return answer(404, 'text/plain', 'The metrics are at /metrics.\n');
    metrics.read().then((text) => answer(200, metrics.registry.contentType, text), (error: Error) => answer(500, 'text/plain', `${error.message}\n`));
  });
}
