// The people in the sandbox: sessions that come, work, fall silent, expire, leave, crash, come back and are thrown out, second by second.
import { randomInt } from 'node:crypto';
import { createClient, ProblemError } from '../../client/index.ts';
import { newcomer } from '../seed.ts';

/** Somebody who is connected, or was until their machine went away. */
interface Guest {
  readonly externalId: string;
  sessionId: string;
  /** Works, or only stays connected; or sends nothing any more. */
  mood: 'busy' | 'quiet' | 'gone';
  /** When something changes for them next; ms since the epoch. */
  until: number;
}

export interface CrowdOptions {
  baseUrl: string;
  token: string;
  applicationId: string;
  count: number;
  /** Of the server, in ms. */
  idleAfter: number;
  lease: number;
  onError?: (error: unknown) => void;
}

export interface Crowd { stop(): Promise<void> }

const TICK_MS = 1_000;

/** Resolves when everybody is there. */
export async function gather({ baseUrl, token, applicationId, count, idleAfter, lease, onError = () => {} }: CrowdOptions): Promise<Crowd> {
  const client = createClient({ baseUrl, token, retries: 3 });
  const guests = new Set<Guest>();
  const soon = (least: number, most: number) => Date.now() + randomInt(least, most);

  async function arrive(): Promise<void> {
    const isShort = randomInt(10) === 0; // the token is about to expire
    const tokenExpiresAt = new Date(isShort ? soon(5_000, 40_000) : soon(1_800_000, 36_000_000)).toISOString();
    const body = { ...newcomer(), tokenExpiresAt };
    const { session } = await client.sessions.create(applicationId, body);
    guests.add({ externalId: body.externalId, sessionId: session.id, mood: randomInt(4) ? 'busy' : 'quiet', until: soon(2_000, 90_000) });
  }

  /** What happens to one whose time has come. */
  async function change(guest: Guest): Promise<void> {
    const dice = randomInt(100);
    if (guest.mood === 'gone') { // back from where the machine was: the same session, as long as it was only lost
      const { session } = await client.sessions.create(applicationId, { ...newcomer(), externalId: guest.externalId });
      Object.assign(guest, { sessionId: session.id, mood: 'busy', until: soon(10_000, 90_000) });
    } else if (dice < 25) {
      guests.delete(guest);
      await client.sessions.end(applicationId, guest.sessionId);
    } else if (dice < 45) {
      Object.assign(guest, { mood: 'gone', until: Date.now() + lease * 2 + randomInt(30_000) });
    } else {
      Object.assign(guest, { mood: guest.mood === 'busy' ? 'quiet' : 'busy', until: Date.now() + idleAfter + randomInt(60_000) });
    }
  }

  async function beat(): Promise<void> {
    const at = new Date().toISOString(), present = [...guests].filter(({ mood }) => mood !== 'gone');
    for (let from = 0; from < present.length; from += 1_000) {
      const some = present.slice(from, from + 1_000);
      const beats = some.map(({ sessionId, mood }) => ({ sessionId, ...(mood === 'busy' && { lastActiveAt: at }) }));
      const { ended } = await client.sessions.heartbeat(applicationId, beats);
      const over = new Set(ended.map(({ sessionId }) => sessionId));
      for (const guest of some) if (over.has(guest.sessionId)) guests.delete(guest); // thrown out: somebody else will come
    }
  }

  async function tick(second: number): Promise<void> {
    if (second % Math.max(1, Math.floor(lease / 4_000)) === 0) await beat();
    if (second % 15 === 0) await throwOut();
    const now = Date.now();
    const due = [...guests].filter(({ until }) => until <= now);
    for (const guest of due) await change(guest).catch(ignoreRefusals);
    for (let missing = Math.min(5, count - guests.size); missing > 0; missing--) await arrive();
  }

  /** An operator at work. */
  async function throwOut(): Promise<void> {
    const [guest] = [...guests].filter(({ mood }) => mood !== 'gone');
    if (guest) await client.sessions.revoke(applicationId, guest.sessionId);
  }

  /** Whoever uses the sandbox revokes, too: then there is nothing to change any more. */
  function ignoreRefusals(error: unknown): void {
    if (!(error instanceof ProblemError)) throw error;
  }

  await Promise.all(Array.from({ length: 8 }, async () => {
    while (guests.size < count) await arrive();
  }));
  let second = 0, isOver = false, running = Promise.resolve();
  const timer = setInterval(() => {
    running = running.then(async () => { if (!isOver) await tick(second++); }).catch((error: unknown) => { if (!isOver) onError(error); });
  }, TICK_MS);
  return {
    async stop() {
      isOver = true;
      clearInterval(timer);
      await running;
    },
  };
}
