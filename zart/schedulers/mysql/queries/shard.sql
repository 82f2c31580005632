-- shard: what a database is asked besides when it is one of several.

-- name: remember
INSERT INTO zart_settings (name, value) VALUES (:title, :value) ON DUPLICATE KEY UPDATE value = value

-- name: recall
SELECT value FROM zart_settings WHERE name = :title

-- name: front
-- When what a claim would take of one queue, task and kind is due; see `line` in claim.sql.
(SELECT due_at, suspect FROM zart_executions FORCE INDEX (due)
WHERE queue = :queue AND task = :task AND suspect = :suspect AND due_at <= :now
ORDER BY due_at LIMIT :limit)
