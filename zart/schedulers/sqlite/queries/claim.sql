-- claim: hand out due executions (rule 2).
--
-- An idle worker costs one read and no transaction. Where something is due, a claim is `find` and `take`: looking and taking are two
-- transactions, so `take` asks again whether all is as it was found, and takes everything or nothing. Under the write lock it is always
-- as it was found. Literal 2 is zart.records.SUSPECT: a partial index serves only a query that repeats its condition word for word.

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

-- name: find
-- Until when the worker's lease holds (NULL: not alive), its news, how many executions it may take now, and when the next of those that
-- are left is due; of the executions to take, those due longest first: what `take` is to be told, they themselves with the fence that
-- `take` gives them, and all records and all mail of those that have a past, each in order. `tasks` holds pairs of name and deadline
-- length. Without `whole`, what stands in the columns is left out: what JSON cannot hold fails the statement. What `take` is told must
-- be there for all, so it is cast: a column may hold anything, whatever its type.
WITH place (queue, task, length) AS MATERIALIZED (
    SELECT queues.value, json_extract(tasks.value, '$[0]'), json_extract(tasks.value, '$[1]')
    FROM json_each(:queues) AS queues CROSS JOIN json_each(:tasks) AS tasks
),
innocent (due_at, key, length) AS MATERIALIZED (
    SELECT each.due_at, each.key, place.length
    FROM place CROSS JOIN zart_executions AS each ON each.key IN (
        SELECT key FROM zart_executions
        WHERE queue = place.queue AND task = place.task AND due_at IS NOT NULL AND due_at <= :now AND crashes < 2
        ORDER BY due_at, key LIMIT :limit + 1
    )
),
suspect (due_at, key, length) AS MATERIALIZED (
    SELECT each.due_at, each.key, place.length
    FROM place CROSS JOIN zart_executions AS each ON each.key IN (
        SELECT key FROM zart_executions
        WHERE queue = place.queue AND task = place.task AND due_at IS NOT NULL AND due_at <= :now AND crashes >= 2
        ORDER BY due_at, key LIMIT :suspects + 1
    )
    WHERE :suspects > 0
),
chosen (due_at, key, length) AS MATERIALIZED (
    SELECT * FROM (
        SELECT * FROM innocent
        UNION ALL
        SELECT * FROM (SELECT * FROM suspect ORDER BY due_at, key LIMIT :suspects)
    )
    ORDER BY due_at, key LIMIT :limit
)
SELECT (
    SELECT lease_until FROM zart_workers WHERE id = :worker AND state = 'alive'
), (
    SELECT news FROM zart_workers WHERE id = :worker
), (
    SELECT count(*) FROM chosen
), (
    SELECT min(due_at) FROM (
        SELECT due_at FROM innocent WHERE key NOT IN (SELECT key FROM chosen)
        UNION ALL
        SELECT due_at FROM suspect WHERE key NOT IN (SELECT key FROM chosen)
        UNION ALL
        SELECT (
            SELECT due_at FROM zart_executions
            WHERE queue = place.queue AND task = place.task AND due_at IS NOT NULL AND due_at > :now AND crashes < 2
            ORDER BY due_at LIMIT 1
        )
        FROM place
        UNION ALL
        SELECT (
            SELECT due_at FROM zart_executions
            WHERE queue = place.queue AND task = place.task AND due_at IS NOT NULL AND due_at > :now AND crashes >= 2
            ORDER BY due_at LIMIT 1
        )
        FROM place WHERE :suspects > 0
    )
), (
    SELECT json_group_array(json_array(
        each.key, CAST(each.fence AS INTEGER), CAST(each.mail AS INTEGER), CAST(each.scheduled_at AS INTEGER) + chosen.length
    ))
    FROM chosen CROSS JOIN zart_executions AS each ON each.key = chosen.key
), (
    SELECT json_group_array(json_array(
        each.key, each.id, each.run, iif(typeof(each.fence) = 'integer', each.fence + 1, :now), each.task, each.queue, each.payload,
        each.trace, each.attempt, each.crashes, each.crashed_workers, each.scheduled_at,
        coalesce(each.deadline, each.scheduled_at + chosen.length)
    ))
    FROM chosen CROSS JOIN zart_executions AS each ON each.key = chosen.key
    WHERE :whole
), (
    SELECT json_group_array(json_array(
        step.key, step.seq, step.name, step.kind, step.phase, step.ok, step.payload, step.attempts, step.due_at, step.mail,
        step.started_at, step.at
    ))
    FROM chosen
    CROSS JOIN zart_executions AS each ON each.key = chosen.key AND each.started_at IS NOT NULL
    CROSS JOIN zart_steps AS step ON step.key = chosen.key
    WHERE :whole
), (
    SELECT json_group_array(json_array(mail.key, mail.seq, mail.name, mail.payload, mail.at))
    FROM chosen
    CROSS JOIN zart_executions AS each ON each.key = chosen.key AND each.mail <> 0
    CROSS JOIN zart_mail AS mail ON mail.key = chosen.key
    WHERE :whole
)

-- name: bare
-- One execution as it stands, but for the fence and the deadline that `take` gives it; `bare_steps` and `bare_mail` are its records and
-- mail, one to a row.
SELECT
    key, id, run, iif(typeof(fence) = 'integer', fence + 1, :now), task, queue, payload, trace, attempt, crashes, crashed_workers,
    scheduled_at, coalesce(deadline, :deadline)
FROM zart_executions WHERE key = :key

-- name: bare_steps
SELECT seq, name, kind, phase, ok, payload, attempts, due_at, mail, started_at, at FROM zart_steps WHERE key = :key ORDER BY seq

-- name: bare_mail
SELECT seq, name, payload, at FROM zart_mail WHERE key = :key AND seq > :seen ORDER BY seq

-- name: take
-- `taken` is what `find` has said, `number` how many it holds. Whoever claims, cancels or takes over raises the fence, whoever delivers
-- counts the mail up: what has the same of both is as it was found. A fence that is no number is made one that no token ever had.
UPDATE zart_executions SET
    status = 'running',
    worker = :worker,
    fence = iif(typeof(fence) = 'integer', fence + 1, :now),
    due_at = NULL,
    started_at = coalesce(started_at, :now),
    claimed_at = :now,
    deadline = coalesce(deadline, json_extract(taken.value, '$[3]'))
FROM json_each(:taken) AS taken
WHERE zart_executions.key = json_extract(taken.value, '$[0]')
    AND :number = (
        SELECT count(*)
        FROM json_each(:taken) AS found CROSS JOIN zart_executions AS each
            ON each.key = json_extract(found.value, '$[0]')
                AND CAST(each.fence AS INTEGER) = json_extract(found.value, '$[1]')
                AND CAST(each.mail AS INTEGER) = json_extract(found.value, '$[2]') AND each.due_at IS NOT NULL
    )
    AND EXISTS (SELECT 1 FROM zart_workers WHERE id = :worker AND state = 'alive' AND lease_until > :now)
