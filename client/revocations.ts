// Calls about revocations: the audit, and the credentials that are refused because of one.
import { everyItem } from './paging.ts';
import { APPLICATION, queryOf, type Transport } from './transport.ts';
import type { CallOptions, ListOptions, Page, PageOptions, Revocation, RevokedCredential } from './types.ts';

export interface Revocations {
  /** The whole audit, newest first: every revoke and every credential allowed again. Needs `sessions:read`. */
  list(applicationId: string, options?: ListOptions): AsyncIterable<Revocation>;

  /** One page of the audit, newest first. Needs `sessions:read`. */
  page(applicationId: string, options?: PageOptions): Promise<Page<Revocation>>;
}

export interface Credentials {
  /** Every credential that a revoke has denied, and until when, by `credentialId`. Needs `sessions:write`. */
  listRevoked(applicationId: string, options?: ListOptions): AsyncIterable<RevokedCredential>;

  /** One page of the denied credentials, by `credentialId`. Needs `sessions:write`. */
  pageRevoked(applicationId: string, options?: PageOptions): Promise<Page<RevokedCredential>>;

  /**
   * Lets a denied credential create sessions again; sessions that were revoked stay revoked. A credential that is not denied
   * is a 404 `not-found`, and so is a repetition after a lost answer. An id of just `.` or `..` cannot be
   * put into a URL and is refused. Needs `sessions:revoke`.
   */
  allow(applicationId: string, credentialId: string, options?: CallOptions): Promise<{ success: true }>;
}

const CREDENTIALS = `${APPLICATION}/revoked-credentials` as const;

export function createRevocations({ http, call }: Transport): Revocations {
  const revocations: Revocations = {
    list: (applicationId, options) => everyItem(options, (next) => revocations.page(applicationId, next)),

    page: (applicationId, options) => {
      const params = { path: { applicationId }, query: queryOf(options) };
      return call(options, (fetch) => http.GET(`${APPLICATION}/revocations`, { fetch, params }));
    },
  };
  return revocations;
}

export function createCredentials({ http, call }: Transport): Credentials {
  const credentials: Credentials = {
    listRevoked: (applicationId, options) =>
      everyItem(options, (next) => credentials.pageRevoked(applicationId, next)),

    pageRevoked: (applicationId, options) => {
      const params = { path: { applicationId }, query: queryOf(options) };
      return call(options, (fetch) => http.GET(CREDENTIALS, { fetch, params }));
    },

    allow: (applicationId, credentialId, options) => {
      const path = { applicationId, credentialId };
      return call(options, (fetch) => http.DELETE(`${CREDENTIALS}/{credentialId}`, { fetch, params: { path } }));
    },
  };
  return credentials;
}
