// What clients connect to.
import type { Handlers } from '../operations.ts';
import type { Application } from '../store/store.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { actorOf, found, tenantOf } from './input.ts';
import { iso } from '../iso.ts';
import type { Dependencies } from './index.ts';

const present = ({ id, name, organizationId, createdAt }: Application) => ({ id, name, organizationId, createdAt: iso(createdAt) });

export const applicationHandlers = ({ store }: Dependencies) => ({
  createApplication: async ({ body, caller }) => {
    const application = present(await store.createApplication(caller.organizationId, body.name));
    return { status: 201, body: { application }, headers: { Location: `/api/v1/applications/${application.id}` } };
  },

  listApplications: async ({ query, caller }) => {
    const list = ['applications', caller.organizationId, caller.applicationId];
    const page = await store.listApplications(caller.organizationId, caller.applicationId, { after: decodeCursor(query.cursor, list), limit: query.limit! }); // the validator filled in the default
    return { status: 200, body: { items: page.items.map(present), ...encodeCursor(page.next, list) } };
  },

  getApplication: async ({ path, caller }) => ({ status: 200, body: { application: present(found(await store.getApplication(tenantOf(caller, path)))) } }),

  deleteApplication: async ({ path, caller, requestId }) => {
    const disconnectedCount = found(await store.deleteApplication(tenantOf(caller, path), actorOf(caller, requestId)));
    return { status: 200, body: { success: true, disconnectedCount } };
  },
}) satisfies Partial<Handlers>;
