// A desktop agent: connected for as long as it runs, active while somebody types, gone when it is thrown out.
//
//   ROLLCALL_URL=http://127.0.0.1:8080 ROLLCALL_APPLICATION=<uuid> ROLLCALL_TOKEN=<token with sessions:connect> node docs/examples/desktop-agent.ts
import { hostname } from 'node:os';
import { connect, ProblemError } from '../../client/connect.ts'; // '@rollcall/client/connect' in a project of your own

const { ROLLCALL_URL: baseUrl = 'http://127.0.0.1:8080', ROLLCALL_APPLICATION: applicationId = '', ROLLCALL_TOKEN = '' } = process.env;

try {
  const connection = await connect({
    baseUrl,
    applicationId,
    // Asked before every attempt: where tokens expire, answer the current one.
    token: () => ROLLCALL_TOKEN,
    session: { hostname: hostname(), clientInfo: { name: 'desktop-agent', version: '1.0.0' } },
    onState: ({ state }) => console.log(state === 'open' ? 'Connected.' : 'Out of reach; trying again.'),
  });
  process.stdin.on('data', () => connection.active());
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void connection.close());
  console.log(`This is ${connection.session.name}, session ${connection.session.id}.`);

  const { reason, detail } = await connection.disconnected;
  await connection.close();
  process.stdin.destroy();
  console.log(`Over (${reason}): ${detail}`);
  if (reason !== 'closed') process.exitCode = 1;
} catch (error) {
  const isThrownOut = error instanceof ProblemError && error.code === 'credential-revoked';
  console.error(isThrownOut ? 'This login was thrown out: log in again.' : error);
  process.exitCode = 1;
}
