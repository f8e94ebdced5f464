// A real server process on the embedded database, and what the file itself says beside it.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { mintToken, readOrCreateSigningKey } from '../../server/keys.ts';
import { ask, startInstance, type Instance, type InstanceOptions, type Timed } from './instances.ts';
import { EVERY_SCOPE, ORGANIZATION } from './service.ts';

export interface Embedded extends Instance {
  readonly token: string;
  call(method: string, path: string, body?: unknown): Promise<Timed>;
}

export async function startEmbedded(directory: string, options: InstanceOptions = {}): Promise<Embedded> {
  const instance = await startInstance('', { ...options, env: { DATA_DIR: directory, ...options.env } });
  const token = await mintToken(await readOrCreateSigningKey(directory), { organizationId: ORGANIZATION, scopes: EVERY_SCOPE, subject: 'tester', ttlMs: 3_600_000, audience: 'rollcall' });
  return Object.defineProperties({ token, call: (method: string, path: string, body?: unknown) => ask(instance.url, token, method, path, body) }, Object.getOwnPropertyDescriptors(instance)) as Embedded;
}

/** A server in a folder of its own, with one application. */
export async function startInFolder(): Promise<{ folder: string; directory: string; file: string; server: Embedded; app: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-faults-')), directory = join(folder, 'data'), server = await startEmbedded(directory);
  const { id } = (await server.call('POST', '/applications', { name: 'Faults' })).body.application;
  return { folder, directory, file: join(directory, 'rollcall.db'), server, app: `/applications/${id}` };
}

/** What the file says, read beside the server, or after it. */
export function inFile(directory: string): { integrity: unknown; wrongCounters: unknown } {
  const db = new DatabaseSync(join(directory, 'rollcall.db'), { readOnly: true });
  try {
    return {
      integrity: Object.values(db.prepare('pragma integrity_check').get()!)[0], // it has a row
      wrongCounters: db.prepare(`select a.id, a.connected, (select count(*) from sessions s where s.application_id = a.id and s.generation = a.generation and s.state < 2) as counted
        from applications a where a.connected <> counted`).all(),
    };
  } finally { db.close(); }
}
