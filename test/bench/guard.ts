// What four operations cost compared with bare Express, as recorded in guard.json: `node test/bench/guard.ts` records it anew.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contenders, interleave, ratios, warmUp } from './http.ts';
import { load, type Requests } from './load.ts';
import { pinLoad, root, type Server } from './processes.ts';
import { percentile } from './statistics.ts';
import { sessionNumber } from './world.ts';

export type Guarded = Record<'getSession' | 'listSessions' | 'createSession' | 'recordHeartbeats', number>;

/** CPU per request to that of Express's `res.json` of one ready session: medians over rounds in which all had their turn. */
export async function measureGuarded(rounds = 5, seconds = 0.5): Promise<Guarded> {
  const { all, world: { applicationId, token, ids }, close } = await contenders({ only: ['express'] });
  try {
    const [rollcall, express] = all as [typeof all[number], typeof all[number]], app = `/api/v1/applications/${applicationId}`;
    const headers = [{ authorization: `Bearer ${token}`, 'content-type': 'application/json' }];
    const bodies = ids.map((_, index) => JSON.stringify({ ...sessionNumber(index), externalId: undefined }));
    const beats = JSON.stringify({ heartbeats: ids.map((sessionId) => ({ sessionId })) });
    const work: Record<keyof Guarded | 'express', [Server, Requests]> = {
      express: [express.server, express.requests.getSession],
      getSession: [rollcall.server, rollcall.requests.getSession],
      listSessions: [rollcall.server, rollcall.requests.listSessions],
      createSession: [rollcall.server, { method: 'POST', paths: bodies.map(() => `${app}/sessions`), headers, bodies }],
      recordHeartbeats: [rollcall.server, { method: 'POST', paths: [`${app}/heartbeats`], headers, bodies: [beats] }],
    };
    const keys = Object.keys(work) as (keyof typeof work)[]; // of the object above
    const run = (key: keyof typeof work, time: number) => load(...work[key], time);
    for (const key of keys) await warmUp((time) => run(key, time));
    const { express: base, ...runs } = await interleave(keys, rounds, (key) => run(key, seconds));
    const ratio = (key: keyof Guarded) => Math.round(percentile(ratios(runs[key], base, 'cpu'), 0.5) * 100) / 100;
    return { getSession: ratio('getSession'), listSessions: ratio('listSessions'), createSession: ratio('createSession'), recordHeartbeats: ratio('recordHeartbeats') };
  } finally {
    await close();
  }
}

if (import.meta.main) {
  pinLoad();
  const measured = await measureGuarded(15);
  console.log(measured);
  writeFileSync(join(root, 'test/bench/guard.json'), `${JSON.stringify(measured, null, 2)}\n`);
  process.exit(0);
}
