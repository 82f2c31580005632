-- deliver: put events into mailboxes (rules 5 and 8).
--
-- Where no execution is named twice, `append` does it all in one statement. Otherwise `lock`, `duplicates` and `put` run in one
-- transaction: what the lock waited for shows only in a statement that begins after it. Rows are locked in the order of their keys.

-- name: append
-- Per event whose execution is known: its place, from 1, and the execution's key, status and worker, and whether the event was
-- appended. An execution that is due already keeps its turn: a flood of events must not hold it back.
-- A mailbox whose count is damaged is counted: a letter with a number that is taken, or below 1, would be lost.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), asked AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[], $6::bytea[])
        WITH ORDINALITY AS each (id, run, event_id, name, payload, place)
), target AS MATERIALIZED (
    SELECT asked.place, found.key
    FROM asked
    CROSS JOIN LATERAL (
        SELECT key FROM zart_executions WHERE id = asked.id AND (asked.run IS NULL OR run = asked.run) ORDER BY run DESC LIMIT 1
    ) AS found
    ORDER BY found.key
), locked AS MATERIALIZED (
    SELECT target.place, each.*
    FROM target
    CROSS JOIN LATERAL (
        SELECT key, status, worker, CASE
            WHEN mail >= 0 THEN mail
            ELSE (SELECT coalesce(max(seq), 0) FROM zart_mail WHERE key = target.key AND seq > 0)
        END AS mail
        FROM zart_executions WHERE key = target.key FOR NO KEY UPDATE
    ) AS each
), appended AS (
    INSERT INTO zart_mail (key, seq, at, name, event_id, payload)
    SELECT locked.key, locked.mail + 1, clock.now, asked.name, asked.event_id, asked.payload
    FROM clock CROSS JOIN locked JOIN asked ON asked.place = locked.place
    WHERE locked.status IN ('pending', 'running', 'waiting')
    ORDER BY locked.key
    ON CONFLICT (key, event_id) DO NOTHING
    RETURNING key
), counted AS (
    UPDATE zart_executions AS each SET
        mail = CASE WHEN each.mail >= 0 THEN each.mail ELSE (SELECT mail FROM locked WHERE key = each.key) END + 1,
        due_at = CASE
            WHEN each.status = 'waiting' AND (each.due_at IS NULL OR each.due_at > clock.now) THEN clock.now
            ELSE each.due_at
        END
    FROM clock
    WHERE each.key = ANY(ARRAY(SELECT key FROM appended))
)
SELECT
    locked.place, locked.key, locked.status, locked.worker, appended.key IS NOT NULL AS is_new
FROM locked LEFT JOIN appended ON appended.key = locked.key

-- name: find
-- Per asked event, by its place from 1: the key of the run that it is for.
SELECT asked.place, found.key
FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS asked (id, run, place)
CROSS JOIN LATERAL (
    SELECT key FROM zart_executions WHERE id = asked.id AND (asked.run IS NULL OR run = asked.run) ORDER BY run DESC LIMIT 1
) AS found

-- name: lock
-- Wait for whoever has these runs, in the order of their keys, and tell what they are.
SELECT key, status, CASE
    WHEN mail >= 0 THEN mail
    ELSE (SELECT coalesce(max(seq), 0) FROM zart_mail WHERE zart_mail.key = zart_executions.key AND seq > 0)
END AS mail, worker
FROM zart_executions WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE

-- name: duplicates
-- Which of these pairs of key and event id are there.
SELECT found.key, found.event_id
FROM unnest($1::bigint[], $2::text[]) AS asked (key, event_id)
CROSS JOIN LATERAL (
    SELECT key, event_id FROM zart_mail WHERE key = asked.key AND event_id = asked.event_id
) AS found

-- name: put
-- Append rows of mail, and count them up to the last `seq` of each run. For `sign` see commit.sql.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), put AS (
    INSERT INTO zart_mail (key, seq, at, name, event_id, payload)
    SELECT each.key, each.seq, clock.now, each.name, each.event_id, each.payload
    FROM clock CROSS JOIN unnest($2::bigint[], $3::integer[], $4::text[], $5::text[], $6::bytea[])
        AS each (key, seq, name, event_id, payload)
)
UPDATE zart_executions AS each SET
    mail = counts.mail,
    due_at = CASE
        WHEN each.status = 'waiting' AND (each.due_at IS NULL OR each.due_at > clock.now) THEN clock.now
        ELSE each.due_at
    END
FROM clock CROSS JOIN unnest($7::bigint[], $8::integer[]) AS counts (key, mail)
WHERE sign(counts.key) = 1 AND each.key = counts.key
