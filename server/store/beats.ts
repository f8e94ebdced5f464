// Heartbeats held in memory until the next flush: at most one write a second for a session, however often it beats.
import type { Session } from '../session.ts';

/** `early`: it may tell of activity from before the connection, which makes the session look older than its row does. */
export interface Beat { at: number; lastActiveAt: number | null; early: boolean }

/** By application, then by session. */
export type HeldBeats = Map<string, Map<string, Beat>>;

export interface Beats {
  add(applicationId: string, sessionId: string, beat: Beat): void;
  /** Was there a beat that is not written yet? */
  has(applicationId: string, sessionId: string): boolean;
  /** The session with the activity that is not written yet. */
  overlay(applicationId: string, session: Session): Session;
  /** The sessions with an early beat that is not written yet. */
  early(applicationId: string): string[];
  /** Takes what has gathered, to be written. It goes on showing in `overlay`, so that activity never seems to move back. */
  take(): HeldBeats;
  /** These of what was taken are written. A read that began before may still bring the row as it was, so they show for a while. */
  wrote(taken: HeldBeats, applicationId: string, sessionIds: readonly string[]): void;
  done(taken: HeldBeats): void;
}

/** No read takes longer. */
const LINGER_MS = 2_000;

export function createBeats(): Beats {
  let held: HeldBeats = new Map();
  const beingWritten = new Set<HeldBeats>();
  /** What was written of each that was taken. */
  const lingering = new Map<HeldBeats, HeldBeats>();

  const activeIn = (beats: HeldBeats, applicationId: string, sessionId: string): number => beats.get(applicationId)?.get(sessionId)?.lastActiveAt ?? -Infinity;

  return {
    add(applicationId, sessionId, { at, lastActiveAt, early }) {
      let sessions = held.get(applicationId);
      if (!sessions) held.set(applicationId, sessions = new Map());
      const known = sessions.get(sessionId);
      if (!known) sessions.set(sessionId, { at, lastActiveAt, early });
      else {
        known.at = Math.max(known.at, at);
        known.early ||= early;
        if (lastActiveAt !== null) known.lastActiveAt = Math.max(known.lastActiveAt ?? 0, lastActiveAt);
      }
    },
    has: (applicationId, sessionId) => [held, ...beingWritten].some((beats) => beats.get(applicationId)?.has(sessionId)),
    overlay(applicationId, session) {
      if (held.size === 0 && beingWritten.size === 0 && lingering.size === 0) return session;
      let active = activeIn(held, applicationId, session.id);
      for (const some of beingWritten) active = Math.max(active, activeIn(some, applicationId, session.id));
      for (const some of lingering.values()) active = Math.max(active, activeIn(some, applicationId, session.id));
      return active > (session.lastActiveAt ?? -Infinity) ? { ...session, lastActiveAt: active } : session;
    },
    early: (applicationId) => [held, ...beingWritten].flatMap((beats) => [...beats.get(applicationId) ?? []].flatMap(([id, { early }]) => early ? [id] : [])),
    take() {
      const taken = held;
      held = new Map();
      beingWritten.add(taken);
      return taken;
    },
    wrote(taken, applicationId, sessionIds) {
      const beats = taken.get(applicationId)!; // it was taken from there
      let written = lingering.get(taken);
      if (!written) lingering.set(taken, written = new Map());
      let shown = written.get(applicationId);
      if (!shown) written.set(applicationId, shown = new Map());
      for (const id of sessionIds) {
        shown.set(id, beats.get(id)!); // as above
        beats.delete(id);
      }
    },
    done(taken) {
      beingWritten.delete(taken);
      setTimeout(() => lingering.delete(taken), LINGER_MS).unref();
    },
  };
}
