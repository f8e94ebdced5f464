// A store of 100,000 connected sessions, made once in a run, and copies of it to kill and to measure.
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectedStatuses } from '../../server/session.ts';
import { createStore } from '../../server/store/index.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import type { Store, Tenant } from '../../server/store/store.ts';
import { HOUR, newSession } from '../suites/store/bed.ts';
import { RUN_DIRECTORY } from './postgres.ts';
import { ORGANIZATION, times } from './store-times.ts';

export const SESSIONS = 100_000;
/** Half of them. */
export const filter = { statuses: connectedStatuses, userId: 'u0' };

export interface LargeStore {
  readonly tenant: Tenant;
  /** @returns the directory of a copy, in the place of the last one. */
  copy(): string;
  open(directory: string): Store;
  remove(): void;
}

export async function largeStore(): Promise<LargeStore> {
  const run = process.env[RUN_DIRECTORY]!, kept = join(run, 'large-store'), open = (directory: string) => createStore(openSqlite(directory), { ...times, now: Date.now }); // `setup` sets it
  if (!existsSync(kept)) {
    const part = mkdtempSync(`${kept}-`), store = open(part);
    const tenant: Tenant = { organizationId: ORGANIZATION, applicationId: (await store.createApplication(ORGANIZATION, 'Large')).id, boundTo: undefined };
    for (let i = 0; i < SESSIONS; i += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, k) => store.connect(tenant, newSession({
        userId: `u${k % 2}`, externalId: `x${i + k}`, hostname: `h${k % 50}`, clientInfo: { name: `c${k % 7}` }, credential: { id: `c${i + k}`, expiresAt: null }, tokenExpiresAt: Date.now() + 24 * HOUR,
      }))));
    }
    await store.close();
    writeFileSync(join(part, 'application'), tenant.applicationId);
    renameSync(part, kept);
  }
  const folder = mkdtempSync(join(run, 'large-copy-')), directory = join(folder, 'copy');
  return {
    tenant: { organizationId: ORGANIZATION, applicationId: readFileSync(join(kept, 'application'), 'utf8'), boundTo: undefined }, open,
    copy() {
      rmSync(directory, { recursive: true, force: true });
      cpSync(kept, directory, { recursive: true });
      return directory;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
