-- beat: register or renew a worker, and take over from the dead (rules 7 and 8).
--
-- `beat` is all that nearly every beat takes. What it finds to do is done by the others, each a statement of its own and each
-- repeatable: if the process dies in between, the next beat of any worker finds it again. Nobody waits for a row here, save in
-- `hand_back`. Literal 2 is zart.records.SUSPECT. For `sign` see commit.sql.

-- name: beat
-- Renew, declare the dead dead, and look. Nothing but `now` and `state` means anything unless `state` was alive.
--
-- $2 worker, $3 lease, $4 queues, $5 tasks, $6 about, $7 whether it was in time, $8 the deadline before which an execution should have
-- been ended by its own worker, $9 held_at, $10 to $12 key, fence and seen of what it holds.
--
-- A beat that comes after its own lease has passed declares nobody dead: it may have been on its way for as long as the server could
-- not be reached by anybody. A lease far in the future means that the clock was put back: without that clause its executions would hang for as long. A worker
-- whose row is locked is beating, or claiming.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), before AS MATERIALIZED (
    SELECT state, tasks, lease_until FROM zart_workers WHERE id = $2
), renewed AS (
    UPDATE zart_workers AS each
    SET lease = $3::bigint, lease_until = clock.now + $3::bigint, queues = $4, about = $6
    FROM clock
    WHERE each.id = $2 AND each.state = 'alive'
    RETURNING 1
), expired AS MATERIALIZED (
    SELECT each.id
    FROM clock
    CROSS JOIN LATERAL (
        SELECT id FROM zart_workers
        WHERE state = 'alive' AND id <> $2 AND NOT (lease_until > clock.now AND lease_until <= clock.now + 2 * lease)
        ORDER BY id
        FOR UPDATE SKIP LOCKED
    ) AS each
    WHERE $7::boolean AND EXISTS (SELECT FROM before WHERE state = 'alive' AND lease_until > clock.now)
), dead AS (
    UPDATE zart_workers AS each SET
        state = 'dead',
        ended_at = clock.now,
        suspect = EXISTS (SELECT FROM zart_executions WHERE worker = each.id AND worker IS NOT NULL AND crashes >= 2)
    FROM clock CROSS JOIN expired
    WHERE each.id = expired.id
    RETURNING 1
), held AS MATERIALIZED (
    SELECT held.key, held.fence, held.place, each.fence AS stored, each.mail > held.seen AS has_news
    FROM unnest($10::bigint[], $11::bigint[], $12::integer[]) WITH ORDINALITY AS held (key, fence, seen, place)
    LEFT JOIN LATERAL (SELECT fence, mail FROM zart_executions WHERE key = held.key) AS each ON true
)
SELECT
    clock.now,
    (SELECT state FROM before) AS state,
    EXISTS (SELECT FROM renewed) AS is_renewed,
    (SELECT tasks FROM before) IS DISTINCT FROM $5 AS has_other_tasks,
    EXISTS (SELECT FROM dead)
        OR EXISTS (
            SELECT FROM zart_workers AS gone
            CROSS JOIN LATERAL (
                SELECT FROM zart_executions WHERE worker = gone.id AND worker IS NOT NULL LIMIT 1
            ) AS left_behind
            WHERE gone.state <> 'alive'
        )
        OR EXISTS (
            SELECT FROM zart_executions WHERE deadline < $8::bigint + clock.now AND worker IS NOT NULL AND deadline IS NOT NULL
        ) AS has_doomed,
    $9::bigint IS NOT NULL AND EXISTS (
        SELECT FROM zart_executions AS each
        WHERE each.worker = $2 AND each.worker IS NOT NULL AND each.claimed_at < $9::bigint
            AND NOT EXISTS (SELECT FROM held WHERE held.key = each.key AND held.fence = each.fence)
    ) AS has_unheard,
    (SELECT array_agg(place) FROM held WHERE stored IS DISTINCT FROM fence) AS lost,
    (SELECT array_agg(place) FROM held WHERE stored = fence AND has_news) AS news
FROM clock

-- name: register
-- Become known, and forget those that ended long ago and hold nothing any more.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), forgotten AS (
    DELETE FROM zart_workers
    WHERE id IN (
        SELECT id FROM zart_workers
        WHERE state <> 'alive' AND ended_at < (SELECT now FROM clock) - $5::bigint
            AND NOT EXISTS (
                SELECT FROM zart_executions WHERE zart_executions.worker = zart_workers.id AND zart_executions.worker IS NOT NULL
            )
        FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO zart_workers (id, state, lease_until, lease, registered_at, queues, tasks, about)
SELECT $2, 'alive', now + $3::bigint, $3::bigint, now, '[]', '[]', $4 FROM clock
ON CONFLICT DO NOTHING

-- name: list_tasks
WITH gone AS (
    DELETE FROM zart_worker_tasks WHERE worker = $1 AND task <> ALL($2::text[])
), listed AS (
    INSERT INTO zart_worker_tasks (task, worker) SELECT DISTINCT task, $1 FROM unnest($2::text[]) AS tasks (task)
    ON CONFLICT DO NOTHING
)
UPDATE zart_workers SET tasks = $3 WHERE id = $1

-- name: take_over
-- Returns per execution taken over its worker, and whether that is dead. Its fence goes up, so it waits for no write in flight: one
-- that has the lock is skipped now and found by the next beat.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), doomed AS MATERIALIZED (
    SELECT each.id, each.key, each.fence, each.worker, true AS orphaned,
        gone.state = 'dead' AND (each.crashes >= 2 OR NOT gone.suspect) AS blamed
    FROM zart_workers AS gone
    CROSS JOIN LATERAL (
        SELECT id, key, fence, worker, crashes FROM zart_executions WHERE worker = gone.id AND worker IS NOT NULL
    ) AS each
    WHERE gone.state <> 'alive'
    UNION ALL
    SELECT each.id, each.key, each.fence, each.worker, false, false
    FROM clock CROSS JOIN LATERAL (
        SELECT id, key, fence, worker FROM zart_executions
        WHERE deadline < $2::bigint + clock.now AND worker IS NOT NULL AND deadline IS NOT NULL
    ) AS each
    WHERE EXISTS (SELECT FROM zart_workers WHERE id = each.worker AND state = 'alive')
    ORDER BY 1
    LIMIT $3::integer
), locked AS MATERIALIZED (
    SELECT doomed.*
    FROM doomed
    CROSS JOIN LATERAL (
        SELECT FROM zart_executions WHERE key = doomed.key AND fence = doomed.fence AND worker = doomed.worker AND worker IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS each
), taken AS (
    UPDATE zart_executions AS each SET
        status = 'pending',
        fence = each.fence + 1,
        due_at = clock.now,
        worker = NULL,
        crashes = each.crashes + locked.blamed::integer,
        crashed_workers = CASE
            -- As text: what is damaged must not fail the others; a claim will tell.
            WHEN locked.blamed THEN left(each.crashed_workers, -1)
                || CASE each.crashed_workers WHEN '[]' THEN '' ELSE ',' END || to_jsonb(locked.worker)::text || ']'
            ELSE each.crashed_workers
        END
    FROM clock CROSS JOIN locked
    WHERE sign(locked.key) = 1 AND each.key = locked.key
)
SELECT worker, orphaned FROM locked

-- name: unheard
-- Hand back what runs under a worker since before `$3` and is not in the pairs of key and fence that it holds: the reply to its claim
-- was lost. An execution that is held under an older fence is not held. Returns how many.
WITH unheard AS MATERIALIZED (
    SELECT each.key
    FROM zart_executions AS each
    WHERE each.worker = $2 AND each.worker IS NOT NULL AND each.claimed_at < $3::bigint AND NOT EXISTS (
        SELECT FROM unnest($4::bigint[], $5::bigint[]) AS held (key, fence)
        WHERE held.key = each.key AND held.fence = each.fence
    )
    ORDER BY each.id
    LIMIT $6::integer
    FOR NO KEY UPDATE SKIP LOCKED
), handed_back AS (
    UPDATE zart_executions AS each SET
        status = 'pending',
        fence = each.fence + 1,
        due_at = coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
        worker = NULL
    WHERE each.key = ANY(ARRAY(SELECT key FROM unheard))
)
SELECT count(*) FROM unheard

-- name: leave
-- Waits for a claim of the worker's in flight; after it there is none. Returns now, and the state before.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
), before AS MATERIALIZED (
    SELECT state FROM zart_workers WHERE id = $2 FOR UPDATE
), gone AS (
    UPDATE zart_workers SET state = 'left', ended_at = (SELECT now FROM clock)
    WHERE id = $2 AND (SELECT state FROM before) = 'alive'
)
SELECT now, (SELECT state FROM before) AS state FROM clock

-- name: hand_back
-- Waits for writes in flight, in the order of the keys. Returns how many.
WITH locked AS MATERIALIZED (
    SELECT key FROM zart_executions WHERE worker = $2 AND worker IS NOT NULL ORDER BY key FOR NO KEY UPDATE
), handed_back AS (
    UPDATE zart_executions AS each SET
        status = 'pending',
        fence = each.fence + 1,
        due_at = coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
        worker = NULL
    WHERE each.key = ANY(ARRAY(SELECT key FROM locked))
)
SELECT count(*) FROM locked
