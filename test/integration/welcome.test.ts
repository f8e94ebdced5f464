// What a start prints, so that whoever sees it can go on by pasting.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../server/config.ts';
import { welcome } from '../../server/welcome.ts';
import { startTestService, type TestService } from '../support/service.ts';

describe('welcome', () => {
  let test: TestService;
  beforeEach(async () => { test = await startTestService(); test.clock.set(Date.now()); });
  afterEach(() => test.close());

  async function printed(env: Record<string, string> = {}): Promise<string> {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    await welcome(test.service, readConfig(env));
    const text = write.mock.calls.map(([chunk]) => String(chunk)).join('');
    write.mockRestore();
    return text;
  }
  const exported = (text: string, name: string) => new RegExp(`^  export ${name}=(.+)$`, 'm').exec(text)?.[1];

  it('makes a demo application once, with a token that may read it, and names the application at every later start', async () => {
    const first = await printed(), application = exported(first, 'ROLLCALL_APPLICATION');
    const answer = await fetch(`${exported(first, 'ROLLCALL_URL')}/api/v1/applications/${application}`, { headers: { authorization: `Bearer ${exported(first, 'ROLLCALL_TOKEN')}` } });
    expect(await answer.json()).toMatchObject({ application: { id: application, name: 'Demo' } });

    const later = await printed();
    expect([exported(later, 'ROLLCALL_APPLICATION'), exported(later, 'ROLLCALL_TOKEN')]).toEqual([application, '$(npm run -s token -- --org demo)']);
    expect(later).toContain(`${test.url}/console`);
  });

  it('prints no token where it is not for this machine alone, but how to get one', async () => {
    const text = await printed({ HOST: '0.0.0.0' });
    expect(exported(text, 'ROLLCALL_TOKEN')).toBe('$(npm run -s token -- --org demo)');
    expect(exported(text, 'ROLLCALL_APPLICATION')).toMatch(/^[\da-f-]{36}$/);
    expect(text).not.toMatch(/eyJ/);
  });

  it('tells another terminal where the data is, when it would look elsewhere', async () => {
    expect(exported(await printed(), 'DATA_DIR')).toBeUndefined();
    expect(exported(await printed({ DATA_DIR: "/srv/ada's data" }), 'DATA_DIR')).toBe("'/srv/ada'\\''s data'");
    expect(exported(await printed({ DATA_DIR: '/srv/rollcall', DATABASE_URL: 'postgres://somewhere/rollcall' }), 'DATA_DIR')).toBeUndefined();
  });

  it('says how to make an application where none is made for you, on PostgreSQL', async () => {
    const text = await printed({ DATABASE_URL: 'postgres://somewhere/rollcall' });
    expect(exported(text, 'ROLLCALL_APPLICATION')).toBeUndefined();
    expect(text).toMatch(/^Make a first application:\n {2}curl /m);
  });
});
