// `npm run walk`: the contract's walk-through (docs/walk.arazzo.yaml) on a server, the sandbox or the mock.
import { fileURLToPath } from 'node:url';
import { Option } from 'commander';
import { called } from './called.ts';
import { redocly, type Ran } from './redocly.ts';

const WALK = fileURLToPath(new URL('../../docs/walk.arazzo.yaml', import.meta.url));

/** Exit code 0 when every step's answer had the status, the schema and the content that it should have. */
export const walk = (server: string, token: string): Promise<Ran> =>
  redocly('respect', WALK, '--server', `rollcall=${server}`, '--input', `token=${token}`);

if (import.meta.main) {
  const { server, token } = called('walk', "The contract's walk-through on a server, the sandbox or the mock. It makes an application, and deletes it.")
    .addOption(new Option('--server <url>', 'where to walk').default('http://127.0.0.1:8080').env('ROLLCALL_URL'))
    .addOption(new Option('--token <token>', 'one with every scope; the mock takes any').env('ROLLCALL_TOKEN').makeOptionMandatory())
    .parse().opts<{ server: string; token: string }>();
  const base = server.replace(/\/$/, '');
  // The walk would only say that the first status is not 201.
  const why = await fetch(`${base}/api/v1/applications?limit=1`, { headers: { authorization: `Bearer ${token}` } })
    .then(async (answer) => answer.ok ? undefined : `answers ${answer.status}: ${(await answer.text()).slice(0, 500)}`, () => 'is out of reach');
  if (why !== undefined) {
    console.error(`${base} ${why}`);
    process.exit(1);
  }
  const { code, output } = await walk(base, token);
  process.stdout.write(output);
  process.exitCode = code;
}
