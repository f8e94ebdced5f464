// The console's model of a long list: what it reads, what it forgets, and what it makes of events.
import { describe, expect, it } from 'vitest';
import type { Page, Session } from '../../client/index.ts';
import { CHUNK, createRows, KEPT, type Rows } from '../../client/console/rows.ts';

const id = (number: number) => `00000000-0000-7000-8000-${String(number).padStart(12, '0')}`;
const session = (number: number, more: Partial<Session> = {}): Session => ({
  id: id(number), name: `s${number}`, status: 'active', derivedStatus: 'active', createdAt: '2026-11-23T12:00:00.000Z', agentId: id(0), organizationId: 'o', hostname: null, userAgent: null, clientInfo: null, ...more,
});

/** A list of sessions numbered from `count` down to 1, and rows over it. */
function listOf(count: number): { rows: Rows; server: { sessions: Session[]; asked: number; fail: boolean }; settle(): Promise<void>; time: { at: number }; errors: unknown[] } {
  const server = { sessions: Array.from({ length: count }, (_, index) => session(count - index)), asked: 0, fail: false }, time = { at: 0 }, errors: unknown[] = [];
  const rows = createRows({
    async load(cursor, limit): Promise<Page<Session>> {
      server.asked += 1;
      if (server.fail) throw new Error('away');
      const rest = server.sessions.filter((one) => cursor === undefined || one.id < cursor), items = rest.slice(0, limit);
      return { items, ...(rest.length > limit && { nextCursor: items.at(-1)!.id }) };
    },
    onChange: () => {}, onError: (error) => errors.push(error), now: () => time.at,
  });
  return { rows, server, time, errors, settle: () => new Promise((resolve) => setTimeout(resolve, 1)) };
}

describe('rows', () => {
  it('are read as they are needed, to the end, and few are kept', async () => {
    const { rows, settle } = listOf(30_100);
    for (let to = 0; !rows.complete; to = rows.length) { rows.need(to, to); await settle(); }
    expect(rows.length).toBe(30_100);
    expect(rows.started).toBe(true);
    expect(rows.loaded().length).toBeLessThanOrEqual(KEPT + 5 * CHUNK);
    expect(rows.at(30_099)?.session.name).toBe('s1');
    expect(rows.at(0)).toBeUndefined();
    rows.need(15_000, 15_040);
    await settle();
    expect(rows.at(15_020)?.session.name).toBe('s15080');
    rows.need(0, 20);
    await settle();
    expect(rows.at(0)?.session.name).toBe('s30100');
    expect(rows.length).toBe(30_100);
  });

  it('that changed while they were forgotten come back as they are, and none is there twice', async () => {
    const { rows, server, settle } = listOf(1_000);
    for (let to = 0; !rows.complete; to = rows.length) { rows.need(to, to); await settle(); }
    server.sessions = server.sessions.filter(({ id: one }) => one !== id(500) && one !== id(600)).map((one) => (one.id === id(400) ? { ...one, name: 'other' } : one));
    rows.refresh(0, 1_000, 0);
    await settle();
    expect(rows.length).toBe(998);
    expect(rows.find(id(400))?.session.name).toBe('other');
    const all = rows.loaded().map((row) => row.session.id);
    expect(new Set(all).size).toBe(998);
    expect(all).toEqual([...all].sort().reverse());
  });

  it('come in at the top, and leave after a moment', async () => {
    const { rows, time, settle } = listOf(3);
    rows.need(0, 0);
    await settle();
    expect(rows.put(session(9), true)).toBe(0);
    expect(rows.put(session(8), false)).toBeUndefined();
    expect(rows.put(session(2, { derivedStatus: 'disconnected' }), false)).toBeUndefined();
    expect(rows.length).toBe(4);
    expect(rows.sweep(() => false)).toEqual([]);
    time.at = 10_000;
    expect(rows.sweep((row) => row.session.id === id(2))).toEqual([]);
    expect(rows.sweep(() => false)).toEqual([2]);
    expect(rows.loaded().map((row) => row.session.id)).toEqual([id(9), id(3), id(1)]);
  });

  it('that an event has ended are not brought back by an answer that was under way', async () => {
    const { rows, time, settle } = listOf(3);
    rows.need(0, 0);
    await settle();
    time.at = 100;
    rows.refresh(0, 3, 0);
    time.at = 101;
    rows.put(session(2, { derivedStatus: 'disconnected', status: 'disconnected' }), false);
    await settle();
    expect(rows.find(id(2))?.session.status).toBe('disconnected');
  });

  it('are not asked for again at once after a failure', async () => {
    const { rows, server, time, errors, settle } = listOf(500);
    rows.need(0, 0);
    await settle();
    server.fail = true;
    for (let times = 0; times < 5; times++) { rows.need(190, 210); await settle(); }
    expect([server.asked, errors.length, rows.length]).toEqual([2, 1, 200]);
    server.fail = false;
    time.at = 5_000;
    rows.need(190, 210);
    await settle();
    expect(rows.length).toBe(400);
  });
});
