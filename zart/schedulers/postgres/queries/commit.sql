-- commit: write what workers have to say (rules 3, 4 and 8).
--
-- `write` is the whole commit: one statement, one round trip. It locks what it finds as the tokens say and skips what others have
-- locked, so it waits for nobody and nobody can be in a deadlock with it. The lock is the one that an update takes and not FOR SHARE:
-- otherwise a statement whose connection was lost and its repetition could both hold it, and wait for each other over their moves.
-- Only where something was not found so do `states`, `present` and `mail` have to tell why, or to bring what has come.
--
-- Columns come as text, not as arrays: the driver spends six times as long on an array's elements, and this process's time is what is
-- scarce. Numbers are an array's text, texts are parted by U+001F and U+001E is NULL; a part too many at the end keeps an empty text
-- from meaning no text. Where that cannot be said, payloads are in hexadecimal (`$2`).
--
-- Records are inserted plainly, and a record that is there already fails the statement: only what is said again after a lost reply
-- can meet one. It is then said with `$26`, which looks for each record first. Nobody else writes records of an execution that is
-- locked here. (ON CONFLICT would cost every record a third of its log, and a second descent into the index.)
--
-- Everything is joined by its place in an array: no estimate can make that quadratic, as it can a join of two lists. Rows to be
-- updated are such a list, though. `sign(…) = 1` is always true, but the planner takes it for rare, expects one row, and so looks up
-- each by its key, however small it believes the table to be.

-- name: write
-- Returns NULL if all is quiet: everything applied, no mailbox has ever had anything. Else per commit, in their order, how many events
-- its mailbox has had; -1 for one that was not found running under its fence or is locked.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), said AS MATERIALIZED (
    SELECT
        $3::text::bigint[] AS keys, $4::text::bigint[] AS fences,
        $5::text::integer[] AS places, $6::text::integer[] AS seqs, string_to_array($7, E'\x1f') AS names,
        string_to_array($8, E'\x1f') AS kinds, string_to_array($9, E'\x1f') AS phases, $10::text::boolean[] AS oks,
        $11::text::integer[] AS attempts, $12::text::bigint[] AS due_ats, $13::text::integer[] AS mails,
        $14::text::bigint[] AS started_ats, $15::text::bigint[] AS ats, string_to_array($16, E'\x1f', E'\x1e') AS payloads,
        $17::text::integer[] AS seens
), held AS MATERIALIZED (
    SELECT
        array_agg(coalesce(each.mail, -1) ORDER BY one.place) AS mail,
        array_agg(coalesce(each.crashes, 0) ORDER BY one.place) AS crashes
    FROM said
    CROSS JOIN LATERAL unnest(said.keys, said.fences) WITH ORDINALITY AS one (key, fence, place)
    LEFT JOIN LATERAL (
        -- A damaged count below 0 must not be taken for a row that was not found.
        SELECT greatest(mail, 0) AS mail, crashes FROM zart_executions
        WHERE key = one.key AND fence = one.fence AND status = 'running'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS each ON true
), written AS (
    INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at, payload)
    SELECT
        said.keys[step.place], step.seq, step.name, step.kind, step.phase, step.ok, step.attempts, step.due_at, step.mail,
        step.started_at, step.at, CASE WHEN $2::boolean THEN decode(step.payload, 'hex') ELSE convert_to(step.payload, 'UTF8') END
    FROM said
    CROSS JOIN held
    CROSS JOIN LATERAL unnest(
        said.places, said.seqs, said.names, said.kinds, said.phases, said.oks, said.attempts, said.due_ats, said.mails,
        said.started_ats, said.ats, said.payloads, said.seens
    ) AS step (place, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at, payload, seen)
    WHERE held.mail[step.place] >= 0 AND (step.seen IS NULL OR held.mail[step.place] <= step.seen) AND (
        NOT $26::boolean
        OR NOT EXISTS (SELECT FROM zart_steps WHERE key = said.keys[step.place] AND seq = step.seq)
    )
), forgivable AS (
    -- Who has crashed before, and says an outcome now. Nearly always nobody: the inner query is not even begun.
    SELECT one.place
    FROM said
    CROSS JOIN held
    CROSS JOIN LATERAL unnest(held.crashes) WITH ORDINALITY AS one (crashes, place)
    WHERE one.crashes > 0 AND (
        SELECT bool_or(step.phase = 'outcome' AND (step.seen IS NULL OR held.mail[step.place] <= step.seen))
        FROM unnest(said.places, said.seqs, said.phases, said.seens) AS step (place, seq, phase, seen)
        WHERE step.place = one.place
            AND NOT EXISTS (SELECT FROM zart_steps AS stored WHERE stored.key = said.keys[step.place] AND stored.seq = step.seq)
    )
), moved AS (
    UPDATE zart_executions AS each SET
        worker = NULL,
        attempt = coalesce(move.attempt, each.attempt),
        deadline = coalesce(move.deadline, each.deadline),
        reason = CASE WHEN $2::boolean THEN decode(move.reason, 'hex') ELSE convert_to(move.reason, 'UTF8') END,
        status = CASE WHEN each.mail > move.seen THEN 'pending' ELSE move.status END,
        due_at = CASE
            WHEN each.mail > move.seen THEN clock.now
            WHEN move.status IN ('pending', 'waiting') THEN move.due_at
        END,
        completed_at = CASE WHEN each.mail > move.seen OR move.status IN ('pending', 'waiting') THEN NULL ELSE clock.now END,
        result = CASE
            WHEN each.mail > move.seen OR move.status IN ('pending', 'waiting') THEN NULL
            WHEN $2::boolean THEN decode(move.payload, 'hex')
            ELSE convert_to(move.payload, 'UTF8')
        END,
        crashes = CASE WHEN each.crashes > 0 AND move.place IN (SELECT place FROM forgivable) THEN 0 ELSE each.crashes END,
        crashed_workers = CASE
            WHEN each.crashes > 0 AND move.place IN (SELECT place FROM forgivable) THEN '[]'
            ELSE each.crashed_workers
        END
    FROM clock
    CROSS JOIN said
    CROSS JOIN held
    CROSS JOIN LATERAL unnest(
        $18::text::integer[], string_to_array($19, E'\x1f'), $20::text::bigint[], $21::text::integer[], $22::text::integer[],
        $23::text::bigint[], string_to_array($24, E'\x1f', E'\x1e'), string_to_array($25, E'\x1f', E'\x1e')
    ) AS move (place, status, due_at, seen, attempt, deadline, reason, payload)
    WHERE sign(move.place) = 1 AND each.key = said.keys[move.place] AND held.mail[move.place] >= 0
), forgiven AS (
    UPDATE zart_executions AS each SET crashes = 0, crashed_workers = '[]'
    FROM said CROSS JOIN forgivable
    WHERE sign(forgivable.place) = 1 AND each.key = said.keys[forgivable.place]
        AND (forgivable.place = ANY($18::text::integer[])) IS NOT TRUE
)
SELECT CASE WHEN 0 = ALL(mail) THEN NULL ELSE mail END FROM held

-- name: record
-- What `write` does to one record of an execution that has no mail and has not crashed. No row: it is not so.
WITH held AS MATERIALIZED (
    SELECT key FROM zart_executions
    WHERE key = $1 AND fence = $2 AND status = 'running' AND mail = 0 AND crashes = 0
    FOR NO KEY UPDATE SKIP LOCKED
)
INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at, payload)
SELECT key, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM held
RETURNING key

-- name: move
-- What `write` does to a move without a reason, of an execution that has no mail and has not crashed. No row: it is not so.
WITH held AS MATERIALIZED (
    SELECT key FROM zart_executions
    WHERE key = $2 AND fence = $3 AND status = 'running' AND mail = 0 AND crashes = 0
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE zart_executions SET
    worker = NULL,
    status = $4,
    due_at = CASE WHEN $4 IN ('pending', 'waiting') THEN $5::bigint END,
    attempt = coalesce($6, attempt),
    deadline = coalesce($7, deadline),
    reason = NULL,
    completed_at = CASE
        WHEN $4 NOT IN ('pending', 'waiting') THEN coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    END,
    result = CASE WHEN $4 NOT IN ('pending', 'waiting') THEN $8::bytea END
FROM held
WHERE zart_executions.key = held.key
RETURNING zart_executions.key

-- name: states
SELECT key, fence, status, mail FROM zart_executions WHERE key = ANY($1::bigint[])

-- name: present
-- Which of these pairs of key and seq are there.
SELECT step.key, step.seq
FROM unnest($1::bigint[], $2::integer[]) AS asked (key, seq)
CROSS JOIN LATERAL (SELECT key, seq FROM zart_steps WHERE key = asked.key AND seq = asked.seq) AS step

-- name: mail
-- The mail of each asked pair of key and seen, past that seen.
SELECT each.*
FROM unnest($1::bigint[], $2::integer[]) AS asked (key, seen)
CROSS JOIN LATERAL (
    SELECT key, seq, name, payload, at FROM zart_mail WHERE key = asked.key AND seq > asked.seen ORDER BY seq
) AS each
