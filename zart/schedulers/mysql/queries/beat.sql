-- beat: register or renew a worker, and take over from the dead (rules 7 and 8).
--
-- Nearly every beat is two round trips: `worker` and `renew` are a transaction, and the second also looks for what there is to do. That
-- is then done in transactions of its own, each repeatable: if the process dies in between, the next beat of any worker finds it
-- again. Nobody waits for an execution here, save in `hand_back`. Literal 2 is zart.records.SUSPECT.

-- name: worker
SELECT state, tasks, lease_until FROM zart_workers WHERE id = :worker FOR UPDATE

-- name: now
SELECT :now

-- name: register
INSERT INTO zart_workers (id, state, lease_until, lease, registered_at, queues, tasks, about)
VALUES (:worker, 'alive', :now + :lease, :lease, :now, :queues, :tasks, :about)

-- name: renew
UPDATE zart_workers
SET lease = :lease, lease_until = :now + :lease, queues = :queues, tasks = :tasks, about = :about
WHERE id = :worker AND state = 'alive'

-- name: forget_tasks
DELETE FROM zart_worker_tasks WHERE worker IN (:workers)

-- name: list_tasks
INSERT INTO zart_worker_tasks (task, worker) VALUES :rows

-- name: forgettable
-- Workers that ended before `before` and hold nothing any more.
SELECT id FROM zart_workers AS gone
WHERE gone.state <> 'alive' AND gone.ended_at < :before
    AND NOT EXISTS (SELECT 1 FROM zart_executions WHERE zart_executions.worker = gone.id)

-- name: forget
DELETE FROM zart_workers WHERE id IN (:workers) AND state <> 'alive' AND ended_at < :before

-- name: expired
-- A lease far in the future means that the clock was put back: without that clause its executions would hang for as long.
SELECT id FROM zart_workers
WHERE state = 'alive' AND id <> :worker AND NOT (lease_until > :now AND lease_until <= :now + 2 * lease)

-- name: lock_expired
-- A worker whose row is locked is beating, or claiming.
SELECT id FROM zart_workers
WHERE id IN (:workers) AND state = 'alive' AND NOT (lease_until > :now AND lease_until <= :now + 2 * lease)
ORDER BY id FOR UPDATE SKIP LOCKED

-- name: declare_dead
UPDATE zart_workers SET
    state = 'dead',
    ended_at = :now,
    suspect = EXISTS (SELECT 1 FROM zart_executions WHERE zart_executions.worker = zart_workers.id AND crashes >= 2)
WHERE id IN (:workers) AND state = 'alive'

-- name: doomed
-- What is to be taken over: key, fence, worker, whether that is gone, and whether this execution is to blame. `overdue` is the deadline
-- before which an execution should have been ended by its own worker.
SELECT * FROM (
    SELECT held.id, held.`key`, held.fence, held.worker, 1 AS orphaned,
        gone.state = 'dead' AND (held.suspect = 1 OR gone.suspect = 0) AS blamed
    FROM zart_workers AS gone STRAIGHT_JOIN zart_executions AS held FORCE INDEX (worker) ON held.worker = gone.id
    WHERE gone.state <> 'alive'
    UNION ALL
    SELECT held.id, held.`key`, held.fence, held.worker, 0, 0
    FROM zart_workers AS living STRAIGHT_JOIN zart_executions AS held FORCE INDEX (worker)
        ON held.worker = living.id AND held.deadline < :overdue
    WHERE living.state = 'alive'
) AS doomed
ORDER BY id LIMIT :most

-- name: lock
-- One that has a write in flight is skipped now, and found by the next beat.
SELECT `key`, fence, worker, crashed_workers FROM zart_executions FORCE INDEX (PRIMARY)
WHERE `key` IN (:keys) AND worker IS NOT NULL ORDER BY `key` FOR UPDATE SKIP LOCKED

-- name: blame
-- What is assigned first is seen by what is assigned after it.
UPDATE zart_executions FORCE INDEX (PRIMARY)
SET crashes = crashes + 1, suspect = (crashes >= 2), crashed_workers = :crashed_workers
WHERE `key` = :key AND fence = :fence

-- name: release
UPDATE zart_executions FORCE INDEX (PRIMARY)
SET status = 'pending', fence = fence + 1, due_at = :now, worker = NULL
WHERE `key` IN (:keys) AND worker IS NOT NULL

-- name: held
-- How stands what a worker believes to hold.
SELECT `key`, fence, mail FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys)

-- name: under
-- What runs under a worker since before `held_at`.
SELECT `key`, fence FROM zart_executions FORCE INDEX (worker)
WHERE worker = :worker AND claimed_at < :held_at ORDER BY id

-- name: leave
UPDATE zart_workers SET state = 'left', ended_at = :now, news = news + 1 WHERE id = :worker AND state = 'alive'

-- name: all_under
SELECT `key` FROM zart_executions FORCE INDEX (worker) WHERE worker = :worker

-- name: hand_back
-- Waits for writes in flight, in the order of the keys.
SELECT `key` FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys) AND worker = :worker ORDER BY `key` FOR UPDATE
