// The tables, as numbered migrations that only go forward: one that was released is never edited, and a test holds each to its hash.

/** How a database spells what the migrations need. */
export interface SchemaWords {
  uuid: string;
  /** Text that is ordered by its bytes. */
  text: string;
  /** An integer key that counts up by itself. */
  serial: string;
  /** The transaction's number, as a default; 0 where there is only one writer. */
  transactionId: string;
  /** Before `table`: activity may be lost in a database crash, nothing else may. */
  unlogged: string;
  /** After a table's closing bracket. */
  narrow: string;
}

/**
 * `sessions.state`: 0 connected, 1 connected and its token has expired, 2 lost, 3 over (ended or revoked).
 * `sessions.bucket` is what lists walk: one number for each (generation, connected or expired), 0 for all that are closed.
 * A row whose generation is older than its application's was revoked by the revoke-all that closed the generation, whatever
 * its state says; settling writes that down.
 * `session_credentials.token_expires_at`: the latest end that was reported of a token while the session used the credential.
 */
export const migrations: readonly ((words: SchemaWords) => string)[] = [
  ({ uuid, text, serial, transactionId, unlogged, narrow }) => `
    create table applications (
      id ${uuid} primary key,
      organization_id text not null,
      name text not null,
      created_at bigint not null,
      generation integer not null default 1,
      deleted_at bigint
    );
    create index applications_by_organization on applications (organization_id, id) where deleted_at is null;

    create table sessions (
      application_id ${uuid} not null,
      id ${uuid} not null,
      generation integer not null,
      state smallint not null,
      reason text,
      bucket integer generated always as (case when state < 2 then generation * 2 + state else 0 end) stored,
      owner text not null,
      user_id text,
      client_name text,
      hostname text,
      external_id text,
      token_expires_at bigint,
      connected_at bigint not null,
      disconnected_at bigint,
      last_active_at bigint,
      facts text not null,
      primary key (application_id, id)
    );
    create index sessions_by_bucket on sessions (application_id, bucket, id);
    create index sessions_by_user on sessions (application_id, user_id, bucket, id) where user_id is not null;
    create index sessions_by_client on sessions (application_id, client_name, bucket, id) where client_name is not null;
    create index sessions_by_hostname on sessions (application_id, hostname, bucket, id) where hostname is not null;
    create unique index sessions_by_external_id on sessions (application_id, generation, owner, external_id)
      where external_id is not null and state < 3;
    create index sessions_expiring on sessions (application_id, generation, token_expires_at) where state = 0 and token_expires_at is not null;
    create index sessions_lost on sessions (application_id, generation, id) where state = 2;
    create index sessions_closed on sessions (application_id, disconnected_at) where state >= 2;

    create ${unlogged} table session_activity (
      application_id ${uuid} not null,
      id ${uuid} not null,
      beat_at bigint not null,
      last_active_at bigint,
      primary key (application_id, id)
    )${narrow};

    create table session_credentials (
      application_id ${uuid} not null,
      session_id ${uuid} not null,
      credential_id ${text} not null,
      generation integer not null,
      expires_at bigint,
      primary key (application_id, session_id, credential_id)
    );
    create index session_credentials_by_generation on session_credentials (application_id, generation, credential_id);

    create table revoked_credentials (
      application_id ${uuid} not null,
      credential_id ${text} not null,
      denied_until bigint not null,
      primary key (application_id, credential_id)
    );
    create index revoked_credentials_by_end on revoked_credentials (application_id, denied_until);

    create table revocations (
      application_id ${uuid} not null,
      id ${uuid} not null,
      created_at bigint not null,
      action text not null,
      subject text not null,
      request_id text not null,
      filter text not null,
      count integer not null,
      state text not null,
      generation integer,
      settled_at bigint,
      touched_at bigint not null,
      primary key (application_id, id)
    );
    create unique index revocations_by_generation on revocations (application_id, generation) where generation is not null;
    create index revocations_unsettled on revocations (application_id, generation) where generation is not null and settled_at is null;
    create index revocations_running on revocations (application_id, id) where state = 'running';

    create table events (
      application_id ${uuid} not null,
      tx bigint not null default ${transactionId},
      seq ${serial},
      at bigint not null,
      type text not null,
      session_id ${uuid},
      generation integer,
      reason text,
      revocation_id ${uuid},
      count integer
    );
    create index events_by_application on events (application_id, tx, seq);

    create table service (
      id integer primary key,
      seen_at bigint not null,
      resumed_at bigint not null,
      sweeper text,
      sweeper_until bigint
    );`,
  () => `
    alter table session_credentials add column token_expires_at bigint;
    update session_credentials set token_expires_at = s.token_expires_at from sessions s
      where s.application_id = session_credentials.application_id and s.id = session_credentials.session_id;`,
];

/** Of a database whose schema is from the future. */
export const newerSchema = (what: string, version: number): string => `${what} has schema ${version}, but this Rollcall knows only up to ${migrations.length}; run the newer version`;
