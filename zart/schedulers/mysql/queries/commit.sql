-- commit: write what workers have to say (rules 3, 4 and 8).
--
-- One transaction of two round trips for all executions that something is said of: `hold` locks what others have not locked, so it waits
-- for nobody and nobody can be in a deadlock with it; the caller compares fences; `write` and `move` write all that may be written.
-- The lock stays until the end, and every takeover needs it: what was true of a fence when it was locked is true when it is written.

-- name: hold
SELECT `key`, fence, status, mail, crashes FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys)
ORDER BY `key` FOR UPDATE SKIP LOCKED

-- name: await
-- The same, but it waits.
SELECT `key`, fence, status, mail, crashes FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys)
ORDER BY `key` FOR UPDATE

-- name: states
-- Without a lock, for telling what is lost from what is busy.
SELECT `key`, fence, status, mail, crashes FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys)

-- name: present
-- Which records are there already, and perhaps more than was asked for.
SELECT `key`, seq FROM zart_steps WHERE `key` IN (:keys) AND seq IN (:seqs)

-- name: write
-- A record that is there already is left as it is. (IGNORE would leave out what cannot be stored too, without a word.)
INSERT INTO zart_steps (`key`, seq, name, kind, phase, ok, payload, attempts, due_at, mail, started_at, at)
VALUES :rows
ON DUPLICATE KEY UPDATE seq = zart_steps.seq

-- name: move
UPDATE zart_executions FORCE INDEX (PRIMARY) SET
    worker = NULL,
    status = :status,
    due_at = :due_at,
    completed_at = :completed_at,
    result = :result,
    reason = :reason,
    attempt = COALESCE(:attempt, attempt),
    deadline = COALESCE(:deadline, deadline)
WHERE `key` = :key AND fence = :fence AND status = 'running'

-- name: touch
-- For a cluster, which sees only changes: whoever takes the execution over at this moment conflicts with this. What is changed is of no
-- consequence: a claim that was a microsecond later.
UPDATE zart_executions FORCE INDEX (PRIMARY) SET claimed_at = claimed_at + 1 WHERE `key` IN (:keys)

-- name: forgive
UPDATE zart_executions FORCE INDEX (PRIMARY) SET crashes = 0, suspect = 0, crashed_workers = '[]' WHERE `key` IN (:keys)

-- name: mail
-- The mail past the least that anybody has not seen of these.
SELECT `key`, seq, name, payload, at FROM zart_mail WHERE `key` IN (:keys) AND seq > :seen ORDER BY `key`, seq
