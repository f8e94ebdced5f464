// Calls about applications: what clients connect to.
import { everyItem } from './paging.ts';
import { split, type Transport } from './transport.ts';
import type { Application, CallOptions, ListOptions, NewApplication, Page, PageOptions, RevokeResult } from './types.ts';

export interface Applications {
  /** Every application of the token's organization, newest first; a token bound to one sees only that. Needs `applications:read`. */
  list(options?: ListOptions): AsyncIterable<Application>;

  /** One page of the applications, newest first. Needs `applications:read`. */
  page(options?: PageOptions): Promise<Page<Application>>;

  /** One application; 404 `not-found` when there is none, or it belongs to another organization. Needs `applications:read`. */
  get(applicationId: string, options?: CallOptions): Promise<Application>;

  /** Makes an application; the server makes its id. Never tried again, since that could make two. Needs `applications:write`. */
  create(application: NewApplication, options?: CallOptions): Promise<Application>;

  /**
   * Revokes every session of the application and deletes it; there is no way back. When the answer of a first attempt
   * was lost, the repetition finds nothing and rejects with 404 `not-found`: the application is gone all the same.
   * Needs `applications:write` and `sessions:revoke`.
   */
  delete(applicationId: string, options?: CallOptions): Promise<RevokeResult>;
}

const APPLICATIONS = '/api/v1/applications';
const APPLICATION = '/api/v1/applications/{applicationId}';

export function createApplications({ http, call }: Transport): Applications {
  const applications: Applications = {
    list: (options) =>
      everyItem((cursor) => applications.page(cursor === undefined ? options : { ...options, cursor })),

    page: (options = {}) => {
      const { call: policy, query } = split(options);
      return call({ ...policy, idempotent: true }, (fetch) => http.GET(APPLICATIONS, { fetch, params: { query } }));
    },

    get: async (applicationId, options) => {
      const { application } = await call({ ...options, idempotent: true }, (fetch) =>
        http.GET(APPLICATION, { fetch, params: { path: { applicationId } } }),
      );
      return application;
    },

    create: async (body, options) => {
      const { application } = await call({ ...options, idempotent: false }, (fetch) =>
        http.POST(APPLICATIONS, { fetch, body }),
      );
      return application;
    },

    delete: (applicationId, options) =>
      call({ ...options, idempotent: true }, (fetch) =>
        http.DELETE(APPLICATION, { fetch, params: { path: { applicationId } } }),
      ),
  };
  return applications;
}
