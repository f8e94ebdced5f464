// The application's event stream, for as long as the application is on show: hands events on, and says how the stream is.
import { subscribe, type ApplicationEvent, type StreamState } from '../events.ts';
import type { Access } from './access.ts';

export type LiveState = { state: 'connecting' } | StreamState | { state: 'refused'; error: unknown };

export interface Live {
  readonly state: LiveState;
  /** When the stream last began anew after events were lost. */
  readonly resetAt: number | undefined;
  on(listener: { event?: (event: ApplicationEvent) => void; state?: (state: LiveState) => void }, signal: AbortSignal): void;
}

export function follow({ baseUrl, bearer: token }: Access, applicationId: string, signal: AbortSignal): Live {
  const listeners = new Set<Parameters<Live['on']>[0]>();
  let state: LiveState = { state: 'connecting' }, resetAt: number | undefined;
  const become = (next: LiveState) => {
    state = next;
    for (const listener of listeners) listener.state?.(next);
  };
  void (async () => {
    try {
      for await (const event of subscribe({ baseUrl, token, applicationId, signal, onState: become })) {
        if (event.type === 'reset') resetAt = Date.now();
        for (const listener of listeners) listener.event?.(event);
      }
    } catch (error) {
      if (!signal.aborted) become({ state: 'refused', error });
    }
  })();
  return {
    get state() { return state; },
    get resetAt() { return resetAt; },
    on(listener, until) {
      listeners.add(listener);
      until.addEventListener('abort', () => listeners.delete(listener), { once: true });
    },
  };
}
