-- claim: hand out due executions (rule 2).
--
-- `peek` is all that an idle worker costs: one read, no transaction. The others run under the write lock. Literal 2 is
-- zart.records.SUSPECT: a partial index serves only a query that repeats its condition word for word.

-- name: peek
-- Until when the worker's lease holds (NULL: not alive), its news, and when the next execution of these queues and tasks is due.
SELECT (
    SELECT lease_until FROM zart_workers WHERE id = :worker AND state = 'alive'
), (
    SELECT news FROM zart_workers WHERE id = :worker
), min(soonest.due_at)
FROM (
    SELECT (
        SELECT due_at FROM zart_executions
        WHERE queue = queues.value AND task = tasks.value AND due_at IS NOT NULL AND crashes < 2
        ORDER BY due_at LIMIT 1
    ) AS due_at
    FROM json_each(:queues) AS queues CROSS JOIN json_each(:tasks) AS tasks
    UNION ALL
    SELECT (
        SELECT due_at FROM zart_executions
        WHERE queue = queues.value AND task = tasks.value AND due_at IS NOT NULL AND crashes >= 2
        ORDER BY due_at LIMIT 1
    )
    FROM json_each(:queues) AS queues CROSS JOIN json_each(:tasks) AS tasks
    WHERE :suspects > 0
) AS soonest

-- name: candidates
-- The first of each queue and task, due or not, as pairs of due_at and key: innocents, then suspects.
SELECT (
    SELECT json_group_array(json_array(each.due_at, each.key))
    FROM json_each(:queues) AS queues CROSS JOIN json_each(:tasks) AS tasks
    CROSS JOIN zart_executions AS each ON each.key IN (
        SELECT key FROM zart_executions
        WHERE queue = queues.value AND task = tasks.value AND due_at IS NOT NULL AND crashes < 2
        ORDER BY due_at, key LIMIT :limit
    )
), (
    SELECT json_group_array(json_array(each.due_at, each.key))
    FROM json_each(:queues) AS queues CROSS JOIN json_each(:tasks) AS tasks
    CROSS JOIN zart_executions AS each ON each.key IN (
        SELECT key FROM zart_executions
        WHERE queue = queues.value AND task = tasks.value AND due_at IS NOT NULL AND crashes >= 2
        ORDER BY due_at, key LIMIT :suspects
    )
), (
    SELECT lease_until FROM zart_workers WHERE id = :worker AND state = 'alive'
)

-- name: executions
SELECT json_group_array(json_array(
    each.key, each.id, each.run, each.fence, each.task, each.queue, each.payload, each.attempt, each.crashes, each.crashed_workers,
    each.scheduled_at, each.deadline, each.mail > 0 OR each.started_at IS NOT NULL
))
FROM json_each(:keys) AS keys CROSS JOIN zart_executions AS each ON each.key = keys.value

-- name: take
-- `taken` holds pairs of key and deadline.
UPDATE zart_executions SET
    status = 'running',
    worker = :worker,
    fence = fence + 1,
    due_at = NULL,
    started_at = coalesce(started_at, :now),
    deadline = json_extract(taken.value, '$[1]')
FROM json_each(:taken) AS taken
WHERE zart_executions.key = json_extract(taken.value, '$[0]')

-- name: pasts
-- All records and all mail of these executions, each in order.
SELECT (
    SELECT json_group_array(json_array(
        step.key, step.seq, step.name, step.kind, step.phase, step.ok, step.payload, step.attempts, step.due_at, step.mail,
        step.started_at, step.at
    ))
    FROM json_each(:keys) AS keys CROSS JOIN zart_steps AS step ON step.key = keys.value
), (
    SELECT json_group_array(json_array(mail.key, mail.seq, mail.name, mail.payload, mail.at))
    FROM json_each(:keys) AS keys CROSS JOIN zart_mail AS mail ON mail.key = keys.value
)
