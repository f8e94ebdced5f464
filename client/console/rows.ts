// The list as far as it is known: chunks in the order of ids, each of which can be forgotten and read again, so that memory stays bounded.
import type { Page, Session } from '../index.ts';

/** A row stays for a moment after it has left the filter, so that one sees it go and nothing jumps under the pointer. */
export interface Row { session: Session; /** When an event last touched it. */ touchedAt: number; /** When it is taken away. */ leavesAt?: number }

interface Chunk {
  /** Where it begins: undefined at the top. */
  cursor: string | undefined;
  /** Where the next one begins: undefined at the end of the list. */
  next: string | undefined;
  /** The id of its last row, through which a second reading must reach. */
  lastId: string | undefined;
  /** How many rows it had; the same as `rows.length` while they are here. */
  count: number;
  rows: Row[] | undefined;
  readAt: number;
  reading: Promise<void> | undefined;
}

export interface Rows {
  /** How many rows there are, as far as the list has been read. */
  readonly length: number;
  /** Whether that is all of them. */
  readonly complete: boolean;
  /** Whether anything has been read. */
  readonly started: boolean;
  /** So many have come in at the top that reading anew would be cheaper to keep. */
  readonly overgrown: boolean;
  at(index: number): Row | undefined;
  indexOf(sessionId: string): number;
  find(sessionId: string): Row | undefined;
  /** The rows in memory. */
  loaded(): Row[];
  /** Reads what is missing between two indexes, and the next chunk when the second lies beyond the last. */
  need(from: number, to: number): void;
  /** Reads again what lies between two indexes, if it is older than so many ms. */
  refresh(from: number, to: number, olderThanMs: number): void;
  /** Forgets every row that is not needed between the two, and reads what is. */
  invalidate(from: number, to: number): void;
  /** Changes or adds a row; answers its index when it was added. An id older than all that was read is left to the reading. */
  put(session: Session, matches: boolean): number | undefined;
  /** Takes away what has left; answers the indexes, highest first. */
  sweep(keep: (row: Row) => boolean): number[];
  stop(): void;
}

export interface RowsOptions {
  load(cursor: string | undefined, limit: number, signal: AbortSignal): Promise<Page<Session>>;
  onChange(): void;
  onError(error: unknown): void;
  now?: () => number;
}

export const CHUNK = 200;
/** Rows kept in memory: beyond these, chunks far from the view are forgotten. */
export const KEPT = 10_000;
const LINGER_MS = 5_000;
/** After a failure nothing more is asked for so long. */
const CALM_MS = 3_000;

export function createRows({ load, onChange, onError, now = () => performance.now() }: RowsOptions): Rows {
  const chunks: Chunk[] = [];
  const stop = new AbortController();
  let started = false, complete = false, failedAt = -Infinity;

  const read = (chunk: Chunk): Promise<void> => chunk.reading ??= (async () => {
    const startedAt = now(), first = chunk.rows === undefined && chunk.lastId === undefined;
    try {
      const found: Session[] = [];
      let cursor = chunk.cursor;
      do { // a page may be short: only the boundary, or the end, is the end
        const page = await load(cursor, CHUNK, stop.signal);
        found.push(...page.items);
        cursor = page.nextCursor;
      } while (cursor !== undefined && (chunk.next === undefined ? found.length === 0 : found.at(-1)!.id > chunk.lastId!)); // a chunk with a next one has a last id
      if (chunk.next === undefined) {
        chunk.next = cursor;
        chunk.lastId = cursor === undefined ? undefined : found.at(-1)?.id;
      }
      chunk.rows = merge(chunk, found, startedAt);
      chunk.count = chunk.rows.length;
      chunk.readAt = now();
      started = true;
      if (chunk === chunks.at(-1)) complete = chunk.next === undefined;
    } catch (error) {
      if (stop.signal.aborted) return;
      failedAt = now();
      if (first && chunk !== chunks[0]) chunks.pop();
      onError(error);
    } finally {
      chunk.reading = undefined;
      if (!stop.signal.aborted) onChange();
    }
  })();

  /** An event that came while the answer was under way knows better; what has just left stays its moment. */
  const merge = ({ rows = [], next, lastId }: Chunk, found: Session[], startedAt: number): Row[] => {
    const known = new Map(rows.map((row) => [row.session.id, row]));
    const merged = new Map<string, Row>();
    for (const session of found) {
      if (next !== undefined && lastId !== undefined && session.id < lastId) break;
      const old = known.get(session.id);
      merged.set(session.id, old !== undefined && (old.touchedAt >= startedAt || old.leavesAt !== undefined) ? old : { session, touchedAt: -Infinity });
    }
    for (const row of rows) if (row.leavesAt !== undefined || row.touchedAt >= startedAt) merged.set(row.session.id, row);
    return [...merged.values()].sort(newestFirst);
  };

  const append = () => {
    const last = chunks.at(-1);
    if (last?.reading || (last && (last.next === undefined || !last.rows && last.lastId === undefined))) return;
    const chunk: Chunk = { cursor: last?.next, next: undefined, lastId: undefined, count: 0, rows: undefined, readAt: 0, reading: undefined };
    chunks.push(chunk);
    void read(chunk);
  };

  function* between(from: number, to: number): Generator<Chunk> {
    let start = 0;
    for (const chunk of chunks) {
      if (start + chunk.count > from && start <= to) yield chunk;
      start += chunk.count;
    }
  }

  const forget = (from: number, to: number) => {
    const near = new Set(between(from - 2 * CHUNK, to + 2 * CHUNK));
    let kept = chunks.reduce((sum, { rows }) => sum + (rows?.length ?? 0), 0);
    for (const chunk of chunks) {
      if (kept <= KEPT) return;
      if (near.has(chunk) || !chunk.rows || chunk.reading || chunk === chunks.at(-1)) continue;
      kept -= chunk.rows.length;
      chunk.rows = undefined;
    }
  };

  /** Where an id is or would be; undefined when that lies in what is forgotten or was never read. */
  const locate = (id: string): { chunk: Chunk; start: number; at: number; row: Row | undefined } | undefined => {
    let start = 0;
    for (const chunk of chunks) {
      if (chunk.next === undefined || id >= (chunk.lastId ?? '')) {
        if (!chunk.rows) return undefined;
        let low = 0, high = chunk.rows.length;
        while (low < high) {
          const middle = (low + high) >> 1;
          if (chunk.rows[middle]!.session.id > id) low = middle + 1;
          else high = middle;
        }
        const row = chunk.rows[low];
        return { chunk, start, at: low, row: row?.session.id === id ? row : undefined };
      }
      start += chunk.count;
    }
    return undefined;
  };

  const rows: Rows = {
    get length() { return chunks.reduce((sum, { count }) => sum + count, 0); },
    get complete() { return complete; },
    get started() { return started; },
    get overgrown() { return (chunks[0]?.count ?? 0) > 10 * CHUNK; },
    at(index) {
      let start = 0;
      for (const chunk of chunks) {
        if (index < start + chunk.count) return chunk.rows?.[index - start];
        start += chunk.count;
      }
      return undefined;
    },
    indexOf(id) { const found = locate(id); return found?.row ? found.start + found.at : -1; },
    find: (id) => locate(id)?.row,
    loaded: () => chunks.flatMap(({ rows: here }) => here ?? []),
    need(from, to) {
      if (now() - failedAt < CALM_MS) return; // the view asks again and again
      for (const chunk of between(from, to)) if (!chunk.rows) void read(chunk);
      if (to >= rows.length && !complete) append();
      forget(from, to);
    },
    refresh(from, to, olderThanMs) {
      for (const chunk of between(from, to)) if (chunk.rows && now() - chunk.readAt >= olderThanMs) void read(chunk);
      if (rows.length === 0 && chunks[0]?.rows && now() - chunks[0].readAt >= olderThanMs) void read(chunks[0]);
    },
    invalidate(from, to) {
      const near = new Set(between(from, to));
      if (chunks[0]) near.add(chunks[0]);
      for (const chunk of chunks) {
        if (near.has(chunk)) void (chunk.reading ?? Promise.resolve()).then(() => read(chunk));
        else if (!chunk.reading) chunk.rows = undefined;
      }
    },
    put(session, matches) {
      const found = locate(session.id);
      if (!found) return undefined;
      const { chunk, start, at, row } = found;
      const leavesAt = matches ? undefined : now() + LINGER_MS;
      if (row) {
        Object.assign(row, { session, touchedAt: now(), leavesAt });
        onChange();
        return undefined;
      }
      if (!matches) return undefined;
      chunk.rows!.splice(at, 0, { session, touchedAt: now() }); // `locate` finds no place in a chunk without rows
      chunk.count += 1;
      onChange();
      return start + at;
    },
    sweep(keep) {
      const gone: number[] = [], at = now();
      let start = 0;
      for (const chunk of chunks) {
        const before = chunk.count;
        if (chunk.rows?.some(({ leavesAt = Infinity }) => leavesAt <= at)) {
          const stays = chunk.rows.map((row) => (row.leavesAt ?? Infinity) > at || keep(row));
          stays.forEach((here, index) => { if (!here) gone.push(start + index); });
          chunk.rows = chunk.rows.filter((_row, index) => stays[index]);
          chunk.count = chunk.rows.length;
        }
        start += before;
      }
      if (gone.length > 0) onChange();
      return gone.reverse();
    },
    stop: () => stop.abort(),
  };
  return rows;
}

const newestFirst = (a: Row, b: Row) => (a.session.id < b.session.id ? 1 : -1);
