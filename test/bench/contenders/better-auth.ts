// better-auth's own session endpoints, with as many sessions of one user; it writes the cookies that ask for them beside the world.
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { toNodeHandler } from 'better-auth/node';
import { createHmac } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { readWorld } from '../world.ts';

const { directory, ids } = readWorld(), port = Number(process.env['PORT']), name = process.env['BENCH_NAME'] ?? 'better-auth';
const secret = 'a secret of thirty-two characters at least';
const database = new DatabaseSync(join(directory, `${name}.db`));
database.exec('pragma journal_mode = wal; pragma synchronous = normal');
const auth = betterAuth({
  database, secret, baseURL: `http://127.0.0.1:${port}`, emailAndPassword: { enabled: true }, logger: { disabled: true }, telemetry: { enabled: false },
  rateLimit: { enabled: false }, // it counts by address, and all of the load comes from one
});
await (await getMigrations(auth.options)).runMigrations();
const { user } = await auth.api.signUpEmail({ body: { email: 'bench@example.com', password: 'correct horse battery staple', name: 'Bench' } });
const context = await auth.$context;
const cookies: string[] = [];
for (let index = 1; index < ids.length; index++) { // signing up made one
  const { token } = await context.internalAdapter.createSession(user.id, false, { ipAddress: '127.0.0.1', userAgent: 'claude-code/2.1.204 (cli)' });
  const signed = `${token}.${createHmac('sha256', secret).update(token).digest('base64')}`;
  cookies.push(`${context.authCookies.sessionToken.name}=${encodeURIComponent(signed)}`);
}
createServer(toNodeHandler(auth)).listen(port, '127.0.0.1', () => {
  const file = join(directory, `${name}.json`);
  writeFileSync(`${file}.part`, JSON.stringify(cookies));
  renameSync(`${file}.part`, file);
});
