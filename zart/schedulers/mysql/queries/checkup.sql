-- checkup: what `zart doctor` looks at. Nothing is changed.

-- name: session
-- Whose work the server does, and its time.
SELECT CURRENT_USER(), :now

-- name: settings
-- What the server is set to, as far as it has these: not all servers have all of them.
SHOW GLOBAL VARIABLES WHERE Variable_name IN (
    'version', 'read_only', 'super_read_only', 'innodb_read_only', 'innodb_flush_log_at_trx_commit', 'innodb_flush_method',
    'innodb_doublewrite', 'log_bin', 'sync_binlog', 'binlog_format', 'max_allowed_packet', 'wsrep_on'
)

-- name: isolation
-- What this session has, which was asked for when it was opened; the name is not the same on all servers.
SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')

-- name: cluster
-- What a node of a Galera cluster says of itself.
SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_cluster_size', 'wsrep_local_state_comment')

-- name: keys
-- The indexes of these tables.
SELECT DISTINCT table_name, index_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name IN (:tables)

-- name: future
-- The latest time that was ever stored.
SELECT GREATEST(
    COALESCE((SELECT created_at FROM zart_executions ORDER BY `key` DESC LIMIT 1), 0),
    COALESCE((SELECT MAX(lease_until - lease) FROM zart_workers WHERE state = 'alive'), 0)
), :now

-- name: snapshots
-- Transactions that have been open for longer than so many seconds. The server keeps for them what they might still want to see.
SELECT trx.trx_mysql_thread_id, COALESCE(process.user, ''), COALESCE(process.command, ''),
    TIMESTAMPDIFF(SECOND, trx.trx_started, NOW())
FROM information_schema.innodb_trx AS trx
LEFT JOIN information_schema.processlist AS process ON process.id = trx.trx_mysql_thread_id
WHERE trx.trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) AND TIMESTAMPDIFF(SECOND, trx.trx_started, NOW()) >= :held
ORDER BY trx.trx_started LIMIT 5

-- name: unserved
-- What waits though it is due, or runs under a worker whose lease has run out, while no living worker serves its task and queue; the
-- longest first.
SELECT waiting.queue, waiting.task, SUM(waiting.number), (:now - MIN(waiting.since)) / 1e6 AS waited
FROM (
    SELECT queue, task, COUNT(*) AS number, MIN(due_at) AS since
    FROM zart_executions WHERE due_at <= :now
    GROUP BY queue, task
    UNION ALL
    SELECT running.queue, running.task, COUNT(*), MIN(COALESCE(workers.ended_at, workers.lease_until))
    FROM zart_executions AS running
    JOIN zart_workers AS workers ON workers.id = running.worker
    WHERE workers.state <> 'alive' OR workers.lease_until <= :now
    GROUP BY running.queue, running.task
) AS waiting
WHERE NOT EXISTS (
    SELECT 1 FROM zart_workers AS workers
    JOIN zart_worker_tasks AS tasks ON tasks.worker = workers.id
    WHERE workers.state = 'alive' AND workers.lease_until > :now
        AND tasks.task = waiting.task AND JSON_CONTAINS(workers.queues, JSON_QUOTE(waiting.queue))
)
GROUP BY waiting.queue, waiting.task
ORDER BY waited DESC

-- What a worker does to which table, each tried on no row, and taken back.
-- name: may_insert_executions
INSERT INTO zart_executions SELECT * FROM zart_executions WHERE FALSE

-- name: may_update_executions
UPDATE zart_executions SET due_at = due_at WHERE FALSE

-- name: may_insert_steps
INSERT INTO zart_steps SELECT * FROM zart_steps WHERE FALSE

-- name: may_update_steps
UPDATE zart_steps SET seq = seq WHERE FALSE

-- name: may_insert_mail
INSERT INTO zart_mail SELECT * FROM zart_mail WHERE FALSE

-- name: may_insert_workers
INSERT INTO zart_workers SELECT * FROM zart_workers WHERE FALSE

-- name: may_update_workers
UPDATE zart_workers SET news = news WHERE FALSE

-- name: may_delete_workers
DELETE FROM zart_workers WHERE FALSE

-- name: may_insert_worker_tasks
INSERT INTO zart_worker_tasks SELECT * FROM zart_worker_tasks WHERE FALSE

-- name: may_delete_worker_tasks
DELETE FROM zart_worker_tasks WHERE FALSE

-- name: may_insert_settings
INSERT INTO zart_settings SELECT * FROM zart_settings WHERE FALSE

-- name: may_update_settings
UPDATE zart_settings SET value = value WHERE FALSE
