-- claim: hand out due executions (rule 2).
--
-- Candidates are looked up without a lock in an index that has all that is asked, so that nobody waits and nothing is locked that is
-- not wanted. Then their rows are locked by primary key, those due longest first and no more than are wanted, skipping what others
-- have; what is no longer due is not taken. An idle worker costs one round trip and no transaction.

-- name: worker
-- Now, until when the worker's lease holds, and its news. No row: it is not alive.
SELECT :now, lease_until, news FROM zart_workers WHERE id = :worker AND state = 'alive'

-- name: line
-- The first of those that are or will be due, of one queue and task.
(SELECT due_at, `key`, suspect FROM zart_executions FORCE INDEX (due)
WHERE queue = :queue AND task = :task AND suspect = :suspect AND due_at IS NOT NULL
ORDER BY due_at, `key` LIMIT :most)

-- name: hold_worker
-- Its own beat waits for the lock, and nobody may declare it dead.
SELECT :now, lease_until FROM zart_workers WHERE id = :worker AND state = 'alive' LOCK IN SHARE MODE

-- name: lock
-- The places of some columns are named in claim.py.
SELECT
    `key`, id, run, fence, task, queue, payload, attempt, crashes, crashed_workers, scheduled_at, deadline, due_at, started_at, mail,
    trace
FROM zart_executions FORCE INDEX (PRIMARY)
WHERE `key` IN (:keys) AND due_at <= :now AND suspect = :suspect
FOR UPDATE SKIP LOCKED

-- name: take
-- The deadline is set for good; a `length` of NULL sets none.
UPDATE zart_executions FORCE INDEX (PRIMARY) SET
    status = 'running',
    worker = :worker,
    fence = fence + 1,
    due_at = NULL,
    started_at = COALESCE(started_at, :now),
    claimed_at = :now,
    deadline = COALESCE(deadline, scheduled_at + :length)
WHERE `key` IN (:keys) AND due_at IS NOT NULL

-- name: past
SELECT `key`, seq, name, kind, phase, ok, payload, attempts, due_at, mail, started_at, at
FROM zart_steps WHERE `key` IN (:keys) ORDER BY `key`, seq

-- name: mail
SELECT `key`, seq, name, payload, at FROM zart_mail WHERE `key` IN (:keys) ORDER BY `key`, seq
