-- cancel: end what is not finished (rules 6 and 8). It finds and locks with the statements of deliver.sql.

-- name: cancel
-- The fence goes up: otherwise a late commit of the worker could pass for one that was applied.
UPDATE zart_executions FORCE INDEX (PRIMARY) SET
    status = 'cancelled', fence = fence + 1, worker = NULL, due_at = NULL, completed_at = :now
WHERE `key` IN (:keys) AND status IN ('pending', 'running', 'waiting')
