// The credentials that must be refused: what the service says, and what this process learnt since it last asked.
import type { Registry } from './registry.ts';

export interface Denials {
  isDenied(credentialId: string): boolean;
  /** Refused from now on, before the service has been asked. */
  deny(credentialId: string, until: number): void;
  /** Reads the service's list again; calls while one is read become one more after it. Rejects when it could not be read. */
  refresh(): Promise<void>;
  /** When the list was last asked for, whether or not there was an answer; ms since the epoch. */
  readonly askedAt: number;
  readonly size: number;
}

/** About 100 MB. Beyond it, a denied credential is still refused when its session is to be registered. */
const MOST = 500_000;

export function createDenials(registry: Pick<Registry, 'deniedCredentials'>, now: () => number): Denials {
  let listed = new Map<string, number>();
  /** Learnt here; each stays until a list that was begun after it has been read. */
  const learnt = new Map<string, { until: number; at: number }>();
  let rounds = 0;
  let askedAt = 0;
  let running: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;

  async function read(): Promise<void> {
    rounds += 1;
    const round = rounds;
    askedAt = now();
    const next = new Map<string, number>();
    for await (const { credentialId, until } of registry.deniedCredentials()) {
      if (next.size < MOST) next.set(credentialId, until);
    }
    listed = next;
    for (const [id, { at }] of learnt) if (at < round) learnt.delete(id);
  }

  function start(): Promise<void> {
    running = read().finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    isDenied: (id) => (learnt.get(id)?.until ?? 0) > now() || (listed.get(id) ?? 0) > now(),
    deny(id, until) {
      if (learnt.size < MOST) learnt.set(id, { until, at: rounds });
    },
    refresh() {
      if (!running) return start();
      // The list that is being read may have passed the place of what is asked for now.
      waiting ??= running
        .catch(() => {})
        .then(() => {
          waiting = undefined;
          return start();
        });
      return waiting;
    },
    get askedAt() {
      return askedAt;
    },
    get size() {
      return listed.size + learnt.size;
    },
  };
}
