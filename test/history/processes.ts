// Real server processes on one real PostgreSQL as the subject of a history, and a nemesis for them.
import { setTimeout as wait } from 'node:timers/promises';
import { ask, sql, startDatabaseProxy, startInstance, startPrivateCluster, tokens, until, type Instance, type Timed } from '../support/instances.ts';
import { openStream, type ReceivedEvent } from '../support/stream.ts';
import type { Answered, Api, Audited, Listed, State } from './record.ts';
import type { Subject } from './run.ts';

const INSTANCES = 3;

const stateOf = ({ status, disconnectReason }: { status: string; disconnectReason?: State }): State => disconnectReason ?? status as State; // `active`, where there is no reason

function apiOf(url: string, token: string): Api {
  const answer = async <Body>(path: string, method: string, body: unknown, read: (body: any) => Body, requestId?: string): Promise<Answered<Body>> => { // the contract says what comes
    let timed: Timed;
    try { timed = await ask(url, token, method, `/applications/${path}`, body, requestId); } catch { return { status: 0 }; }
    const { status, headers } = timed;
    return { status, hasRetryAfter: headers.has('retry-after'), ...(status < 300 && { body: read(timed.body) }) };
  };
  const pages = async <Item>(path: string, read: (item: any) => Item): Promise<Answered<{ items: Item[] }>> => {
    const items: Item[] = [];
    for (let cursor = ''; ;) {
      const page = await answer(`${path}limit=1000${cursor}`, 'GET', undefined, (body) => body);
      if (page.status !== 200) return page;
      items.push(...page.body.items.map(read));
      if (!page.body.nextCursor) return { status: 200, body: { items } };
      cursor = `&cursor=${page.body.nextCursor}`;
    }
  };
  return {
    create: (app, userId) => answer(`${app}/sessions`, 'POST', { userId }, ({ session }) => ({ id: session.id })),
    beat: (app, ids) => answer(`${app}/heartbeats`, 'POST', { heartbeats: ids.map((sessionId) => ({ sessionId, lastActiveAt: new Date().toISOString() })) }, ({ ended }) => ({ ended: ended.map(({ sessionId }: { sessionId: string }) => sessionId) })),
    end: (app, id) => answer(`${app}/sessions/${id}/end`, 'POST', undefined, (body) => body),
    revoke: (app, target, requestId) => answer(target === 'all' ? `${app}/sessions` : 'userId' in target ? `${app}/sessions?userId=${encodeURIComponent(target.userId)}` : `${app}/sessions/${target.sessionId}`,
      'DELETE', undefined, ({ disconnectedCount }) => ({ count: disconnectedCount }), requestId),
    list: (app) => pages<Listed>(`${app}/sessions?status=all&`, (session) => ({ id: session.id, state: stateOf(session) })),
    get: (app, id) => answer(`${app}/sessions/${id}`, 'GET', undefined, ({ session }) => ({ state: stateOf(session) })),
    audit: (app) => pages<Audited>(`${app}/revocations?`, ({ id, requestId, disconnectedCount, action, filter }) => ({ id, requestId, count: disconnectedCount, isAll: action === 'revokeSessions' && Object.keys(filter).length === 0 })),
  };
}

export async function startProcesses(): Promise<{ subject: Subject; close(): Promise<void> }> {
  const cluster = await startPrivateCluster();
  cluster.start();
  const proxy = await startDatabaseProxy(cluster.url);
  const env = { LEASE: '1h', IDLE_AFTER: '1h' };
  const instances: Instance[] = await Promise.all(Array.from({ length: INSTANCES }, () => startInstance(proxy.url, { env })));
  const urls = instances.map(({ url }) => url);
  const token = await (await tokens(cluster.url))({ ttlMs: 86_400_000 });
  const apps = await Promise.all([0, 1].map(async () => (await ask(urls[0]!, token, 'POST', '/applications', { name: 'History' })).body.application.id as string));
  const any = () => Math.floor(Math.random() * INSTANCES);
  const short = () => wait(400 + Math.random() * 1_600);

  const troubles: Record<string, () => Promise<void>> = {
    async 'an instance is killed and started again'() {
      const index = any();
      await instances[index]!.kill();
      await short();
      instances[index] = await startInstance(proxy.url, { env, port: Number(new URL(urls[index]!).port) });
    },
    async 'an instance is stopped for a while'() {
      const instance = instances[any()]!;
      instance.signal('SIGSTOP');
      await short();
      instance.signal('SIGCONT');
    },
    async 'the listening connections are ended'() { await sql(cluster.url, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rollcall bell'`); await wait(300); },
    async 'every connection is ended'() { await sql(cluster.url, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rollcall'`); },
    async 'the network to the database is cut'() { proxy.cut(); await short(); proxy.mend(); },
    async 'the network to the database goes silent'() { proxy.silence(); await short(); proxy.mend(); },
    async 'the database is restarted'() { await cluster.end('SIGINT'); cluster.start(); },
    async 'the database crashes'() { await cluster.end('SIGQUIT'); cluster.start(); },
    async 'the database hangs'() { cluster.hang(); await short(); cluster.goOn(); },
  };

  /** Reads a stream whatever breaks, from one instance after the other, until told to stop, or until a stream has ended in which `tell` wanted no more. */
  function read(path: string, first: number, tell: (event: ReceivedEvent) => boolean): { readonly lastId: string; stop(): Promise<void> } {
    let going = true, lastId = '', close = () => {};
    const reading = (async () => {
      for (let turn = first; going; turn++) {
        try {
          const stream = await openStream(`${urls[turn % INSTANCES]}/api/v1/applications/${path}`, token, lastId ? { 'last-event-id': lastId } : {});
          close = stream.close;
          if (!going) stream.close();
          if (stream.response.status === 200) {
            let isOver = false;
            for (;;) {
              const event = await stream.next().catch(() => undefined);
              // Also a stream that brings no event says where it is.
              lastId = event?.id ?? [...stream.text.matchAll(/^id: (.*)\n/gm)].at(-1)?.[1] ?? lastId;
              if (!event) break;
              if (event.event !== 'server_shutdown') isOver = !tell(event) || isOver;
            }
            if (isOver) return;
          }
        } catch { /* the instance is away: the next one */ }
        await wait(50);
      }
    })();
    return { get lastId() { return lastId; }, async stop() { going = false; close(); await reading; } };
  }

  return {
    subject: {
      apis: urls.map((url) => apiOf(url, token)), apps,
      async follow(app, reader, tell) {
        const stream = read(`${app}/events`, reader, ({ id, event, data }) => {
          tell({ id: id!, type: event, sessionId: data.session?.id ?? data.sessionId, revocationId: data.revocationId }); // all of these have one
          return true;
        });
        // It has begun when the first position is known; here a first event is made for that.
        await until(async () => { await ask(urls[0]!, token, 'POST', `/applications/${app}/sessions`, { userId: 'the first' }); await wait(100); return stream.lastId !== ''; }, 20_000, 'a reader has begun');
        return stream.stop;
      },
      hold: (app, sessionId, tell) => read(`${app}/sessions/${sessionId}/events`, any(), ({ event, data }) => {
        if (event === 'disconnect') tell(data.reason);
        return event !== 'disconnect';
      }).stop,
      async nemesis(signal, wrong) {
        const names = Object.keys(troubles);
        for (let turn = any(); !signal.aborted; turn++) {
          await wait(700);
          const name = names[(turn * 4) % names.length]!; // all of them, in another order
          await wrong(name, troubles[name]!);
        }
        await until(async () => (await Promise.all(urls.map((url) => ask(url, token, 'GET', '/readyz').then(({ status }) => status === 200, () => false)))).every(Boolean), 20_000, 'all are ready again');
      },
    },
    async close() {
      await Promise.all(instances.map((instance) => instance.kill()));
      await proxy.close();
      cluster.drop();
    },
  };
}
