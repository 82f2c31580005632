-- wait: what there is to do, and what has ended. Reads only; for the work itself see `line` in claim.sql.

-- name: worker
-- Now, and the worker's news; NULL where there is no such worker.
SELECT :now, (SELECT news FROM zart_workers WHERE id = :worker)

-- name: ended
-- An id whose last run has ended.
(SELECT id, completed_at FROM zart_executions WHERE id = :id ORDER BY run DESC LIMIT 1)

-- name: places
-- The queues and tasks that there have ever been: one step through the index for each.
SELECT DISTINCT queue, task FROM zart_executions FORCE INDEX (due)

-- name: backlog
-- How many of a queue and task are due, and since when.
(SELECT COUNT(*), MIN(due_at) FROM zart_executions FORCE INDEX (due)
WHERE queue = :queue AND task = :task AND suspect = :suspect AND due_at <= :now)
