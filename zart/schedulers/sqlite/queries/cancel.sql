-- cancel: end what is not finished (rule 6).

-- name: find
-- Per asked id, by its number from 1: the run that is meant. A `run` of 0 is the last one.
WITH asked (number, id, run) AS (VALUES /*rows*/ (?, ?, ?))
SELECT json_group_array(json_array(asked.number, each.key, each.status, each.worker))
FROM asked
JOIN zart_executions AS each ON each.key = (
    SELECT key FROM zart_executions WHERE id = asked.id AND (asked.run = 0 OR run = asked.run) ORDER BY run DESC LIMIT 1
)
WHERE asked.number > 0

-- name: cancel
-- The fence goes up: otherwise a late commit of the worker could pass for one that was applied.
UPDATE zart_executions SET status = 'cancelled', fence = fence + 1, worker = NULL, due_at = NULL, completed_at = :now
WHERE key IN (SELECT value FROM json_each(:keys))
