// What belongs to somebody else takes as long as what does not exist: by medians and by ranks, against the noise of the same run.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations } from '../contract/contract.ts';
import { startProcess, type ServerProcess } from '../fuzz/process.ts';
import { callOf, withHeaders } from '../support/calls.ts';
import { openWire, type Wire } from '../support/wire.ts';

const SAMPLES = 2_000;
const ABSENT = ['0199ffff-ffff-7fff-8fff-ffffffffffff', '0199ffff-ffff-7fff-8fff-fffffffffffe'] as const;

let server: ServerProcess, wire: Wire, ids: Record<string, string>, token: string;
beforeAll(async () => {
  server = await startProcess({});
  wire = openWire(server.url, { connections: 1 });
  const scopes = operations.flatMap(({ spec }) => (spec.security ?? []).flatMap((way) => Object.values(way).flat() as string[]));
  const own = await server.token({ scopes });
  const post = async (path: string, body: object) => (await wire.send({ method: 'POST', target: `/api/v1/applications${path}`, headers: [['Authorization', `Bearer ${own}`], ['Content-Type', 'application/json']], body: JSON.stringify(body) })).body;
  const { application } = await post('', { name: 'Theirs' });
  for (let made = 0; made < 300; made++) ids = { applicationId: application.id, sessionId: (await post(`/${application.id}/sessions`, {})).session.id };
  token = await server.token({ scopes, organizationId: 'org_other' });
});
afterAll(async () => { wire?.close(); await server?.stop(); });

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!; // there are some

/** How often one of the first is larger than one of the second; a half where they are alike (Mann-Whitney). */
function larger(first: readonly number[], second: readonly number[]): number {
  const all = [...first.map((value) => ({ value, of: 0 })), ...second.map((value) => ({ value, of: 1 }))].sort((a, b) => a.value - b.value);
  const ranks = all.reduce((sum, { of }, index) => of === 0 ? sum + index + 1 : sum, 0);
  return (ranks - first.length * (first.length + 1) / 2) / (first.length * second.length);
}

describe.each(['getSession', 'listSessions', 'revokeSession'])('%s', (id) => {
  it('takes as long for a foreign id as for an absent one', { timeout: 300_000 }, async () => {
    const operation = operations.find((candidate) => candidate.id === id)!; // they are the contract's
    const calls = [ids, { applicationId: ABSENT[0], sessionId: ABSENT[0] }, { applicationId: ABSENT[1], sessionId: ABSENT[1] }].map((about) => withHeaders(callOf(operation, about), ['Authorization', `Bearer ${token}`]));
    const took: [number[], number[], number[]] = [[], [], []];
    for (let round = -200; round < SAMPLES; round++) {
      // In another order each time, so that none always comes after the same.
      for (const which of [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]][(round + 600) % 6]!) {
        const started = process.hrtime.bigint();
        expect((await wire.send(calls[which]!)).status).toBe(404);
        if (round >= 0) took[which]!.push(Number(process.hrtime.bigint() - started) / 1_000);
      }
    }
    const [foreign, absent, other] = took, noise = Math.abs(median(absent) - median(other));
    const seen = { foreign: median(foreign), absent: median(absent), other: median(other), rank: larger(foreign, absent), rankOfNoise: larger(absent, other) };
    console.log(`${id}: medians ${seen.foreign.toFixed(0)} / ${seen.absent.toFixed(0)} / ${seen.other.toFixed(0)} us, ranks ${seen.rank.toFixed(3)} (noise ${seen.rankOfNoise.toFixed(3)})`);
    expect(Math.abs(seen.foreign - seen.absent), JSON.stringify(seen)).toBeLessThan(seen.absent * 0.05 + 2 * noise);
    expect(Math.abs(seen.rank - 0.5), JSON.stringify(seen)).toBeLessThan(0.06 + 2 * Math.abs(seen.rankOfNoise - 0.5));
  });
});
