// From rows of events to those who read them: one follower for each application that has readers here, whatever their number.
import { setImmediate as breathe } from 'node:timers/promises';
import { BATCH } from './sse.ts';
import type { EventPosition, Store, StoredEvent } from './store/store.ts';

/** Reads all events of an application, each with its position. */
export interface ApplicationReader {
  /** What it has got so far. The follower leaves it alone until it is `live`. */
  position: EventPosition;
  live: boolean;
  deliver(frame: Buffer): void;
  /** Whether there still is an application to read of; asked of one reader for all, after a revoke-all. */
  isThere(): Promise<boolean>;
  /** The application was deleted: nothing more will come. */
  end(): void;
}

/** Waits for one session to be over. */
export interface SessionReader {
  /** Unknown until the session was read. */
  generation: number | undefined;
  /** The newest generation that was revoked while this was not known. */
  revokedGeneration?: number;
  /** Tells the client; the stream is ended afterwards, with those of all others told, by `end`. */
  over(reason: 'revoked' | 'ended' | 'lost'): void;
  end(reason: 'revoked' | 'ended'): void;
}

export interface EventHub {
  /** Resolves when nothing that is committed from now on can be missed. */
  readApplication(applicationId: string, reader: ApplicationReader): Promise<{ position: EventPosition; stop: () => void }>;
  readSession(applicationId: string, sessionId: string, reader: SessionReader): Promise<() => void>;
  /** Something was committed here or elsewhere: look now. */
  ring(applicationId: string): void;
  /** Looks for every application with readers, whether or not somebody rang: the rows are the truth, a bell may be lost. */
  poll(): Promise<void>;
}

interface Follower {
  readonly applicationId: string;
  position: EventPosition;
  readonly ready: Promise<void>;
  readonly applications: Set<ApplicationReader>;
  readonly sessions: Map<string, Set<SessionReader>>;
  looking: Promise<void> | undefined;
  rung: boolean;
}

const PAGE = 500;
/** Applications looked at side by side, so that a round over many of them leaves room for requests. */
const AT_ONCE = 4;

export const isAfter = (a: EventPosition, b: EventPosition): boolean => a.tx !== b.tx ? a.tx > b.tx : a.seq > b.seq;

export function createEventHub(store: Pick<Store, 'readEvents' | 'newestEvent'>, toFrame: (event: StoredEvent, applicationId: string) => Buffer, onError: (error: unknown) => void,
  /** Called when an event has been written to all who read here, if there are any. */ onDelivered: (event: StoredEvent) => void = () => {}): EventHub {
  const followers = new Map<string, Follower>();

  function follow(applicationId: string): Follower {
    let follower = followers.get(applicationId);
    if (!follower) {
      const made: Follower = {
        applicationId, position: { tx: 0, seq: 0 }, applications: new Set(), sessions: new Map(), looking: undefined, rung: false,
        ready: store.newestEvent(applicationId).then((position) => { made.position = position; }),
      };
      made.ready.catch(() => { if (followers.get(applicationId) === made) followers.delete(applicationId); }); // whoever waits for it is told
      followers.set(applicationId, follower = made);
    }
    return follower;
  }

  function leave(follower: Follower): void {
    if (follower.applications.size === 0 && follower.sessions.size === 0 && followers.get(follower.applicationId) === follower) followers.delete(follower.applicationId);
  }

  async function look(follower: Follower): Promise<void> {
    await follower.ready;
    do {
      follower.rung = false;
      for (let more = true; more;) {
        const events = await store.readEvents(follower.applicationId, follower.position, PAGE);
        for (const event of events) {
          follower.position = event.position;
          await deliver(follower, event);
        }
        more = events.length === PAGE;
      }
    } while (follower.rung);
  }

  /** To everybody, in batches, so that ten thousand readers stop nobody else. */
  async function deliver(follower: Follower, event: StoredEvent): Promise<void> {
    let written = 0;
    const told: SessionReader[] = [];
    const pause = async () => { if (++written % BATCH === 0) await breathe(); };
    if (event.type === 'sessions.revoked') {
      for (const readers of follower.sessions.values()) {
        for (const reader of readers) {
          if (reader.generation === undefined) reader.revokedGeneration = event.generation;
          else if (reader.generation <= event.generation) { reader.over('revoked'); told.push(reader); await pause(); }
        }
      }
    } else if (event.type === 'session.disconnected') {
      for (const reader of follower.sessions.get(event.sessionId) ?? []) { reader.over(event.reason); if (event.reason !== 'lost') told.push(reader); }
    }
    if (follower.applications.size > 0) {
      const frame = toFrame(event, follower.applicationId);
      for (const reader of follower.applications) {
        if (reader.live && isAfter(event.position, reader.position)) { reader.position = event.position; reader.deliver(frame); await pause(); }
      }
    }
    if (written + told.length > 0) onDelivered(event);
    for (const reader of told) { reader.end(event.type === 'session.disconnected' && event.reason === 'ended' ? 'ended' : 'revoked'); await pause(); }
    const [anybody] = follower.applications;
    if (event.type === 'sessions.revoked' && anybody && !await anybody.isThere().catch(() => false)) { // where nobody can tell they end too, and are told when they come back
      for (const reader of follower.applications) { reader.end(); await pause(); }
    }
  }

  function ring(applicationId: string): void {
    const follower = followers.get(applicationId);
    if (!follower) return;
    follower.rung = true;
    follower.looking ??= look(follower).catch((error: unknown) => { follower.rung = false; onError(error); }).finally(() => {
      follower.looking = undefined;
      if (follower.rung) ring(applicationId); // it was rung while the last look was being put away
    });
  }

  return {
    ring,
    async readApplication(applicationId, reader) {
      const follower = follow(applicationId);
      follower.applications.add(reader);
      await follower.ready;
      return { get position() { return follower.position; }, stop: () => { follower.applications.delete(reader); leave(follower); } };
    },
    async readSession(applicationId, sessionId, reader) {
      const follower = follow(applicationId);
      const readers = follower.sessions.get(sessionId) ?? new Set();
      follower.sessions.set(sessionId, readers.add(reader));
      await follower.ready;
      return () => {
        readers.delete(reader);
        if (readers.size === 0 && follower.sessions.get(sessionId) === readers) follower.sessions.delete(sessionId);
        leave(follower);
      };
    },
    async poll() {
      const waiting = [...followers.values()];
      const lookAtNext = async () => {
        for (let follower; (follower = waiting.pop());) {
          ring(follower.applicationId);
          await follower.looking;
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, lookAtNext));
    },
  };
}
