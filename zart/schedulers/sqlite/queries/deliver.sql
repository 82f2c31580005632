-- deliver: put events into mailboxes (rule 5).

-- name: find
-- Per asked event, by its number from 1: the run it is for, and whether that has its event id. A `run` of 0 is the last one. A mailbox
-- whose count is damaged is counted: a letter with a number that is taken, or below 1, would be lost.
WITH asked (number, id, run, event_id) AS (VALUES /*rows*/ (?, ?, ?, ?))
SELECT json_group_array(json_array(
    asked.number, each.key, each.status,
    iif(
        typeof(each.mail) = 'integer' AND each.mail >= 0, each.mail,
        (SELECT coalesce(max(seq), 0) FROM zart_mail WHERE key = each.key AND typeof(seq) = 'integer' AND seq > 0)
    ),
    each.worker,
    EXISTS (SELECT 1 FROM zart_mail WHERE key = each.key AND event_id = asked.event_id)
))
FROM asked
JOIN zart_executions AS each ON each.key = (
    SELECT key FROM zart_executions WHERE id = asked.id AND (asked.run = 0 OR run = asked.run) ORDER BY run DESC LIMIT 1
)
WHERE asked.number > 0

-- name: append
INSERT INTO zart_mail (key, seq, at, name, event_id, payload)
SELECT * FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?))
WHERE column2 > 0

-- name: count
-- `counts` holds pairs of key and new count. An execution that is due already keeps its turn: a flood of events must not hold it back.
UPDATE zart_executions SET
    mail = json_extract(counts.value, '$[1]'),
    due_at = iif(status = 'waiting' AND (due_at IS NULL OR due_at > :now), :now, due_at)
FROM json_each(:counts) AS counts
WHERE zart_executions.key = json_extract(counts.value, '$[0]')

-- name: tell
UPDATE zart_workers SET news = news + 1 WHERE id IN (SELECT value FROM json_each(:workers))
