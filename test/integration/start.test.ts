// The server as a process that cannot serve yet.
import { afterEach, expect, it } from 'vitest';
import { killInstances, spawnInstance, until } from '../support/instances.ts';

afterEach(killInstances);

it.each(['SIGTERM', 'SIGINT'] as const)('%s ends a server that waits for its database', async (signal) => {
  const instance = await spawnInstance('postgres://nobody@127.0.0.1:1/nowhere');
  const says = (message: string) => instance.logged.some(({ msg }) => msg === message);
  await until(() => says('the database is out of reach; waiting for it'), 20_000, 'it waits');
  instance.signal(signal);
  expect(await instance.exited).toBe(0);
  expect(says('shutting down')).toBe(true);
});
