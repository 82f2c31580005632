-- start: open runs (rules 1 and 10).
--
-- Most starts are of new ids: `insert` alone, refused as a whole by UNIQUE (id, run) or UNIQUE (id, start_key) when one is not. Then
-- `find` says what is there, the caller decides, `retire` makes room, and `insert` opens what may be opened.

-- name: insert
INSERT INTO zart_executions
    (id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, payload, trace)
SELECT column1, column2, 1, 'pending', column3, column4, column5, column5, column6, column7, column8, column9, column10
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?))
WHERE column2 > 0

-- name: find
-- Per asked start, by its number from 1: the last run of its id, and the run that has its start key.
WITH asked (number, id, start_key) AS (VALUES /*rows*/ (?, ?, ?))
SELECT json_group_array(json_array(
    asked.number, last.key, last.run, last.status, last.fence, last.scheduled_at, same.run, same.status, same.scheduled_at
))
FROM asked
LEFT JOIN zart_executions AS last ON last.key = (SELECT key FROM zart_executions WHERE id = asked.id ORDER BY run DESC LIMIT 1)
LEFT JOIN zart_executions AS same ON same.id = asked.id AND same.start_key = asked.start_key
WHERE asked.number > 0

-- name: retire
UPDATE zart_executions SET current = 0 WHERE key IN (SELECT value FROM json_each(:keys))
