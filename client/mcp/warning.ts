// What is said when the host has not said whom to tell.

const AT_MOST_EVERY_MS = 60_000;

/** Says that something is wrong, without filling the log while it is. */
export function warnSeldom(): (error: unknown) => void {
  let saidAt = -Infinity;
  return (error) => {
    if (Date.now() - saidAt < AT_MOST_EVERY_MS) return;
    saidAt = Date.now();
    console.warn('Rollcall: something failed in the background; it is tried again.', error);
  };
}
