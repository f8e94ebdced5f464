// From a bearer token to the caller it stands for.

/** Who is calling, as a verified token says. */
export interface Caller {
  /** The token's `sub`. */
  readonly subject: string;
  readonly organizationId: string;
  readonly scopes: ReadonlySet<string>;
  /** The one application the token is bound to, if any. */
  readonly applicationId: string | undefined;
  /** What a revoke denies: `sid:` and the session claim where there is one, else `sha256:` and the token's hash. */
  readonly credentialId: string;
  /** When the token expires, in ms since the epoch. */
  readonly expiresAt: number;
}
