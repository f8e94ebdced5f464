// What the store does by itself, always in small batches: what cannot wait comes between everything else.
import { setImmediate as breathe } from 'node:timers/promises';
import type { Context } from './context.ts';
import type { Credentials } from './credentials.ts';
import { eachApplication } from './each-application.ts';
import { forget } from './forget.ts';
import { settle } from './settle.ts';
import { MARK_MS, sweep } from './sweep.ts';

/** A filtered revoke writes down each of its batches; one that has not for so long will not go on. */
const STALE_REVOCATION_MS = 30_000;

export function maintenance(context: Context, credentials: Credentials, flush: () => Promise<void>) {
  const { db, now } = context;
  const { watch, stopSweeping } = sweep(context, flush);
  const { expireTokens, settleRevocations, interruptRevocations } = settle(context, credentials, flush);

  return {
    settleRevocations: (applicationId: string, signal?: AbortSignal) => settleRevocations(applicationId, signal),
    /** One round of the frequent duties. What can take long is interrupted by what cannot wait. */
    async maintain(signal?: AbortSignal): Promise<void> {
      if (!await watch(signal)) return;
      await interruptRevocations(now() - STALE_REVOCATION_MS);
      let watched = performance.now();
      const pause = async () => {
        await breathe();
        if (performance.now() - watched < MARK_MS) return;
        await watch(signal);
        watched = performance.now();
      };
      await eachApplication(db, signal, async ({ id, generation }) => {
        await settleRevocations(id, signal, pause);
        await expireTokens(id, generation, pause, signal);
        await pause();
      });
    },
    forget: forget(context, credentials),
    interruptRevocations, stopSweeping,
  };
}
