// Heartbeats held in memory until the next flush: at most one write a second for a session, however often it beats.
import type { Session } from '../session.ts';

export interface Beat { at: number; lastActiveAt: number | null }

/** By application, then by session. */
export type HeldBeats = Map<string, Map<string, Beat>>;

export interface Beats {
  add(applicationId: string, sessionId: string, at: number, lastActiveAt: number | null): void;
  /** Was there a beat that is not written yet? */
  has(applicationId: string, sessionId: string): boolean;
  /** The session with the activity that is not written yet. */
  overlay(applicationId: string, session: Session): Session;
  /** Takes what has gathered, to be written. It goes on showing in `overlay` until it is `done`, so that activity never seems to move back. */
  take(): HeldBeats;
  done(taken: HeldBeats): void;
}

export function createBeats(): Beats {
  let held: HeldBeats = new Map();
  const beingWritten = new Set<HeldBeats>();

  const activeIn = (beats: HeldBeats, applicationId: string, sessionId: string): number => beats.get(applicationId)?.get(sessionId)?.lastActiveAt ?? -Infinity;

  return {
    add(applicationId, sessionId, at, lastActiveAt) {
      let sessions = held.get(applicationId);
      if (!sessions) held.set(applicationId, sessions = new Map());
      const known = sessions.get(sessionId);
      if (!known) sessions.set(sessionId, { at, lastActiveAt });
      else {
        known.at = Math.max(known.at, at);
        if (lastActiveAt !== null) known.lastActiveAt = Math.max(known.lastActiveAt ?? 0, lastActiveAt);
      }
    },
    has: (applicationId, sessionId) => [held, ...beingWritten].some((beats) => beats.get(applicationId)?.has(sessionId)),
    overlay(applicationId, session) {
      let active = activeIn(held, applicationId, session.id);
      for (const taken of beingWritten) active = Math.max(active, activeIn(taken, applicationId, session.id));
      return active > (session.lastActiveAt ?? -Infinity) ? { ...session, lastActiveAt: active } : session;
    },
    take() {
      const taken = held;
      held = new Map();
      beingWritten.add(taken);
      return taken;
    },
    done(taken) { beingWritten.delete(taken); },
  };
}
