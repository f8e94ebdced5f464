// Before everything else: says so when this Node is too old for the rest, which it could not even read (so this stays plain JavaScript), and keeps what is compiled.
import { readFileSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const [needed, has] = [engines.node.replace('>=', ''), process.versions.node].map((version) => version.split('.').map(Number));
const difference = needed.map((part, index) => has[index] - part).find((part) => part !== 0) ?? 0;
if (difference < 0) {
  process.stderr.write(`Rollcall needs Node ${engines.node}; this is ${process.versions.node}. A plain \`npm ci\` brings the right one along; with --omit=dev, install it yourself.\n`);
  process.exit(78); // EX_CONFIG
}

// What was compiled once need not be compiled at the next start, which takes two thirds of the time then. Where this cannot be written, nothing is kept.
module.enableCompileCache?.(fileURLToPath(new URL('../node_modules/.cache/rollcall', import.meta.url)));
