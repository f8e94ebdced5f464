// Makes generated/ from the contract, the TypeScript types and the contract as JSON, and the table of variables where it is shown; `--check` only says what is stale.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString, COMMENT_HEADER, type OpenAPI3 } from 'openapi-typescript';
import { WITH_VARIABLES, withVariables } from './readme.ts';
import { redocly } from './redocly.ts';

const root = new URL('../../', import.meta.url);

/** The content of each generated file, by its path from the root of the repository. */
export async function generate(contract = fileURLToPath(new URL('openapi.yaml', root))): Promise<Map<string, string>> {
  const document = await asJson(contract);
  const types = await openapiTS(structuredClone(document), {
    // A default is what the server assumes when a field is absent; the caller may still leave it out.
    defaultNonNullable: false,
    rootTypes: true,
    rootTypesNoSchemaPrefix: true,
    silent: true,
  });
  return new Map([
    ['generated/api.ts', COMMENT_HEADER + astToString(types)],
    ['generated/openapi.json', `${JSON.stringify(document, null, 2)}\n`],
  ]);
}

/** Which of the files in the repository are not what the contract makes of them. */
export async function stale(files: Map<string, string>, base = root): Promise<string[]> {
  const committed = await Promise.all([...files.keys()].map((path) => readFile(new URL(path, base), 'utf8').catch(() => undefined)));
  return [...files].filter(([, content], index) => committed[index] !== content).map(([path]) => path);
}

/** References stay references: a reader of /openapi.json gets the names, and a document of half the size. */
async function asJson(contract: string): Promise<OpenAPI3> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-generate-'));
  try {
    const { code, output } = await redocly('bundle', contract, '--ext', 'json', '--output', join(folder, 'openapi.json'));
    if (code !== 0) throw new Error(`The contract cannot be read.\n${output}`);
    return JSON.parse(await readFile(join(folder, 'openapi.json'), 'utf8'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const files = await generate();
  for (const path of WITH_VARIABLES) files.set(path, withVariables(await readFile(new URL(path, root), 'utf8')));
  const behind = await stale(files);
  if (!process.argv.includes('--check')) {
    for (const path of behind) await writeFile(new URL(path, root), files.get(path) ?? '');
    console.log(behind.length ? `Wrote ${behind.join(', ')}.` : 'Everything was up to date.');
  } else if (behind.length) {
    console.error(`Stale: ${behind.join(', ')}. Run \`npm run generate\` and commit the result.`);
    process.exitCode = 1;
  }
}
