-- commit: write what workers have to say (rules 3 and 4).
--
-- Nearly always all is *quiet*: every token is the stored one, nobody has new mail, nobody has crashed before. Then `write` is the whole
-- commit, one statement and so one transaction, with the fence checked row by row. The first row that is not quiet refuses all of it;
-- then `states` says how things stand, the caller decides, and `write` is said again without fences for what is to be applied.

-- name: prepare
-- Once per connection. A row has as little to bind as can be, because that is done under the interpreter's lock. `what` says what it
-- means; 0 is padding. An absent integer is -4611686018427387904, because binding a NULL costs ten times as much as binding a number;
-- so a row without that in `fence` is checked.
--
--            1 a step's outcome,   2 any other    3 a move       4 more of the move    5 nothing,
--            at its first call       record                        in the row before     only checked
--   number   its seq               its seq        new attempt
--   name     its name              its name       new status
--   due_at   its started_at        its due_at     the due_at     new deadline
--   at       at                    at             now
--   text     its payload           its payload    the result     the reason
--   rest                           JSON: its kind, phase, ok, attempts, mail, started_at
CREATE TEMP VIEW zart_words (what, key, fence, seen, number, name, due_at, at, text, rest) AS
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER zart_write_outcome INSTEAD OF INSERT ON zart_words WHEN new.what = 1 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE new.fence <> -4611686018427387904 AND NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen AND crashes = 0
    );
    INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, started_at, at, payload)
    VALUES (new.key, new.number, new.name, 'step', 'outcome', 1, 1, new.due_at, new.at, new.text)
    ON CONFLICT (key, seq) DO NOTHING;
END;

CREATE TEMP TRIGGER zart_write_record INSTEAD OF INSERT ON zart_words WHEN new.what = 2 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE new.fence <> -4611686018427387904 AND NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen
            AND (crashes = 0 OR json_extract(new.rest, '$[1]') <> 'outcome')
    );
    INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at, payload)
    VALUES (
        new.key, new.number, new.name, json_extract(new.rest, '$[0]'), json_extract(new.rest, '$[1]'),
        json_extract(new.rest, '$[2]'), json_extract(new.rest, '$[3]'), nullif(new.due_at, -4611686018427387904),
        json_extract(new.rest, '$[4]'), json_extract(new.rest, '$[5]'), new.at, new.text
    )
    ON CONFLICT (key, seq) DO NOTHING;
END;

CREATE TEMP TRIGGER zart_write_move INSTEAD OF INSERT ON zart_words WHEN new.what = 3 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE new.fence <> -4611686018427387904 AND NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen
    );
    UPDATE zart_executions SET
        worker = NULL,
        attempt = coalesce(nullif(new.number, -4611686018427387904), attempt),
        reason = NULL,
        status = new.name,
        due_at = iif(new.name IN ('pending', 'waiting'), nullif(new.due_at, -4611686018427387904), NULL),
        completed_at = iif(new.name IN ('pending', 'waiting'), NULL, new.at),
        result = iif(new.name IN ('pending', 'waiting'), NULL, new.text)
    WHERE key = new.key;
END;

CREATE TEMP TRIGGER zart_write_more INSTEAD OF INSERT ON zart_words WHEN new.what = 4 BEGIN
    UPDATE zart_executions SET
        reason = new.text,
        deadline = coalesce(nullif(new.due_at, -4611686018427387904), deadline)
    WHERE key = new.key;
END;

CREATE TEMP TRIGGER zart_only_check INSTEAD OF INSERT ON zart_words WHEN new.what = 5 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen
    );
END;

-- name: write
INSERT INTO zart_words VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: states
-- Cast: what one of them holds must not keep the others from being read.
SELECT json_group_array(json_array(
    each.key, CAST(each.fence AS INTEGER), each.status, CAST(each.mail AS INTEGER), CAST(each.crashes AS INTEGER)
))
FROM json_each(:keys) AS keys CROSS JOIN zart_executions AS each ON each.key = keys.value

-- name: present
-- Which of these pairs of key and seq are there.
SELECT json_group_array(json_array(step.key, step.seq))
FROM json_each(:asked) AS asked
CROSS JOIN zart_steps AS step
    ON step.key = json_extract(asked.value, '$[0]') AND step.seq = json_extract(asked.value, '$[1]')

-- name: forgive
UPDATE zart_executions SET crashes = 0, crashed_workers = '[]' WHERE key IN (SELECT value FROM json_each(:keys))

-- name: mail
-- The mail of each asked pair of key and seen, past that seen.
SELECT json_group_array(json_array(mail.key, mail.seq, mail.name, mail.payload, mail.at))
FROM json_each(:asked) AS asked
CROSS JOIN zart_mail AS mail ON mail.key = json_extract(asked.value, '$[0]') AND mail.seq > json_extract(asked.value, '$[1]')
