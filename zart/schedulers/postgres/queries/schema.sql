-- schema: whether Zart's tables are there, and the frame that they are made in.

-- name: there
SELECT to_regclass('zart_schema') IS NOT NULL

-- name: version
SELECT coalesce(max(version), 0) FROM zart_schema

-- name: patience
SELECT set_config('lock_timeout', $1, true)

-- name: alone
-- Of the transaction, not of the session: so it works behind a pooler too.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))

-- name: namespace
-- Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even where there is nothing to do.
SELECT to_regnamespace($1) IS NOT NULL

-- name: note
INSERT INTO zart_schema VALUES ($1, $2, coalesce($3::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint))
