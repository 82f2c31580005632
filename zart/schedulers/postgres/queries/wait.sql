-- wait: what there is to do, and what has ended. Reads only.

-- name: outlook
-- Now, and when the next execution of these queues and tasks is due; suspects only if `$4`.
SELECT
    coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now,
    (
        SELECT min(least(innocent.due_at, suspect.due_at))
        FROM unnest($2::text[]) AS queues (queue)
        CROSS JOIN unnest($3::text[]) AS tasks (task)
        LEFT JOIN LATERAL (
            SELECT due_at FROM zart_executions
            WHERE queue = queues.queue AND task = tasks.task AND due_at IS NOT NULL AND crashes < 2
            ORDER BY due_at LIMIT 1
        ) AS innocent ON true
        LEFT JOIN LATERAL (
            SELECT due_at FROM zart_executions
            WHERE queue = queues.queue AND task = tasks.task AND due_at IS NOT NULL AND crashes >= 2 AND $4::boolean
            ORDER BY due_at LIMIT 1
        ) AS suspect ON true
    ) AS due_at

-- name: ended
-- Which of the asked ids have a last run that has ended.
SELECT asked.id
FROM unnest($1::text[]) AS asked (id)
CROSS JOIN LATERAL (SELECT completed_at FROM zart_executions WHERE id = asked.id ORDER BY run DESC LIMIT 1) AS last
WHERE last.completed_at IS NOT NULL

-- name: others
-- The server processes of all who listen to this channel, by the name that they gave themselves.
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1

-- name: notify
SELECT pg_notify($1, $2)
