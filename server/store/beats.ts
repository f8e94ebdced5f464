// Heartbeats held in memory until the next flush: at most one write a second for a session, however often it beats.
import type { Session } from '../session.ts';

export interface Beat { at: number; lastActiveAt: number | null }

export interface Beats {
  add(applicationId: string, sessionId: string, at: number, lastActiveAt: number | null): void;
  /** The session with the activity that is not written yet. */
  overlay(applicationId: string, session: Session): Session;
  /** Takes what has gathered; whoever took it writes it, or puts it back. */
  take(): Map<string, Map<string, Beat>>;
}

export function createBeats(): Beats {
  let held = new Map<string, Map<string, Beat>>();

  const add: Beats['add'] = (applicationId, sessionId, at, lastActiveAt) => {
    let sessions = held.get(applicationId);
    if (!sessions) held.set(applicationId, sessions = new Map());
    const known = sessions.get(sessionId);
    if (!known) sessions.set(sessionId, { at, lastActiveAt });
    else {
      known.at = Math.max(known.at, at);
      if (lastActiveAt !== null) known.lastActiveAt = Math.max(known.lastActiveAt ?? 0, lastActiveAt);
    }
  };

  return {
    add,
    overlay(applicationId, session) {
      const active = held.get(applicationId)?.get(session.id)?.lastActiveAt;
      if (active === undefined || active === null || active <= (session.lastActiveAt ?? 0)) return session;
      return { ...session, lastActiveAt: active };
    },
    take() {
      const taken = held;
      held = new Map();
      return taken;
    },
  };
}
