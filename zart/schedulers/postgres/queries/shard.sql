-- shard: what a database is asked besides when it is one of several.

-- name: remember
INSERT INTO zart_settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING

-- name: recall
SELECT value FROM zart_settings WHERE name = $1

-- name: front
-- When what a claim would take is due, and whether it is a suspect; see claim.sql. $2 queues, $3 tasks, $4 how many, $5 suspects.
-- Literal 2 is zart.records.SUSPECT: a partial index serves only a query that repeats its condition.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), wanted AS MATERIALIZED (
    SELECT queues.queue, tasks.task FROM unnest($2::text[]) AS queues (queue) CROSS JOIN unnest($3::text[]) AS tasks (task)
), innocents AS MATERIALIZED (
    SELECT due.due_at
    FROM clock
    CROSS JOIN wanted
    CROSS JOIN LATERAL (
        SELECT due_at FROM zart_executions
        WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes < 2 AND due_at <= clock.now
        ORDER BY due_at LIMIT $4::integer
    ) AS due
), suspects AS MATERIALIZED (
    SELECT due.due_at
    FROM clock
    CROSS JOIN wanted
    CROSS JOIN LATERAL (
        SELECT due_at FROM zart_executions
        WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes >= 2 AND due_at <= clock.now
        ORDER BY due_at LIMIT $5::integer
    ) AS due
    ORDER BY due.due_at LIMIT $5::integer
)
SELECT due_at, false AS suspect FROM innocents UNION ALL SELECT due_at, true FROM suspects ORDER BY due_at, suspect LIMIT $4::integer
