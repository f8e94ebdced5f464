// A small disk of the test's own, which can be filled and made read-only: a tmpfs, so it takes root.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { have } from './needs.ts';

export interface Disk {
  readonly directory: string;
  /** Leaves no byte. */
  fill(): void;
  /** Takes the filling away. */
  makeRoom(): void;
  setReadOnly(readOnly: boolean): void;
  unmount(): void;
}

export function mountDisk(megabytes: number): Disk {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'tmpfs', directory], { stdio: 'pipe' });
  const filler = join(directory, 'filler');
  return {
    directory,
    fill() {
      const file = openSync(filler, 'a');
      try {
        for (let size = 1 << 20; size >= 1;) {
          try { writeSync(file, Buffer.alloc(size, 1)); } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
            size >>= 1;
          }
        }
      } finally { closeSync(file); }
    },
    makeRoom: () => rmSync(filler, { force: true }),
    setReadOnly: (readOnly) => void execFileSync('mount', ['-o', `remount,${readOnly ? 'ro' : 'rw'}`, directory], { stdio: 'pipe' }),
    unmount() {
      execFileSync('umount', ['--lazy', directory], { stdio: 'pipe' });
      rmdirSync(directory);
    },
  };
}

/** Whether disks can be mounted here. Where nothing may be left untested, that they cannot is a failure. */
export function canMount(): boolean {
  try {
    mountDisk(1).unmount();
    return true;
  } catch (error) {
    return have(false, 'A DISK TO MOUNT', 'the tests of a full and of a read-only disk', `They need root. ${(error as Error).message}`); // execFileSync throws nothing else
  }
}
