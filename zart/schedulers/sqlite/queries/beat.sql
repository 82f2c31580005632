-- beat: register or renew a worker, and take over from the dead (rule 7). Literal 2 is zart.records.SUSPECT.

-- name: worker
SELECT state, tasks, lease_until FROM zart_workers WHERE id = :worker

-- name: register
INSERT INTO zart_workers (id, state, lease_until, lease, registered_at, queues, tasks, about)
VALUES (:worker, 'alive', :now, :lease, :now, :queues, '[]', :about)

-- name: renew
UPDATE zart_workers
SET lease = :lease, lease_until = :now + :lease, queues = :queues, tasks = :tasks, about = :about
WHERE id = :worker

-- name: forget_tasks
DELETE FROM zart_worker_tasks WHERE worker = :worker

-- name: list_tasks
INSERT INTO zart_worker_tasks (task, worker) SELECT DISTINCT value, :worker FROM json_each(:tasks)

-- name: forget_workers
-- Those that ended before `:before` and hold nothing any more.
DELETE FROM zart_workers
WHERE state <> 'alive' AND ended_at < :before
    AND NOT EXISTS (SELECT 1 FROM zart_executions WHERE zart_executions.worker = zart_workers.id)

-- name: declare_dead
-- A lease far in the future means that the clock was put back: without that clause its executions would hang for as long.
UPDATE zart_workers SET
    state = 'dead',
    ended_at = :now,
    suspect = EXISTS (SELECT 1 FROM zart_executions AS each WHERE each.worker = zart_workers.id AND each.crashes >= 2)
WHERE state = 'alive' AND NOT (lease_until > :now AND lease_until <= :now + 2 * lease)

-- name: doomed
-- What is to be taken over: key, worker, whether its worker is dead, and whether it is to blame for that. `:overdue` is the deadline
-- before which an execution should have been ended by its own worker.
SELECT json_group_array(json_array(key, worker, dead, blamed))
FROM (
    SELECT each.id, each.key, each.worker, 1 AS dead, each.crashes >= 2 OR NOT dead.suspect AS blamed
    FROM zart_workers AS dead CROSS JOIN zart_executions AS each ON each.worker = dead.id
    WHERE dead.state = 'dead'
    UNION ALL
    SELECT each.id, each.key, each.worker, 0, 0
    FROM zart_executions AS each CROSS JOIN zart_workers AS living ON living.id = each.worker
    WHERE each.deadline < :overdue AND each.worker IS NOT NULL AND each.deadline IS NOT NULL AND living.state <> 'dead'
    ORDER BY 1
    LIMIT :most
)

-- name: take_over
-- `doomed` holds pairs of key and blamed. On the right of each `=` stands what was before.
UPDATE zart_executions SET
    status = 'pending',
    fence = fence + 1,
    due_at = :now,
    crashes = crashes + json_extract(doomed.value, '$[1]'),
    crashed_workers = CASE
        WHEN NOT json_extract(doomed.value, '$[1]') THEN crashed_workers
        WHEN json_valid(crashed_workers) THEN json_insert(crashed_workers, '$[#]', worker)
        ELSE crashed_workers -- damaged: a claim will tell
    END,
    worker = NULL
FROM json_each(:doomed) AS doomed
WHERE zart_executions.key = json_extract(doomed.value, '$[0]')

-- name: leave
UPDATE zart_workers SET state = 'left', ended_at = :now, news = news + 1 WHERE id = :worker

-- name: hand_back
UPDATE zart_executions SET status = 'pending', fence = fence + 1, due_at = :now, worker = NULL WHERE worker = :worker

-- name: unheard
-- Hand back what runs under a worker since before `:held_at` and is not in `held`, triples of key, fence and seen: the reply to its
-- claim was lost. An execution that is held under an older fence is not held.
UPDATE zart_executions SET status = 'pending', fence = fence + 1, due_at = :now, worker = NULL
WHERE key IN (
    SELECT each.key
    FROM zart_executions AS each
    WHERE each.worker = :worker AND each.claimed_at < :held_at AND (each.key, each.fence) NOT IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:held)
    )
    ORDER BY each.id
    LIMIT :most
)

-- name: held
-- Of what a worker believes to hold, as triples of key, fence and seen: the places in that list, from 0, of what it has lost (1),
-- and of what has new mail (0).
SELECT json_group_array(json_array(held.key, each.fence IS NOT json_extract(held.value, '$[1]')))
FROM json_each(:held) AS held
LEFT JOIN zart_executions AS each ON each.key = json_extract(held.value, '$[0]')
WHERE each.fence IS NOT json_extract(held.value, '$[1]') OR each.mail > json_extract(held.value, '$[2]')
