// The files under deploy/ speak of this program: its variables, its ports, its probes, its Node.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { variables } from '../../server/config.ts';

const root = new URL('../..', import.meta.url).pathname;
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const yaml = (file: string) => parseAllDocuments(read(file), { merge: true }).map((document) => {
  expect(document.errors).toEqual([]);
  return document.toJS();
});
const files = globSync('deploy/**/*', { cwd: root, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(root.length));
const manifests = files.filter((file) => /kubernetes.*\.yaml$/.test(file) && !file.endsWith('kustomization.yaml'));
const [deployment] = yaml('deploy/kubernetes/deployment.yaml');
const [kustomization] = yaml('deploy/kubernetes/kustomization.yaml');
const [container] = deployment.spec.template.spec.containers;

describe('deploy/', () => {
  it.each(files)('%s sets only variables that exist', (file) => {
    const known = new Set([...Object.keys(variables), 'NODE_ENV', 'POSTGRES_PASSWORD', 'POSTGRES_USER']);
    const said = [...read(file).matchAll(/\b([A-Z]+_[A-Z_]+|PORT|HOST)\b(?=[=:])/g)].map((match) => match[1]!);
    expect(said.filter((name) => !known.has(name))).toEqual([]);
  });

  it('runs the Node that the project pins', () => {
    const pinned = JSON.parse(read('package.json')).devDependencies.node;
    const images = [...read('deploy/Containerfile').matchAll(/^FROM node:(\S+?)-/gm)].map((match) => match[1]);
    expect(images).toEqual([pinned, pinned, pinned]);
  });

  it('the container runs without rights, and starts as `npm start` does', () => {
    const last = read('deploy/Containerfile').split(/^FROM /m).at(-1)!;
    expect(last).toMatch(/^USER node$/m);
    const [, command] = /^CMD (\[.*\])$/m.exec(last)!;
    expect(JSON.parse(command!).join(' ')).toBe(JSON.parse(read('package.json')).scripts.start);
  });

  it('compose files run it on a read-only file system, with no capability', () => {
    for (const file of ['deploy/compose.yaml', 'deploy/compose.postgres.yaml']) {
      const services = Object.values<Record<string, unknown>>(yaml(file)[0].services).filter((service) => service['image'] === 'rollcall');
      expect(services.length).toBeGreaterThan(0);
      for (const service of services) expect(service).toMatchObject({ read_only: true, cap_drop: ['ALL'], build: { context: '..', dockerfile: 'deploy/Containerfile' } });
    }
  });

  it('the Kustomize base names every manifest beside it', () => {
    expect(kustomization.resources.map((name: string) => `deploy/kubernetes/${name}`).sort()).toEqual(manifests.sort());
    for (const file of manifests) for (const manifest of yaml(file)) expect(manifest).toMatchObject({ apiVersion: expect.any(String), kind: expect.any(String), metadata: { name: 'rollcall' } });
  });

  it('the Deployment asks the probes that exist, drains before it stops, and has no rights', () => {
    expect([container.startupProbe, container.livenessProbe, container.readinessProbe].map((probe) => probe.httpGet.path)).toEqual(['/livez', '/livez', '/readyz']);
    expect(container.securityContext).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    expect(deployment.spec.template.spec.securityContext.runAsNonRoot).toBe(true);
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(container.lifecycle.preStop.sleep.seconds + 30);
  });

  it('Service and PodDisruptionBudget select the pods', () => {
    const { labels } = deployment.spec.template.metadata;
    const [service] = yaml('deploy/kubernetes/service.yaml'), [budget] = yaml('deploy/kubernetes/disruption-budget.yaml');
    for (const selector of [deployment.spec.selector.matchLabels, service.spec.selector, budget.spec.selector.matchLabels]) expect(labels).toMatchObject(selector);
    expect(container.ports.map((port: { name: string }) => port.name)).toContain(service.spec.ports[0].targetPort);
  });

  it('the metrics, which need no token, are not for everybody in the cluster', () => {
    const [{ spec }] = yaml('deploy/kubernetes/network-policy.yaml');
    expect(deployment.spec.template.metadata.labels).toMatchObject(spec.podSelector.matchLabels);
    const open = spec.ingress.filter((rule: { from?: object }) => !rule.from).flatMap((rule: { ports: { port: string }[] }) => rule.ports.map(({ port }) => port));
    expect(open).toEqual(['http']);
    expect(spec.ingress.flatMap((rule: { ports: { port: string }[] }) => rule.ports.map(({ port }) => port)).sort()).toEqual(container.ports.map(({ name }: { name: string }) => name).sort());
  });
});
