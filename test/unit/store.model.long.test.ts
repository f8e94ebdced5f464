// More histories, others each time: the test's name says the seed, and MODEL_SEED repeats it.
import { randomInt } from 'node:crypto';
import { storeModelSuite } from '../suites/store-model.ts';

const env = (name: string, otherwise: number) => Number(process.env[name] ?? otherwise);

storeModelSuite({ seed: env('MODEL_SEED', randomInt(2 ** 31)), runs: env('MODEL_RUNS', 150), timeoutMs: 600_000 });
