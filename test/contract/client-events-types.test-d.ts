// What the types of events and connections promise; the type check of the repository runs it, there is nothing to execute.
import { expectTypeOf } from 'vitest';
import type { components } from '../../generated/api.ts';
import { connect, type Connection, type Disconnected } from '../../client/connect.ts';
import { type ApplicationEvent, type Disconnect, subscribe, watchSession } from '../../client/events.ts';
import type { Session } from '../../client/index.ts';

const where = { baseUrl: '', token: () => 'secret', applicationId: '' };

expectTypeOf(subscribe(where)).toEqualTypeOf<AsyncIterable<ApplicationEvent>>();
expectTypeOf(watchSession({ ...where, sessionId: '' })).resolves.toEqualTypeOf<Disconnect>();
expectTypeOf(connect(where)).resolves.toEqualTypeOf<Connection>();
// @ts-expect-error whose events?
subscribe({ baseUrl: '', token: '' });
// @ts-expect-error the credential of a client comes from its token
connect({ ...where, session: { credentialId: 'grant-1' } });

// Events are those of the contract, but for the two that only end a stream.
type Named = Exclude<components['schemas']['ApplicationEvent']['event'], 'token_expired' | 'server_shutdown'>;
expectTypeOf<ApplicationEvent['type']>().toEqualTypeOf<Named>();

// They narrow by their type, and each has an id.
declare const event: ApplicationEvent;
expectTypeOf(event.id).toEqualTypeOf<string>();
switch (event.type) {
  case 'session.connected':
    expectTypeOf(event.generation).toEqualTypeOf<number>();
    expectTypeOf(event.session).toEqualTypeOf<Session>();
    break;
  case 'session.updated':
    expectTypeOf(event.session).toEqualTypeOf<Session>();
    // @ts-expect-error only a new session tells its generation
    void event.generation;
    break;
  case 'session.disconnected':
    expectTypeOf(event.sessionId).toEqualTypeOf<string>();
    expectTypeOf<'a reason of next year'>().toExtend<typeof event.reason>();
    break;
  case 'sessions.revoked':
    expectTypeOf(event.count).toEqualTypeOf<number>();
    break;
  case 'reset':
    expectTypeOf<keyof typeof event>().toEqualTypeOf<'type' | 'id'>();
    break;
  default:
    expectTypeOf(event).toEqualTypeOf<never>();
}

expectTypeOf<'a reason of next year'>().toExtend<Disconnected['reason']>();
expectTypeOf<Connection>().toExtend<AsyncDisposable>();
