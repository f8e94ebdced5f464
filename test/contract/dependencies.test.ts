// What the project stands on: pinned, locked, each with a reason, and nothing that runs at installation unasked.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sbom } from '../../server/dev/sbom.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const project = JSON.parse(read('package.json')), client = JSON.parse(read('client/package.json')), lock = JSON.parse(read('package-lock.json'));

describe('dependencies', () => {
  it('are pinned exactly', () => {
    for (const [name, version] of Object.entries({ ...project.dependencies, ...project.devDependencies, ...client.dependencies })) expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('have each a reason in SECURITY.md, and their number', () => {
    const table = read('SECURITY.md'), names = [...table.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1]);
    expect(names.sort()).toEqual(Object.keys(project.dependencies).sort());
    expect(table).toContain('Eleven packages');
    expect(names).toHaveLength(11);
    for (const name of Object.keys(client.dependencies)) expect(table).toContain(`\`${name}\``);
  });

  it('come with a checksum, and the lockfile names no registry', () => {
    for (const [path, entry] of Object.entries<{ link?: boolean; integrity?: string; resolved?: string }>(lock.packages)) {
      if (path === '' || path === 'client' || entry.link) continue;
      expect(entry.integrity, path).toMatch(/^sha512-/);
      expect(entry.resolved, path).toBeUndefined();
    }
  });

  it('run nothing at installation, except those that are allowed to', () => {
    const scripted = Object.entries<{ hasInstallScript?: boolean }>(lock.packages).filter(([path, entry]) => path && entry.hasInstallScript).map(([path]) => path.replace('node_modules/', ''));
    expect(scripted.filter((name) => project.allowScripts[name] !== true)).toEqual([]);
    expect(read('.npmrc')).toMatch(/^strict-allow-scripts=true$/m); // or else npm runs the others too, and says so afterwards
  });

  it('are listed by `npm run sbom`: what runs, and nothing that only develops', () => {
    const names = sbom().components.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([...Object.keys(project.dependencies).map((name) => name), 'openapi-fetch', 'router', 'ajv']));
    expect(names).not.toContain('vitest');
  });
});
