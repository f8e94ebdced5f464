// What is committed in generated/ is what the contract makes of it now.
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate, stale } from '../../server/dev/generate.ts';
import { CONTRACT } from './contract.ts';

describe('generated/', () => {
  let fresh: Map<string, string>;
  let folder: string;
  beforeAll(async () => {
    fresh = await generate();
    folder = await mkdtemp(join(tmpdir(), 'rollcall-generated-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is what the contract makes of it', async () => {
    expect([...fresh.keys()]).toEqual(['generated/api.ts', 'generated/openapi.json']);
    expect(await stale(fresh), 'run `npm run generate`').toEqual([]);
  });

  it('names the files that are stale', async () => {
    await cp(new URL('../../generated', import.meta.url), join(folder, 'generated'), { recursive: true });
    await writeFile(join(folder, 'generated/openapi.json'), '{}');
    expect(await stale(fresh, pathToFileURL(`${folder}/`))).toEqual(['generated/openapi.json']);
  });

  it('follows a change of the contract, in both files', async () => {
    const changed = join(folder, 'changed.yaml');
    await writeFile(changed, (await readFile(CONTRACT, 'utf8')).replaceAll('getSessionCounts', 'countSessions'));
    expect(await stale(await generate(changed))).toEqual(['generated/api.ts', 'generated/openapi.json']);
  });

  it('keeps references in the JSON, and loses nothing of the contract', () => {
    const json = fresh.get('generated/openapi.json') ?? '';
    expect(json).toContain('"$ref": "#/components/schemas/Session"');
    expect(json).toContain('"operationId": "revokeSessions"');
  });
});
