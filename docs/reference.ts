// The page of the reference: Redocly's, made from the contract with the samples in it, under the site's header.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { redocly } from '../server/dev/redocly.ts';
import { readContract } from './contract.ts';
import type { Sample } from './samples.ts';

const CONFIG = fileURLToPath(new URL('reference.yaml', import.meta.url));

/** By way of a temporary folder: a page without its policy is never where a server could pick it up. */
export async function buildReference(samples: Map<string, Sample>): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), 'rollcall-docs-'));
  try {
    await writeFile(join(scratch, 'openapi.json'), JSON.stringify(withSamples(samples)));
    const { code, output } = await redocly('build-docs', join(scratch, 'openapi.json'), '--config', CONFIG, '--lint-config', 'off', '--inlineBundle', '--output', join(scratch, 'reference.html'));
    if (code !== 0) throw new Error(`The reference cannot be built.\n${output}`);
    return mend(await readFile(join(scratch, 'reference.html'), 'utf8'));
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** The contract as the page shows it. Its links to the documentation lead to pages beside this one, wherever they are. */
function withSamples(samples: Map<string, Sample>): object {
  const contract = readContract();
  for (const item of Object.values(contract.paths ?? {})) {
    for (const operation of Object.values(item) as { operationId?: string; 'x-codeSamples'?: object[] }[]) { // or parameters, which have no operationId
      const sample = samples.get(operation.operationId ?? '');
      // A label would hide the entry: Redoc shows the languages that its configuration names.
      if (sample) operation['x-codeSamples'] = [{ lang: 'curl', source: sample.curl }, { lang: 'TypeScript', source: sample.typescript }];
    }
  }
  return JSON.parse(JSON.stringify(contract, (_, value: unknown) => (typeof value === 'string' ? value.replaceAll(/\]\(\/docs\/([\w-]+)/g, ']($1.html') : value)));
}

function mend(html: string): string {
  return html
    // Its maker's logo: refused by the policy anyway, and an empty image leaves the console quiet.
    .replaceAll(/https:\/\/cdn\.redoc\.ly\/[\w./-]+/g, 'data:,')
    // Until its script has run, its menu leads to the top of the server.
    .replaceAll(/(<a\b[^>]*\bhref=")(\/[^"]*")/g, '$1#$2');
}
