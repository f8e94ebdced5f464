// Connections that were revoked in this process: their ids must not come back, even where the server still holds a transport.

export interface OverKeys {
  /** False also when it was revoked so long ago that it is forgotten. */
  has(key: string): boolean;
  /** @param isGuess the key is made of an address and a user agent, which others may share: it is remembered for minutes only */
  add(key: string, isGuess: boolean): void;
  forget(key: string): void;
}

const KEPT_MS = 24 * 3_600_000;
const GUESS_KEPT_MS = 10 * 60_000;
/** About 20 MB; the oldest go first. */
const MOST = 100_000;

export function createOverKeys(now: () => number): OverKeys {
  const keys = new Map<string, number>();
  return {
    has(key) {
      if ((keys.get(key) ?? 0) > now()) return true;
      keys.delete(key);
      return false;
    },
    add(key, isGuess) {
      keys.delete(key);
      keys.set(key, now() + (isGuess ? GUESS_KEPT_MS : KEPT_MS));
      for (const oldest of keys.keys()) {
        if (keys.size <= MOST) break;
        keys.delete(oldest);
      }
    },
    forget: (key) => void keys.delete(key),
  };
}
