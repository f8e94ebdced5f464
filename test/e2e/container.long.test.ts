// What deploy/Containerfile puts into the image is enough: the same files, laid out as it says, run by a user who may write nothing but the data.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { rootIsThere } from '../support/needs.ts';
import { freePort } from '../support/postgres.ts';

const root = new URL('../..', import.meta.url).pathname;
const USER = 1000; // `node` in the image

/** Does the COPY lines of a stage. What another stage has built lies in this folder too. */
function copyStage(stage: string, into: string): void {
  for (const [, from, files] of stage.matchAll(/^COPY (?:--from=(\w+) )?(.*)$/gm)) {
    const sources = files!.split(' '), target = sources.pop()!;
    for (const source of sources.map((path) => path.replace('/rollcall/', ''))) {
      const origin = from === 'modules' ? join(into, '..', 'modules') : root;
      cpSync(join(origin, source), target.endsWith('/') && (sources.length > 1 || target === './') ? join(into, target, source) : target.endsWith('/') && !source.includes('.') ? join(into, target) : join(into, target, source.split('/').at(-1)!), { recursive: true });
    }
  }
}

it.runIf(rootIsThere("the image's test"))('the image has what the server, its pages and its command line need', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-image-')), image = join(folder, 'image'), modules = join(folder, 'modules'), data = join(folder, 'data');
  try {
    const [, pages, install, run] = readFileSync(join(root, 'deploy/Containerfile'), 'utf8').split(/^FROM /m);
    expect(pages).toContain('RUN npm ci');
    mkdirSync(modules);
    copyStage(install!, modules);
    const [, command] = /^RUN (npm ci .*)$/m.exec(install!)!;
    execFileSync('bash', ['-c', command!], { cwd: modules, stdio: 'pipe' });
    mkdirSync(image);
    copyStage(run!, image);
    mkdirSync(data);
    chownSync(data, USER, USER);
    for (const open of [folder, image]) chmodSync(open, 0o755);

    const port = await freePort();
    const env = { PATH: process.env['PATH'], NODE_ENV: 'production', PORT: String(port), DATA_DIR: data };
    const [program, ...args] = JSON.parse(/^CMD (\[.*\])$/m.exec(run!)![1]!) as string[];
    const server = spawn(program!, args, { cwd: image, env, uid: USER, gid: USER, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    server.stdout.on('data', (chunk) => { printed += chunk; });
    server.stderr.on('data', (chunk) => { printed += chunk; });
    try {
      const deadline = Date.now() + 20_000;
      while (!printed.includes('listening') && server.exitCode === null && Date.now() < deadline) await Promise.race([once(server.stdout, 'data'), once(server, 'exit')]);
      const status = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
      expect(await status('/readyz'), printed).toBe(200);
      expect(await status('/openapi.json')).toBe(200);
      if (existsSync(join(root, 'docs/site/index.html'))) expect(await status('/docs')).toBe(200);
      const [, health] = /CMD (\["node", "-e".*\])$/m.exec(run!)!;
      execFileSync('node', (JSON.parse(health!) as string[]).slice(1), { env });
      const token = execFileSync('node', ['server/cli.ts', 'token', '--org', 'demo'], { cwd: image, env, uid: USER, gid: USER }).toString().trim();
      expect((await fetch(`http://127.0.0.1:${port}/api/v1/applications`, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(200);
    } finally {
      server.kill('SIGTERM');
      if (server.exitCode === null) await once(server, 'exit');
    }
    expect(server.exitCode).toBe(0);
    expect(dirname(image)).toBe(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 180_000);
