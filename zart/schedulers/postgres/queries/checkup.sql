-- checkup: what `zart doctor` looks at. Reads only, each in a transaction of its own.

-- name: session
-- The server process that really does the work, its time, and whose work it does.
SELECT pg_backend_pid() AS pid, clock_timestamp() AS now, current_user::text AS role, pg_is_in_recovery() AS standby

-- name: durability
-- What decides whether a commit is on the disk, as a connection has it on which Zart has set nothing.
SELECT name, setting, source FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')

-- name: missing
-- Which of these tables and indexes are not there, and which indexes are there and not valid.
SELECT asked.name, found.indisvalid IS NULL AS absent
FROM unnest($1::text[]) AS asked (name)
LEFT JOIN LATERAL (
    SELECT coalesce(pg_index.indisvalid, true) AS indisvalid
    FROM pg_class LEFT JOIN pg_index ON pg_index.indexrelid = pg_class.oid
    WHERE pg_class.relname = asked.name AND pg_class.relnamespace =
        (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('zart_schema'))
) AS found ON true
WHERE found.indisvalid IS NOT true
ORDER BY asked.name

-- name: future
-- How many seconds the latest time that was ever stored lies in the future.
SELECT (greatest(
    (SELECT created_at FROM zart_executions ORDER BY key DESC LIMIT 1),
    (SELECT max(lease_until - lease) FROM zart_workers WHERE state = 'alive')
) / 1e6 - extract(epoch FROM clock_timestamp()))::float8 AS ahead

-- name: snapshots
-- What has kept old versions of rows for more than `$1` seconds: sessions of this database, whose time only their own role and
-- pg_read_all_stats can see; prepared transactions; replication slots that are 100,000 transactions behind.
SELECT 'session' AS kind, pid::text AS name, application_name AS about, coalesce(state, 'hidden') AS state,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS held
FROM pg_stat_activity
WHERE (datname = current_database() OR datname IS NULL) AND pid <> pg_backend_pid()
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND backend_type IS DISTINCT FROM 'autovacuum worker'
    AND (xact_start < clock_timestamp() - make_interval(secs => $1::float8)
        OR (xact_start IS NULL AND age(coalesce(backend_xmin, backend_xid)) > 100000))
UNION ALL
SELECT 'prepared', gid, '', 'prepared', extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => $1::float8)
UNION ALL
SELECT 'slot', slot_name, coalesce(plugin, 'physical'), CASE WHEN active THEN 'active' ELSE 'inactive' END, NULL
FROM pg_replication_slots
WHERE xmin IS NOT NULL AND age(xmin) > 100000
ORDER BY held DESC NULLS LAST
LIMIT 5

-- name: dead
-- Tables of which more than a fifth, and more than 10,000 rows, are dead.
SELECT relname::text AS name, n_dead_tup AS dead, n_live_tup AS live, greatest(last_vacuum, last_autovacuum) AS cleaned
FROM pg_stat_user_tables
WHERE relid IN (to_regclass('zart_executions'), to_regclass('zart_steps'), to_regclass('zart_mail'),
        to_regclass('zart_workers'), to_regclass('zart_worker_tasks'))
    AND n_dead_tup > 10000 AND n_dead_tup > n_live_tup / 4
ORDER BY n_dead_tup DESC

-- name: unserved
-- What waits though it is due, or runs under a worker whose lease has run out, while no living worker serves its task and queue; the
-- longest first.
WITH
now (at) AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
waiting AS (
    SELECT queue, task, count(*) AS number, min(due_at) AS since
    FROM zart_executions, now
    WHERE due_at IS NOT NULL AND due_at <= now.at
    GROUP BY queue, task
    UNION ALL
    SELECT running.queue, running.task, count(*), min(coalesce(workers.ended_at, workers.lease_until))
    FROM zart_executions AS running
    CROSS JOIN now
    JOIN zart_workers AS workers ON workers.id = running.worker
    WHERE running.worker IS NOT NULL AND (workers.state <> 'alive' OR workers.lease_until <= now.at)
    GROUP BY running.queue, running.task
)
SELECT queue, task, sum(number)::bigint AS number, (max(now.at) - min(since)) / 1e6::float8 AS waited
FROM waiting, now
WHERE NOT EXISTS (
    SELECT FROM zart_workers AS workers
    WHERE workers.state = 'alive' AND workers.lease_until > now.at
        AND workers.tasks::jsonb ? waiting.task AND workers.queues::jsonb ? waiting.queue
)
GROUP BY queue, task
ORDER BY waited DESC
