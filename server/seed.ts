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

const one = <T>(list: readonly T[]): T => list[randomInt(list.length)]!;
const iso = (ms: number) => new Date(ms).toISOString();

export interface SeedOptions {
  baseUrl: string;
  token: string;
  applicationId: string;
  count: number;
  /** Where a bar is drawn, if it is a terminal. */
  progress?: NodeJS.WriteStream;
}

/** Of a hundred sessions about 55 are active, 20 idle, 10 expired, 10 have ended and 5 were revoked. Answers how many were made. */
export async function seed({ baseUrl, token, applicationId, count, progress }: SeedOptions): Promise<number> {
  const client = createClient({ baseUrl, token, retries: 5 });
  let made = 0, waiting: { sessionId: string; lastActiveAt: string }[] = [];
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

  const makeOne = async () => {
    const { name, title, versions, agent } = one<{ name: string; title?: string; versions: string[]; agent: (version: string) => string }>(CLIENTS);
    const version = one(versions), now = Date.now(), fate = randomInt(100);
    const { session } = await client.sessions.create(applicationId, {
      externalId: `seed:${randomUUID()}`,
      userId: one(USERS), hostname: one(HOSTS), userAgent: agent(version),
      clientInfo: { name, version, ...(title && { title }) },
      credentialId: `seed:${randomUUID()}`,
      tokenExpiresAt: iso(fate < 85 && fate >= 75 ? now - MINUTE * randomInt(1, 60) : now + MINUTE * randomInt(30, 600)),
    });
    if (fate < 85) waiting.push({ sessionId: session.id, lastActiveAt: iso(now - (fate < 55 ? randomInt(4 * MINUTE) : MINUTE * randomInt(6, 120))) });
    else if (fate < 95) await client.sessions.end(applicationId, session.id);
    else await client.sessions.revoke(applicationId, session.id);
    made++;
    if (made % 20 === 0) bar(false);
  };

  let left = count;
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, async () => {
    while (left-- > 0) {
      await makeOne();
      await beat(BATCH);
    }
  }));
  await beat(1);
  bar(true);
  return made;
}
