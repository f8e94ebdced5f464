-- Distributes Rollcall's tables over a PostgreSQL with Citus, by application. Run once, after the first instance has started (it makes
-- the tables) and before there is data worth waiting for, as a user who may: psql "$DATABASE_URL" -f docs/citus.sql
--
-- All of an application's rows are on one node. Every statement on the way of a request names one application by this key, and a test
-- holds that (test/integration/postgres.test.ts, "every statement"): so each goes to one node, and none crosses.
-- What looks at all applications is the list of an organization's applications and the sweeps, which take them from the
-- table of applications in pages and then work on one at a time.
--
-- Citus is not part of Rollcall and not part of its tests. Before you rely on it, know this:
-- - Locks (pg_advisory_xact_lock, by application) and the numbers of transactions that order events belong to the node that runs the
--   statement. Let all instances connect to the same coordinator, and leave the default of an event's number to be evaluated there.
-- - An event is read when no older transaction is open on the node that is asked. `events` therefore stays a local table of the coordinator,
--   where both its numbers and that answer come from; it is written once for each connection opened or closed, never for a heartbeat.
-- - A rebalance moves shards, and no number with them: nothing is to be done for it.

begin;

select create_distributed_table('applications', 'id');
select create_distributed_table('sessions', 'application_id', colocate_with => 'applications');
select create_distributed_table('session_activity', 'application_id', colocate_with => 'applications');
select create_distributed_table('session_credentials', 'application_id', colocate_with => 'applications');
select create_distributed_table('revoked_credentials', 'application_id', colocate_with => 'applications');
select create_distributed_table('revocations', 'application_id', colocate_with => 'applications');

-- Local on the coordinator: `events` (see above), and `service`, `signing_key` and `schema_version`, a row each.
select citus_add_local_table_to_metadata('events');

commit;
