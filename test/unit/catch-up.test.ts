// A reader that catches up, and the moment from which it is told of everything else: nothing may happen in between.
import { expect, it } from 'vitest';
import { isAfter, type ApplicationReader, type EventHub } from '../../server/events.ts';
import { encodeEventId } from '../../server/handlers/cursor.ts';
import type { Dependencies } from '../../server/handlers/index.ts';
import { streamHandlers } from '../../server/handlers/streams.ts';
import type { Sink } from '../../server/sse.ts';
import type { EventPosition, Store, StoredEvent } from '../../server/store/store.ts';

const applicationId = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const event = (seq: number): StoredEvent => ({ position: { tx: 0, seq }, at: 0, generation: 1, type: 'session.disconnected', sessionId: applicationId, reason: 'ended' });

/** Resumes after the first event; as soon as it has caught up with the second, the third is delivered. */
async function resume(remembered: readonly number[]): Promise<string> {
  let reader!: ApplicationReader, position: EventPosition = { tx: 0, seq: 2 }, written = '';
  const deliver = () => {
    if (position.seq === 3) return;
    position = { tx: 0, seq: 3 };
    if (reader.live && isAfter(position, reader.position)) reader.deliver(Buffer.from('the third'));
  };
  const hub: Partial<EventHub> = {
    async readApplication(_applicationId, made) {
      reader = made;
      return { stop() {}, get position() {
        if (!isAfter(position, reader.position)) queueMicrotask(deliver);
        return position;
      } };
    },
  };
  const store: Partial<Store> = {
    now: () => 0, isVisible: async () => true,
    readEvents: async (_applicationId, { seq }) => remembered.filter((one) => one > seq && one <= position.seq).map(event),
  };
  const sink: Sink = { write: (text) => { written += text.toString(); }, end() {}, drained: async () => {}, closed: false, onClose() {} };
  const call = { path: { applicationId }, header: { 'last-event-id': encodeEventId(0, { tx: 0, seq: 1 }, applicationId) }, caller: { organizationId: 'o' } };
  // What the handler looks at.
  const { stream } = await streamHandlers({ store, hub, eventRetention: 1, idleAfter: 1 } as unknown as Dependencies).streamApplicationEvents(call as never);
  await stream.start(sink);
  await new Promise(setImmediate);
  return written;
}

it.each([['', [2]], [', also where the rest was forgotten', []]])('an event that comes at the last moment is not missed%s', async (_what, remembered) => {
  expect(await resume(remembered)).toContain('the third');
});

it.each([['is not told to begin anew by one that lags behind, nor told twice', 2, false], ['is told to begin anew where there is no such event', 1, true]])('a reader that comes from another instance %s', async (_what, newest, isReset) => {
  let reader!: ApplicationReader, written = '';
  const hub: Partial<EventHub> = { readApplication: async (_applicationId, made) => (reader = made, { stop() {}, position: { tx: 0, seq: 1 } }) };
  const store: Partial<Store> = { now: () => 0, isVisible: async () => true, newestEvent: async () => ({ tx: 0, seq: newest }) };
  const sink: Sink = { write: (text) => { written += text.toString(); }, end() {}, drained: async () => {}, closed: false, onClose() {} };
  const call = { path: { applicationId }, header: { 'last-event-id': encodeEventId(0, { tx: 0, seq: 2 }, applicationId) }, caller: { organizationId: 'o' } };
  // What the handler looks at.
  const { stream } = await streamHandlers({ store, hub, eventRetention: 1, idleAfter: 1 } as unknown as Dependencies).streamApplicationEvents(call as never);
  await stream.start(sink);
  expect(written.includes('reset')).toBe(isReset);
  expect(reader).toMatchObject({ live: true, position: { tx: 0, seq: isReset ? 1 : 2 } });
});
