-- deliver: put events into mailboxes (rules 5 and 8).
--
-- One transaction of three round trips: find the runs, lock them in the order of their keys, append. Whoever appends holds the lock.

-- name: last
-- The key of the last run of an id, with the place of who asks.
(SELECT :place, `key` FROM zart_executions WHERE id = :id ORDER BY run DESC LIMIT 1)

-- name: pinned
-- The key of one run of an id.
(SELECT :place, `key` FROM zart_executions WHERE id = :id AND run = :run)

-- name: lock
-- Wait for whoever has these runs, in the order of their keys, and tell what they are. A mailbox whose count is damaged is counted: a
-- letter with a number that is taken, or below 1, would be lost.
SELECT
    `key`, id, status,
    IF(mail >= 0, mail, (
        SELECT COALESCE(MAX(seq), 0) FROM zart_mail WHERE zart_mail.`key` = zart_executions.`key` AND seq > 0
    )),
    worker, current
FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys)
ORDER BY `key` FOR UPDATE

-- name: duplicates
-- Which of these events are there, and perhaps more than was asked for.
SELECT `key`, event_id FROM zart_mail FORCE INDEX (event_id) WHERE `key` IN (:keys) AND event_id IN (:event_ids)

-- name: append
INSERT INTO zart_mail (`key`, seq, at, name, event_id, payload) VALUES :rows

-- name: count
-- An execution that is due already keeps its turn: a flood of events must not hold it back.
UPDATE zart_executions FORCE INDEX (PRIMARY) SET
    mail = :mail,
    due_at = CASE WHEN status = 'waiting' AND (due_at IS NULL OR due_at > :now) THEN :now ELSE due_at END
WHERE `key` = :key

-- name: tell
-- Let workers of other processes know that something came for them or was taken from them.
UPDATE zart_workers SET news = news + 1 WHERE id IN (:workers)
