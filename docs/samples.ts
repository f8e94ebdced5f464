// How each operation is called: docs/samples/<operationId>.sh with curl, and .ts with the client. A test runs all of them against a real server.
import { readFileSync } from 'node:fs';
import { operations } from './contract.ts';

export interface Sample { curl: string; typescript: string }

/** In the repository they import the client's source, so that they are type-checked; a reader has the package. */
const published = (source: string): string => source.replaceAll(/'\.\.\/\.\.\/client\/(\w+)\.ts'/g, (_, entry: string) => `'@rollcall/client${entry === 'index' ? '' : `/${entry}`}'`);

export function sampleOf(operationId: string): Sample {
  const read = (ending: string): string => {
    const path = `samples/${operationId}.${ending}`;
    try {
      return readFileSync(new URL(path, import.meta.url), 'utf8').trim();
    } catch {
      throw new Error(`${operationId} has no docs/${path}: every operation is shown with curl and in TypeScript.`);
    }
  };
  return { curl: read('sh'), typescript: published(read('ts')) };
}

export const samples = (): Map<string, Sample> => new Map(operations.map(({ id }) => [id, sampleOf(id)]));
