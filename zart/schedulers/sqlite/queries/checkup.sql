-- checkup: what `zart doctor` looks at. Reads only.

-- name: indexes
SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'zart\_%' ESCAPE '\'

-- name: future
-- How many seconds the latest time that was ever stored lies in the future.
SELECT (max(at) - :now) / 1e6
FROM (
    SELECT created_at AS at FROM (SELECT created_at FROM zart_executions ORDER BY key DESC LIMIT 1)
    UNION ALL
    SELECT max(lease_until - lease) FROM zart_workers WHERE state = 'alive'
)

-- name: unserved
-- What waits though it is due, or runs under a worker whose lease has run out, while no living worker serves its task and queue; the
-- longest first.
WITH waiting AS (
    SELECT queue, task, count(*) AS number, min(due_at) AS since
    FROM zart_executions
    WHERE due_at IS NOT NULL AND due_at <= :now
    GROUP BY queue, task
    UNION ALL
    SELECT running.queue, running.task, count(*), min(coalesce(workers.ended_at, workers.lease_until))
    FROM zart_executions AS running
    JOIN zart_workers AS workers ON workers.id = running.worker
    WHERE running.worker IS NOT NULL AND (workers.state <> 'alive' OR workers.lease_until <= :now)
    GROUP BY running.queue, running.task
)
SELECT queue, task, sum(number), (:now - min(since)) / 1e6 AS waited
FROM waiting
WHERE NOT EXISTS (
    SELECT 1 FROM zart_workers AS workers
    WHERE workers.state = 'alive' AND workers.lease_until > :now
        AND EXISTS (SELECT 1 FROM json_each(workers.tasks) AS each WHERE each.value = waiting.task)
        AND EXISTS (SELECT 1 FROM json_each(workers.queues) AS each WHERE each.value = waiting.queue)
)
GROUP BY queue, task
ORDER BY waited DESC
