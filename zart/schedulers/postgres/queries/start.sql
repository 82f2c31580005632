-- start: open runs (rules 1, 8 and 10).
--
-- Most starts are of new ids: `insert` alone, or `one`. Where it leaves one out, `find` says what is there for all of them, those just inserted
-- among them, and the caller decides. Only to open another run of an ended id does it take a transaction: `lock`, `find` again, `reopen`.
-- Keys are drawn in the order of the starts, which is the order of lists; rows go in by id, so that two callers never wait for each
-- other.

-- name: insert
-- Returns now and how many were opened. A bare conflict clause stands for both unique indexes.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), asked AS MATERIALIZED (
    SELECT nextval('zart_keys') AS key, each.*
    FROM unnest(
        string_to_array($2, E'\x1f'), string_to_array($3, E'\x1f'), string_to_array($4, E'\x1f'), string_to_array($5, E'\x1f'),
        $6::text::bigint[], $7::text::bigint[], string_to_array($8, E'\x1f'), string_to_array($11, E'\x1f', E'\x1e')
    ) WITH ORDINALITY AS each (id, task, queue, start_key, delay, at, payload, trace, place)
    WHERE each.place <= $9::bigint
), opened AS (
    INSERT INTO zart_executions
        (key, id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, payload, trace)
    SELECT
        key, id, 1, 1, 'pending', 0, now, coalesce(at, now + coalesce(delay, 0)), coalesce(at, now + coalesce(delay, 0)),
        queue, task, start_key, CASE WHEN $10::boolean THEN decode(payload, 'hex') ELSE convert_to(payload, 'UTF8') END, trace
    FROM asked CROSS JOIN clock
    ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT now, (SELECT count(*) FROM opened) FROM clock

-- name: one
-- `insert` for one start, without what it takes to make rows of lists: a third of the server's time. Returns now, or no row where
-- something is there already.
INSERT INTO zart_executions
    (id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, payload, trace)
SELECT
    $2, 1, 1, 'pending', 0, now, coalesce($3::bigint, now + coalesce($4::bigint, 0)),
    coalesce($3::bigint, now + coalesce($4::bigint, 0)), $5, $6, $7, $8, $9
FROM (SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS clock
ON CONFLICT DO NOTHING
RETURNING created_at

-- name: find
-- Per asked start, in their order: now, the last run of its id, and the run that has its start key.
SELECT
    coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now,
    last.key, last.run, last.status, last.fence, last.scheduled_at, same.run, same.status, same.scheduled_at
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS asked (id, start_key, place)
LEFT JOIN LATERAL (
    SELECT * FROM zart_executions WHERE id = asked.id ORDER BY run DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT * FROM zart_executions WHERE id = asked.id AND start_key = asked.start_key AND run > 1
    UNION ALL
    SELECT * FROM zart_executions WHERE id = asked.id AND start_key = asked.start_key AND run = 1
    LIMIT 1
) AS same ON true
ORDER BY asked.place

-- name: lock
-- Wait for whoever changes these runs, in the order of their keys, and let nobody else.
SELECT FROM zart_executions WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE

-- name: reopen
-- Put the runs with these keys behind, and open the next ones.
WITH retired AS (
    UPDATE zart_executions SET current = 0 WHERE key = ANY($1::bigint[])
)
INSERT INTO zart_executions
    (id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, payload, trace)
SELECT
    id, run, 1, 'pending', fence, coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), at, at,
    queue, task, start_key, payload, trace
FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::text[])
    AS opened (id, run, fence, at, queue, task, start_key, payload, trace)
