-- cancel: end what is not finished (rules 6 and 8).
--
-- One statement; for `sign` see commit.sql. It waits for whoever has a row, in the order of the keys, and goes by what the row has become then.

-- name: cancel
-- Per asked id that is known: the status that its last run had, or its run `$3`, and the worker that ran it. The fence goes up:
-- otherwise a late commit of that worker could pass for one that was applied.
WITH last AS MATERIALIZED (
    SELECT found.key
    FROM unnest($2::text[]) AS asked (id)
    CROSS JOIN LATERAL (
        SELECT key FROM zart_executions WHERE id = asked.id AND ($3::integer IS NULL OR run = $3::integer) ORDER BY run DESC LIMIT 1
    ) AS found
    ORDER BY found.key
), locked AS MATERIALIZED (
    SELECT each.*
    FROM last
    CROSS JOIN LATERAL (SELECT key, id, status, worker FROM zart_executions WHERE key = last.key FOR NO KEY UPDATE) AS each
), ended AS (
    UPDATE zart_executions AS each SET
        status = 'cancelled',
        fence = fence + 1,
        worker = NULL,
        due_at = NULL,
        completed_at = coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    FROM locked
    WHERE sign(locked.key) = 1 AND each.key = locked.key AND locked.status IN ('pending', 'running', 'waiting')
)
SELECT id, status, worker FROM locked
