// `npm run sbom`: what the running server is made of, as a CycloneDX document. npm's own `--omit dev` leaves out what both sides use.
import { execFileSync } from 'node:child_process';

interface Component { 'bom-ref': string; name: string; version: string; properties?: { name: string; value: string }[] }
interface Bom { components: Component[]; dependencies: { ref: string; dependsOn: string[] }[] }

export function sbom(): Bom {
  const text = execFileSync('npm', ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'], { cwd: new URL('../..', import.meta.url), maxBuffer: 64 * 1_048_576, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  const bom: Bom = JSON.parse(text);
  const gone = new Set(bom.components.filter(({ properties }) => properties?.some(({ name }) => name === 'cdx:npm:package:development')).map((component) => component['bom-ref']));
  return {
    ...bom,
    components: bom.components.filter((component) => !gone.has(component['bom-ref'])),
    dependencies: bom.dependencies.filter(({ ref }) => !gone.has(ref)).map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((on) => !gone.has(on)) })),
  };
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(sbom(), null, 2)}\n`);
