-- claim: hand out due executions (rule 2).
--
-- One statement. Candidates are looked up without a lock, a few more than asked for, because others may be taking the first of them
-- at this moment. Then rows are locked one by one, those due longest first, skipping what is locked and what is no longer as it was
-- seen, until there are enough. A row with the fence that was seen has no record that this statement cannot see: to write one,
-- somebody would have had to claim it. Mail may have come since; it is not carried, and `Claim.seen` does not claim so.
--
-- Literal 2 is zart.records.SUSPECT: a partial index serves only a query that repeats its condition. For `sign` see commit.sql.

-- name: claim
-- No row: the worker is not alive. Else one row per execution, or one without a key if there is none. `next_due_at`, told when there
-- were fewer than asked for, says when the next is due. `past` and `mail` are arrays of records, NULL without any.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), worker AS MATERIALIZED (
    -- Its own beat may renew it meanwhile, but nobody may declare it dead.
    SELECT clock.now
    FROM clock
    CROSS JOIN LATERAL (
        SELECT FROM zart_workers WHERE id = $2 AND state = 'alive' AND lease_until > clock.now FOR KEY SHARE
    ) AS alive
), wanted AS MATERIALIZED (
    SELECT queues.queue, tasks.task, tasks.length
    FROM unnest($3::text[]) AS queues (queue) CROSS JOIN unnest($4::text[], $5::bigint[]) AS tasks (task, length)
), innocents AS MATERIALIZED (
    SELECT due.*, wanted.length
    FROM worker
    CROSS JOIN wanted
    CROSS JOIN LATERAL (
        SELECT key, fence, due_at FROM zart_executions
        WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes < 2 AND due_at <= worker.now
        ORDER BY due_at LIMIT 2 * $6::integer + 16
    ) AS due
    WHERE $6::integer > 0
), suspects AS MATERIALIZED (
    SELECT due.*, wanted.length
    FROM worker
    CROSS JOIN wanted
    CROSS JOIN LATERAL (
        SELECT key, fence, due_at FROM zart_executions
        WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes >= 2 AND due_at <= worker.now
        ORDER BY due_at LIMIT $7::integer
    ) AS due
    WHERE $6::integer > 0
    ORDER BY due.due_at, due.key LIMIT $7::integer
), candidates AS MATERIALIZED (
    SELECT * FROM innocents UNION ALL SELECT * FROM suspects ORDER BY due_at, key
), locked AS MATERIALIZED (
    SELECT each.key, candidates.length
    FROM candidates
    CROSS JOIN LATERAL (
        SELECT key FROM zart_executions
        WHERE key = candidates.key AND fence = candidates.fence AND due_at IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS each
    LIMIT $6::integer
), taken AS (
    UPDATE zart_executions AS each SET
        status = 'running',
        worker = $2,
        fence = each.fence + 1,
        due_at = NULL,
        started_at = coalesce(each.started_at, worker.now),
        claimed_at = worker.now,
        deadline = coalesce(each.deadline, each.scheduled_at + locked.length)
    FROM worker CROSS JOIN locked
    WHERE sign(locked.key) = 1 AND each.key = locked.key
    RETURNING
        each.key, each.id, each.run, each.fence, each.task, each.queue, each.payload, each.trace, each.attempt, each.crashes,
        each.crashed_workers, each.scheduled_at, each.deadline, each.mail <> 0 OR each.fence > 1 AS has_past
)
SELECT
    worker.now,
    CASE
    WHEN taken.key IS NULL THEN (
        SELECT min(least(innocent.due_at, suspect.due_at))
        FROM wanted
        LEFT JOIN LATERAL (
            SELECT due_at FROM zart_executions
            WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes < 2
            ORDER BY due_at LIMIT 1
        ) AS innocent ON true
        LEFT JOIN LATERAL (
            SELECT due_at FROM zart_executions
            WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes >= 2 AND $7::integer > 0
            ORDER BY due_at LIMIT 1
        ) AS suspect ON true
    )
    -- What is due already and was not taken is another's, unless there was more than was looked at.
    WHEN (SELECT count(*) FROM locked) >= $6::integer THEN NULL
    WHEN (SELECT count(*) FROM innocents) >= 2 * $6::integer + 16 THEN worker.now
    ELSE (
        SELECT min(least(innocent.due_at, suspect.due_at))
        FROM worker
        CROSS JOIN wanted
        LEFT JOIN LATERAL (
            SELECT due_at FROM zart_executions
            WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes < 2 AND due_at > worker.now
            ORDER BY due_at LIMIT 1
        ) AS innocent ON true
        LEFT JOIN LATERAL (
            SELECT due_at FROM zart_executions
            WHERE queue = wanted.queue AND task = wanted.task AND due_at IS NOT NULL AND crashes >= 2 AND due_at > worker.now
                AND $7::integer > 0
            ORDER BY due_at LIMIT 1
        ) AS suspect ON true
    ) END AS next_due_at,
    taken.key, taken.id, taken.run, taken.fence, taken.task, taken.queue, taken.payload, taken.trace, taken.attempt, taken.crashes,
    taken.crashed_workers, taken.scheduled_at, taken.deadline,
    CASE WHEN taken.has_past THEN (
        SELECT array_agg(
            ROW(seq, name, kind, phase, ok, payload, attempts, due_at, mail, started_at, at) ORDER BY seq
        ) FROM zart_steps WHERE key = taken.key
    ) END AS past,
    CASE WHEN taken.has_past THEN (
        SELECT array_agg(ROW(seq, name, payload, at) ORDER BY seq) FROM zart_mail WHERE key = taken.key
    ) END AS mail
FROM worker LEFT JOIN taken ON true
