// Two applications of the same make, one a thousand times the other's size, written by SQL once and kept between runs.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { openPostgres } from '../../server/store/postgres.ts';
import { openSqlite } from '../../server/store/sqlite.ts';
import { cluster, freePort } from '../support/postgres.ts';
import { ORGANIZATION, temporary } from './world.ts';

export const LARGE = { id: '01900000-0000-7000-8000-00000000000a', sessions: 1_100_000 }, SMALL = { id: '01900000-0000-7000-8000-00000000000b', sessions: 1_100 };
export type Sized = typeof LARGE;
/** Of eleven parts the newest six have expired, four are live (half of them idle), and the oldest is over. */
export const connectedOf = ({ sessions }: Sized): number => sessions / 11 * 10;

/** The first session's moment; the others follow by a millisecond each. Long ago, so that who was not active since is idle. */
const FIRST = Date.UTC(2026, 10, 1), NEVER = 4_102_444_800_000; // 2100: nobody expires while it is measured; and nobody is lost, because no server runs for a lease (beats from the future would be pulled back, all of them)
const NOBODY = '00000000-0000-0000-0000-000000000000';

const hex = (index: number) => (FIRST + index).toString(16).padStart(12, '0');
export const idOf = (index: number): string => `${hex(index).slice(0, 8)}-${hex(index).slice(8)}-7000-8000-${index.toString(16).padStart(12, '0')}`;

/** What differs between the two databases: how numbers are counted and written. */
interface Words { series: string; hex: (expression: string) => string; uuid: string }
const sqlite: Words = { series: 'with recursive series(i) as (select 0 union all select i + 1 from series where i + 1 < $N)', hex: (of) => `printf('%012x', ${of})`, uuid: '' };
const postgres: Words = { series: 'with series as (select generate_series(0, $N - 1)::bigint as i)', hex: (of) => `lpad(to_hex(${of}), 12, '0')`, uuid: '::uuid' };

function inserts({ id, sessions: n }: Sized, { series, hex: hexOf, uuid }: Words): string[] {
  const from = series.replace('$N', String(n)), at = `(${FIRST} + i)`, moment = hexOf(at), part = `(i * 11 / ${n})`;
  const sessionId = `(substr(${moment}, 1, 8) || '-' || substr(${moment}, 9) || '-7000-8000-' || ${hexOf('i')})${uuid}`;
  const facts = `'"name":"Claude Code on build-' || (i % 10) || '","agentId":"${id}","organizationId":"${ORGANIZATION}","hostname":"build-' || (i % 10)
    || '","userAgent":"claude-code/2.1.204 (cli)","clientInfo":{"name":"client-' || (i % 5) || '","version":"2.1.204"},"createdAt":"2026-11-01T00:00:00.000Z","userId":"user-' || (i % 10) || '"'`;
  return [
    `insert into applications (id, organization_id, name, created_at) values ('${id}', '${ORGANIZATION}', 'bench', ${FIRST})`,
    `insert into sessions (application_id, id, generation, state, reason, owner, user_id, client_name, hostname, token_expires_at, connected_at, disconnected_at, facts)
      ${uuid ? '' : from} ${uuid ? from : ''} select '${id}'${uuid}, ${sessionId}, 1, case when ${part} = 0 then 3 when ${part} < 5 then 0 else 1 end, case when ${part} = 0 then 'ended' end, '',
      'user-' || (i % 10), 'client-' || (i % 5), 'build-' || (i % 10), case when ${part} < 5 then ${NEVER} else ${at} + 1 end, ${at}, case when ${part} = 0 then ${at} + 1000 end, ${facts} from series`,
    `insert into session_activity (application_id, id, beat_at, last_active_at)
      ${from} select '${id}'${uuid}, ${sessionId}, ${at}, case when ${part} < 3 then ${at} else ${NEVER} end from series where ${part} > 0`,
  ];
}
const sentinel = `insert into session_activity (application_id, id, beat_at) values ('${NOBODY}', '${NOBODY}', ${NEVER})`;

const version = createHash('sha256').update(readFileSync(new URL('../../server/store/schema.ts', import.meta.url))).update(readFileSync(new URL(import.meta.url))).digest('hex').slice(0, 12);
const cache = join(tmpdir(), `rollcall-bench-${version}`);

/** A directory with both applications, for the service to run on. */
export async function sqliteMillion(): Promise<string> {
  const kept = join(cache, 'sqlite');
  if (!existsSync(kept)) {
    const part = `${kept}.part`;
    mkdirSync(cache, { recursive: true }); // for PostgreSQL's user too; the store would make it private
    rmSync(part, { recursive: true, force: true });
    await openSqlite(part).close();
    const db = new DatabaseSync(join(part, 'rollcall.db'));
    db.exec('pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -500000; begin');
    const triggers = db.prepare(`select name, sql from sqlite_master where type = 'trigger'`).all() as { name: string; sql: string }[]; // as selected
    for (const { name } of triggers) db.exec(`drop trigger ${name}`);
    for (const app of [LARGE, SMALL]) {
      for (const sql of inserts(app, sqlite)) db.exec(sql);
      db.exec(`update applications set connected = ${connectedOf(app)} where id = '${app.id}'`);
    }
    for (const { sql } of triggers) db.exec(sql);
    db.exec(`${sentinel}; commit; analyze; pragma journal_mode = wal`);
    db.close();
    renameSync(part, kept);
  }
  const directory = temporary();
  cpSync(kept, directory, { recursive: true });
  return directory;
}

/** A PostgreSQL with a database of both applications. */
export async function postgresMillion(): Promise<{ url: string; stop(): void }> {
  const directory = join(cache, 'postgres'), server = cluster(directory), ready = join(directory, 'ready');
  mkdirSync(cache, { recursive: true });
  const port = existsSync(ready) ? Number(readFileSync(ready, 'utf8')) : await freePort(), url = (name: string) => `postgres://rollcall@127.0.0.1:${port}/${name}`;
  if (!existsSync(ready)) {
    rmSync(directory, { recursive: true, force: true });
    server.create(port, 'shared_buffers = 2GB\n'); // the manual's advice, a quarter of the memory at most; the 128 MB it comes with hold a tenth of these rows
  }
  if (server.running) throw new Error(`another run uses ${directory}; or remove its postmaster.pid`);
  server.start();
  const ask = async (name: string, ...texts: string[]) => {
    const client = new pg.Client({ connectionString: url(name) });
    await client.connect();
    try { for (const text of texts) await client.query(text); } finally { await client.end(); }
  };
  if (!existsSync(ready)) {
    await ask('postgres', 'create database million');
    await (await openPostgres(url('million'), () => {})).close();
    await ask('million', 'set synchronous_commit = off', ...[LARGE, SMALL].flatMap((app) => inserts(app, postgres)), sentinel, 'vacuum analyze');
    writeFileSync(ready, String(port));
  }
  await ask('postgres', 'drop database if exists run with (force)', 'create database run template million strategy file_copy', 'checkpoint');
  await ask('run', 'vacuum analyze'); // what a server that has been running has done
  return { url: url('run'), stop: () => server.stop('fast') };
}
