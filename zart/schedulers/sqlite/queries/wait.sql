-- wait: what another process may have changed.

-- name: ended
-- Which of the asked ids, numbered from 1, have a last run that has ended.
WITH asked (number, id) AS (VALUES /*rows*/ (?, ?))
SELECT json_group_array(asked.id)
FROM asked
JOIN zart_executions AS each ON each.key = (SELECT key FROM zart_executions WHERE id = asked.id ORDER BY run DESC LIMIT 1)
WHERE asked.number > 0 AND each.completed_at IS NOT NULL
