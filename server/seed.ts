// Realistic sessions, made through the API by the client: people, agents, hosts, and every status there is.
import { randomInt, randomUUID } from 'node:crypto';
import { createClient } from '../client/index.ts';

const CLIENTS = [
  { name: 'claude-code', title: 'Claude Code', versions: ['2.1.204', '2.1.198', '2.0.77'], agent: (version: string) => `claude-code/${version} (cli)` },
  { name: 'cursor', title: 'Cursor', versions: ['1.1.6', '1.2.0'], agent: (version: string) => `Cursor/${version} (darwin arm64)` },
  { name: 'codex', title: 'Codex', versions: ['0.61.0', '0.58.2'], agent: (version: string) => `codex/${version}` },
  { name: 'vscode', title: 'Visual Studio Code', versions: ['1.106.1'], agent: () => 'node' },
  { name: 'mcp-inspector', versions: ['2.12.0'], agent: () => 'node' },
];
const HOSTS = ['build-07', 'build-12', 'ada-macbook', 'grace-thinkpad', 'ci-runner-3', null];
const USERS = ['user_ada', 'user_grace', 'user_alan', 'user_edsger', 'user_barbara'];
const MINUTE = 60_000;
const AT_ONCE = 8;
const BATCH = 1_000;
/** Three times in a lease, as it is by default. */
const BEAT_MS = 30_000;

const one = <T>(list: readonly T[]): T => list[randomInt(list.length)]!;
const iso = (ms: number) => new Date(ms).toISOString();

/** Somebody who connects: who, with what, from where. */
export function newcomer() {
  const { name, title, versions, agent } = one<{ name: string; title?: string; versions: string[]; agent: (version: string) => string }>(CLIENTS);
  const version = one(versions);
  return {
    externalId: `seed:${randomUUID()}`, userId: one(USERS), hostname: one(HOSTS), userAgent: agent(version),
    clientInfo: { name, version, ...(title && { title }) }, credentialId: `seed:${randomUUID()}`,
  };
}

export interface SeedOptions {
  baseUrl: string;
  token: string;
  applicationId: string;
  count: number;
  /** Where a bar is drawn, if it is a terminal. */
  progress?: NodeJS.WriteStream;
  now?: () => number;
}

/**
 * Of a hundred sessions about 55 are active, 20 idle, 10 expired, 10 have ended and 5 were revoked. Answers how many were made.
 * The limits that a server has by default are enough for any number: revokes are counted, so those who are thrown out go together.
 */
export async function seed({ baseUrl, token, applicationId, count, progress, now = Date.now }: SeedOptions): Promise<number> {
  const client = createClient({ baseUrl, token, retries: 5 });
  const leaver = `user_mallory_${randomUUID().slice(0, 8)}`; // of this run, and of nobody else
  const connected: string[] = [];
  let made = 0, heardAt = now(), waiting: { sessionId: string; lastActiveAt: string }[] = [];
  const bar = (done: boolean) => {
    if (!progress?.isTTY) return;
    const width = 40, filled = Math.round(width * made / count);
    progress.write(`\r[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${made}/${count}${done ? '\n' : ''}`);
  };
  const beat = async (least: number) => {
    if (waiting.length < least) return;
    const beats = waiting.splice(0, BATCH);
    await client.sessions.heartbeat(applicationId, beats);
  };
  /** So that the first is not lost before the last is there. */
  const keepAlive = async () => {
    heardAt = now();
    for (let from = 0; from < connected.length; from += BATCH) await client.sessions.heartbeat(applicationId, connected.slice(from, from + BATCH).map((sessionId) => ({ sessionId })));
  };

  const makeOne = async () => {
    const at = now(), fate = randomInt(100);
    const { session } = await client.sessions.create(applicationId, {
      ...newcomer(), ...(fate >= 95 && { userId: leaver }),
      tokenExpiresAt: iso(fate < 85 && fate >= 75 ? at - MINUTE * randomInt(1, 60) : at + MINUTE * randomInt(30, 600)),
    });
    if (fate < 85) waiting.push({ sessionId: session.id, lastActiveAt: iso(at - (fate < 55 ? randomInt(4 * MINUTE) : MINUTE * randomInt(6, 120))) });
    if (fate >= 85 && fate < 95) await client.sessions.end(applicationId, session.id);
    else connected.push(session.id);
    made++;
    if (made % 20 === 0) bar(false);
  };

  let left = count;
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, async () => {
    while (left-- > 0) {
      await makeOne();
      await beat(BATCH);
      if (now() - heardAt > BEAT_MS) await keepAlive();
    }
  }));
  await beat(1);
  await client.sessions.revokeAll(applicationId, { userId: leaver });
  await keepAlive();
  bar(true);
  return made;
}
