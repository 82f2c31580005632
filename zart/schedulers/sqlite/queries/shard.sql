-- shard: what a file is asked besides when it is one of several.

-- name: remember
INSERT OR IGNORE INTO zart_settings (name, value) VALUES (:name, :value)

-- name: recall
SELECT value FROM zart_settings WHERE name = :name

-- name: front
-- When what a claim would take is due, and whether it is a suspect; see `find` in claim.sql. Literal 2 is zart.records.SUSPECT.
WITH place (queue, task) AS MATERIALIZED (
    SELECT queues.value, tasks.value FROM json_each(:queues) AS queues CROSS JOIN json_each(:tasks) AS tasks
),
innocent (due_at) AS MATERIALIZED (
    SELECT each.due_at
    FROM place CROSS JOIN zart_executions AS each ON each.key IN (
        SELECT key FROM zart_executions
        WHERE queue = place.queue AND task = place.task AND due_at IS NOT NULL AND due_at <= :now AND crashes < 2
        ORDER BY due_at LIMIT :limit
    )
),
suspect (due_at) AS MATERIALIZED (
    SELECT each.due_at
    FROM place CROSS JOIN zart_executions AS each ON each.key IN (
        SELECT key FROM zart_executions
        WHERE queue = place.queue AND task = place.task AND due_at IS NOT NULL AND due_at <= :now AND crashes >= 2
        ORDER BY due_at LIMIT :suspects
    )
)
SELECT due_at, 0 AS is_suspect FROM innocent
UNION ALL
SELECT * FROM (SELECT due_at, 1 FROM suspect ORDER BY due_at LIMIT :suspects)
ORDER BY due_at, is_suspect LIMIT :limit
