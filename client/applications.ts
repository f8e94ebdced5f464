// Calls about applications: what clients connect to.
import { everyItem } from './paging.ts';
import { APPLICATION, APPLICATIONS, queryOf, type Transport } from './transport.ts';
import type { Application, CallOptions, ListOptions, NewApplication, Page, PageOptions, RevokeResult } from './types.ts';

export interface Applications {
  /** Every application of the organization, newest first; a token bound to one sees only that. Needs `applications:read`. */
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

export function createApplications({ http, call }: Transport): Applications {
  const applications: Applications = {
    list: (options) => everyItem(options, (next) => applications.page(next)),

    page: (options) => call(options, (fetch) => http.GET(APPLICATIONS, { fetch, params: { query: queryOf(options) } })),

    get: async (applicationId, options) => {
      const path = { applicationId };
      return (await call(options, (fetch) => http.GET(APPLICATION, { fetch, params: { path } }))).application;
    },

    create: async (body, options) =>
      (await call(options, (fetch) => http.POST(APPLICATIONS, { fetch, body }))).application,

    delete: (applicationId, options) =>
      call(options, (fetch) => http.DELETE(APPLICATION, { fetch, params: { path: { applicationId } } })),
  };
  return applications;
}
