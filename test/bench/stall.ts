// Loaded before a server (--import) to look inside: on SIGUSR2 the longest stall of its event loop since the last one, and its heap, go to STALL_FILE.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

const EVERY_MS = 2, file = process.env['STALL_FILE'] ?? '', schedule = '/proc/self/schedstat';

/** ms that the main thread could have run, and the machine ran something else: no stall of ours. */
const kept = existsSync(schedule) ? () => Number(readFileSync(schedule, 'latin1').split(' ')[1]) / 1e6 : () => 0;

let at = performance.now(), keptBefore = kept(), max = 0, wall = 0;
setInterval(() => {
  const now = performance.now(), keptNow = kept(), late = now - at - EVERY_MS;
  wall = Math.max(wall, late);
  max = Math.max(max, late - (keptNow - keptBefore));
  [at, keptBefore] = [now, keptNow];
}, EVERY_MS).unref();

process.on('SIGUSR2', () => {
  const seen = { max, wall };
  [max, wall] = [0, 0];
  globalThis.gc?.();
  writeFileSync(`${file}.part`, JSON.stringify({ ...seen, heap: process.memoryUsage().heapUsed / 1_048_576 }));
  renameSync(`${file}.part`, file);
  [at, keptBefore] = [performance.now(), kept()];
});
