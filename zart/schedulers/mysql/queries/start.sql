-- start: open runs (rules 1, 8 and 10).
--
-- Most starts are of new ids: `insert` alone, after `remember`, in one round trip. Where one of them is there already nothing is
-- inserted; then `last` and `same` say what is there, and the caller decides. Only to open runs then does it `lock`, and ask again.
-- Rows go in in the order of the starts, because their keys are the order of lists. Two callers with the same new ids in other orders
-- may so meet in a deadlock; the server ends it, and the whole is said again.

-- name: remember
SET @zart_now = :now

-- name: recall
SELECT @zart_now

-- name: now
SELECT :now

-- name: insert
INSERT INTO zart_executions
    (id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, crashed_workers, payload, trace)
VALUES :rows

-- name: last
-- The last run of an id, with the place of who asks.
(SELECT :place, `key`, run, status, fence, scheduled_at FROM zart_executions WHERE id = :id ORDER BY run DESC LIMIT 1)

-- name: same
-- The run that has a start key.
(SELECT :place, run, status, scheduled_at FROM zart_executions WHERE id = :id AND start_key = :start_key)

-- name: lock
-- Wait for whoever changes these runs, in the order of their keys, and let nobody else.
SELECT `key` FROM zart_executions FORCE INDEX (PRIMARY) WHERE `key` IN (:keys) ORDER BY `key` FOR UPDATE

-- name: retire
UPDATE zart_executions FORCE INDEX (PRIMARY) SET current = 0 WHERE `key` IN (:keys)
