// Makes docs/pictures/console-light.png and -dark.png: the console on a morning's worth of sessions. Run it with `node test/support/console-picture.ts`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startBrowser } from './console.ts';
import { shrink } from './png.ts';
import { startTestService } from './service.ts';

const MINUTE = 60_000;
const folder = fileURLToPath(new URL('../../docs/pictures/', import.meta.url));

/** Always the same choices, so that the picture only changes when the console does. */
let seed = 7;
const chance = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
const one = <Item>(items: readonly Item[]): Item => items[Math.floor(chance() * items.length)]!; // never empty

const CLIENTS = [
  { name: 'claude-code', title: 'Claude Code', version: '2.1.204' }, { name: 'claude-code', title: 'Claude Code', version: '2.1.198' }, { name: 'cursor', title: 'Cursor', version: '1.2.0' },
  { name: 'codex', title: 'Codex', version: '0.61.0' }, { name: 'vscode', title: 'Visual Studio Code', version: '1.106.1' }, { name: 'mcp-inspector', title: 'MCP Inspector', version: '2.12.0' },
];
const PEOPLE = [['ada', 'adas-macbook'], ['grace', 'grace-thinkpad'], ['alan', 'bletchley-3'], ['barbara', 'liskov-dev'], ['edsger', 'build-07'], ['margaret', 'apollo-11'], ['katherine', 'langley-2']] as const;
const OTHER_APPLICATIONS = ['Docs search', 'Ticket agent'];
const COUNT = 260, HOURS = 5;

let behind = HOURS * 60 * MINUTE;
const now = () => Date.now() - behind;
const service = await startTestService({ clock: { now, advance: () => {}, set: () => {} }, background: true, env: { LEASE: '1d' } });
for (const name of OTHER_APPLICATIONS) await service.call('POST', '/applications', { body: { name } });
const app: string = (await service.call('POST', '/applications', { body: { name: 'Billing MCP server' } })).body.application.id;
const path = `/applications/${app}`, beats: { sessionId: string; lastActiveAt: string }[] = [];
for (let index = 0; index < COUNT; index++) {
  behind = HOURS * 60 * MINUTE * (1 - (index + 1) / COUNT);
  const [person, hostname] = one(PEOPLE), clientInfo = one(CLIENTS), fate = chance();
  const lifetime = fate < 0.08 ? -behind - MINUTE : (20 + 580 * chance()) * MINUTE;
  const { body } = await service.call('POST', `${path}/sessions`, { body: {
    userId: `user_${person}`, hostname, clientInfo, userAgent: `${clientInfo.name}/${clientInfo.version}`, credentialId: `sid:${index}`, tokenExpiresAt: new Date(Date.now() + lifetime).toISOString(),
  } });
  if (fate < 0.16 && fate > 0.08) await service.call('POST', `${path}/sessions/${body.session.id}/end`);
  else if (fate < 0.66) beats.push({ sessionId: body.session.id, lastActiveAt: new Date(Date.now() - chance() * Math.min(4 * MINUTE, behind)).toISOString() });
}
behind = 0;
await service.call('POST', `${path}/heartbeats`, { body: { heartbeats: beats } });
const token = await service.token({ subject: 'ops@acme.example', ttlMs: 8 * 60 * MINUTE });

mkdirSync(folder, { recursive: true });
const visitor = await startBrowser();
for (const colorScheme of ['light', 'dark'] as const) {
  const { page, signIn, wrong } = await visitor.visit(service.url, { colorScheme, hash: `#/${app}/sessions` });
  await signIn(token);
  await page.locator('.body > .row.active').first().waitFor();
  await page.locator('.stream[data-state=open]').waitFor();
  await page.locator('.body > .row').nth(4).hover();
  await page.waitForTimeout(6_000); // what was written has been counted
  const picture = shrink(await page.screenshot());
  if (picture.length > 150_000) throw new Error(`the picture has ${picture.length} bytes`);
  writeFileSync(`${folder}console-${colorScheme}.png`, picture);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
}
await visitor.close();
await service.close();
console.log('Made docs/pictures/console-light.png and console-dark.png.');
