-- transact: transactions that users' writes are part of.

-- name: begin
-- The first statement of one. The mark is gone with the transaction: whoever finds it is still in the same one. The number, which it
-- would get with the first row that is written, tells what has become of it when nothing else can be asked any more. Off, for
-- synchronous_commit, may lose acknowledged work when the server crashes, and some set it so for a role or a database.
SELECT
    set_config('idle_in_transaction_session_timeout', $1, true),
    set_config('synchronous_commit', 'on', true),
    set_config('zart.transaction', 'open', true),
    current_setting('search_path') AS path,
    pg_current_xact_id()::text AS number

-- name: mark
SELECT current_setting('zart.transaction', true)

-- name: rollback
ROLLBACK

-- name: fate
SELECT pg_xact_status($1::text::xid8)

-- name: hold
-- Wait for whoever has these executions, in the order of their keys, and keep them to the end; and look for the mark, and where the
-- tables are looked for: the function may have changed that.
SELECT current_setting('zart.transaction', true) AS mark, current_setting('search_path') AS path
FROM zart_executions WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE

-- name: path
SELECT set_config('search_path', $1, true)

-- name: reset
-- Between two transactions on one connection: what DISCARD ALL does, save that prepared statements stay.
CLOSE ALL;
SET SESSION AUTHORIZATION DEFAULT;
RESET ALL;
UNLISTEN *;
SELECT pg_advisory_unlock_all();
DISCARD SEQUENCES;
DISCARD TEMP

-- name: hurry
-- No more than a moment for locks that the caller's own transaction may hold.
SELECT set_config('lock_timeout', '500ms', true)

-- name: identity
-- The same over every connection to one database of one running server that finds the same tables; a copy of it differs.
SELECT
    pg_postmaster_start_time() AS since, oid AS database, datname AS name, to_regclass('zart_executions')::oid AS tables
FROM pg_database WHERE datname = current_database()
