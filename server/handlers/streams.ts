// The two event streams: one for a client about its own session, one for whoever watches an application.
import { isAfter, type ApplicationReader, type EventHub, type SessionReader } from '../events.ts';
import type { Handlers } from '../operations.ts';
import { notFound } from '../problem.ts';
import { frame, jitteredRetry, positionFrame } from '../frames.ts';
import type { Sink } from '../sse.ts';
import type { DisconnectReason } from '../session.ts';
import type { EventPosition } from '../store/store.ts';
import { decodeEventId, encodeEventId } from './cursor.ts';
import { found, ownerOf, proofOf, tenantOf } from './input.ts';
import { presentEvent } from './present.ts';
import type { Dependencies } from './index.ts';

/** After so long the client has to show, by opening another stream, that it is not merely suspended. */
const SESSION_STREAM_MS = 5 * 60_000;
const PAGE = 500;
/** Nobody is to come back within the same second after a revoke-all. */
const AFTER_DISCONNECT_MS = [1_000, 10_000] as const;

const nextStep: Record<DisconnectReason, string> = {
  revoked: 'Authenticate again and create a new session.',
  ended: 'Create a new session to connect again.',
  lost: 'The next heartbeat, or a stream of its own, brings the session back.',
};

export const streamHandlers = (dependencies: Dependencies) => ({
  streamSessionEvents: async ({ path, caller }) => {
    const { store, hub, retention } = dependencies;
    const tenant = tenantOf(caller, path), { applicationId, sessionId } = path;
    const { scopes } = caller;
    const owner = ownerOf(caller);
    // Whoever may report on the session keeps it alive by the stream; whoever may only read just watches.
    const reported = scopes.has('sessions:write') || scopes.has('sessions:connect') ? await store.getSession(tenant, sessionId, owner) : undefined;
    const session = found(reported ?? (scopes.has('sessions:read') ? await store.getSession(tenant, sessionId) : undefined));
    const beatNow = async () => found(await store.recordHeartbeats(tenant, owner, [{ sessionId, lastActiveAt: undefined, ...proofOf(caller, retention) }])).accepted === 1;
    let keepsAlive = false;

    return { status: 200, stream: {
      kind: 'session', applicationId, maxAgeMs: SESSION_STREAM_MS,
      beat: () => { if (keepsAlive) store.beat(applicationId, sessionId); },
      async start(sink: Sink) {
        keepsAlive = reported !== undefined && await beatNow();
        const tell = (reason: DisconnectReason) => {
          keepsAlive = false;
          sink.write(frame({ event: 'disconnect', data: { sessionId, reason, detail: nextStep[reason] }, retryMs: jitteredRetry(...AFTER_DISCONNECT_MS) }));
        };
        const reader: SessionReader = {
          generation: undefined,
          over(reason) {
            if (reason !== 'lost') tell(reason);
            else if (keepsAlive && !sink.closed) beatNow().catch(() => sink.end('failed')); // it was away, and is not any more
            else { tell(reason); sink.end(reason); }
          },
          end: (reason) => sink.end(reason),
        };
        sink.onClose(await hub.readSession(applicationId, sessionId, reader));
        // Read once more, now that nothing can be missed.
        const now = await store.getSession(tenant, sessionId);
        const reason = now === undefined ? 'revoked' : now.disconnectReason;
        const revokedMeanwhile = now !== undefined && (reader.revokedGeneration ?? 0) >= now.generation;
        reader.generation = session.generation;
        if (sink.closed) return;
        if (reason === null && !revokedMeanwhile) return;
        tell(reason ?? 'revoked');
        sink.end(reason ?? 'revoked');
      },
    } };
  },

  streamApplicationEvents: async ({ path, header, caller }) => {
    const { store, hub, eventRetention } = dependencies;
    const tenant = tenantOf(caller, path), { applicationId } = path;
    if (!await store.isVisible(tenant)) throw notFound();
    const asked = header['last-event-id'];
    return { status: 200, stream: {
      kind: 'application', applicationId,
      async start(sink: Sink) {
        const from = asked === undefined || asked === '' ? undefined : decodeEventId(asked, applicationId, store.now() - eventRetention);
        const reader: ApplicationReader = { position: { tx: 0, seq: 0 }, live: false, deliver: (bytes) => sink.write(bytes), isThere: () => store.isVisible(tenant), end: () => sink.end('application_deleted') };
        const reading = await hub.readApplication(applicationId, reader);
        sink.onClose(reading.stop);
        if (!await store.isVisible(tenant)) throw notFound(); // it was deleted meanwhile, and nobody would tell us any more
        // Another instance may have read further than this one has yet; what none can have read is of another log.
        const isOurs = from !== undefined && (!isAfter(from, reading.position) || !isAfter(from, await store.newestEvent(applicationId)));
        if (asked !== undefined && asked !== '' && !isOurs) {
          sink.write(frame({ id: encodeEventId(store.now(), reading.position, applicationId), event: 'reset', data: {} }));
        } else if (from !== undefined) {
          reader.position = from;
          await catchUp(dependencies, applicationId, reader, reading, sink);
        }
        goLive(reader, reading);
        // From here on nothing is missed, not even by a reader whose stream breaks before there was an event.
        sink.write(positionFrame(encodeEventId(store.now(), reader.position, applicationId)));
      },
    } };
  },
}) satisfies Partial<Handlers>;

/** What the reader has missed, page by page, no faster than it reads. */
async function catchUp({ store, idleAfter }: Dependencies, applicationId: string, reader: ApplicationReader, reading: { readonly position: EventPosition }, sink: Sink): Promise<void> {
  while (isAfter(reading.position, reader.position) && !sink.closed) {
    const newest = reading.position, events = await store.readEvents(applicationId, reader.position, PAGE);
    const now = store.now();
    for (const event of events) {
      reader.position = event.position;
      sink.write(presentEvent(event, applicationId, now, idleAfter));
      await sink.drained(); // a page of large events is more than may wait unsent
      if (sink.closed) return;
    }
    if (events.length === 0) reader.position = newest; // the rest was forgotten meanwhile
  }
  goLive(reader, reading);
}

/** In one step with the last look at where the others are: what they were given in between would never reach this one. */
function goLive(reader: ApplicationReader, { position }: { readonly position: EventPosition }): void {
  if (isAfter(position, reader.position)) reader.position = position;
  reader.live = true;
}
