// The walk over all applications, for what is done for each of them.
import { setImmediate as breathe } from 'node:timers/promises';
import { BEFORE_ALL } from '../uuid.ts';
import { statements, type Database } from './database.ts';

export interface Walked { readonly id: string; readonly generation: number; readonly deletedAt: number | null; /** It was deleted, and what that revoked is written down. */ readonly isDone: boolean | 0 | 1 }

/** Applications in one step. */
const AT_ONCE = 1_000;
/** After so long others come first: there may be very many applications, with little to do for each. */
const TURN_MS = 5;

/** Those after $1, by their ids. */
const next = statements('each')(`select a.id, a.generation, a.deleted_at as "deletedAt", (a.deleted_at is not null and not exists (
    select 1 from revocations r where r.application_id = a.id and r.generation is not null and r.settled_at is null)) as "isDone"
  from applications a where a.id > $1 order by a.id limit ${AT_ONCE}`);

/** One after the other, letting others in between; those that are done only where they are asked for. */
export async function eachApplication(db: Database, signal: AbortSignal | undefined, work: (app: Walked) => Promise<void>, { done = false } = {}): Promise<void> {
  let since = performance.now();
  for (let after = BEFORE_ALL; !signal?.aborted;) {
    const apps = await db.all<Walked>(next, after);
    for (const app of apps) {
      if (signal?.aborted) return;
      if (done || !app.isDone) await work(app);
      if (performance.now() - since < TURN_MS) continue;
      await breathe();
      since = performance.now();
    }
    if (apps.length < AT_ONCE) return;
    after = apps.at(-1)!.id;
  }
}
