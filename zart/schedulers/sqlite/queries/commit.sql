-- commit: write what workers have to say (rules 3 and 4).
--
-- Nearly always all is *quiet*: every token is the stored one, nobody has new mail, nobody has crashed before. Then `write` is the whole
-- commit, one statement and so one transaction, with the fence checked row by row. The first row that is not quiet refuses all of it;
-- then `states` says how things stand, the caller decides, and `write` is said again without fences for what is to be applied.

-- name: prepare
-- Once per connection. `what` says what a row means; 0 is padding. An absent integer is -4611686018427387904, because binding a NULL
-- costs ten times as much as binding a number; so a row without that in `fence` is checked.
--
--            1 a record   2 a move            3 nothing, only checked
--   number   its seq      the new attempt
--   name     its name     the new status
--   kind     its kind     the reason
--   text     its payload  the result
--   due_at   its due_at   the due_at
--   mail     its mail     its own seen (4611686018427387904: none)
--   since    started_at   the new deadline
--   at       at           now
CREATE TEMP VIEW zart_words (what, key, fence, seen, number, name, kind, phase, ok, attempts, due_at, mail, since, at, text) AS
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER zart_write_record INSTEAD OF INSERT ON zart_words WHEN new.what = 1 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE new.fence <> -4611686018427387904 AND NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen
            AND (crashes = 0 OR new.phase <> 'outcome')
    );
    INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at, payload)
    VALUES (
        new.key, new.number, new.name, new.kind, new.phase, new.ok, new.attempts, nullif(new.due_at, -4611686018427387904),
        nullif(new.mail, -4611686018427387904), nullif(new.since, -4611686018427387904), new.at, new.text
    )
    ON CONFLICT (key, seq) DO NOTHING;
END;

CREATE TEMP TRIGGER zart_write_move INSTEAD OF INSERT ON zart_words WHEN new.what = 2 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE new.fence <> -4611686018427387904 AND NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen
    );
    UPDATE zart_executions SET
        worker = NULL,
        attempt = coalesce(nullif(new.number, -4611686018427387904), attempt),
        deadline = coalesce(nullif(new.since, -4611686018427387904), deadline),
        reason = new.kind,
        status = iif(mail > new.mail, 'pending', new.name),
        due_at = CASE
            WHEN mail > new.mail THEN new.at
            WHEN new.name IN ('pending', 'waiting') THEN nullif(new.due_at, -4611686018427387904)
        END,
        completed_at = iif(mail > new.mail OR new.name IN ('pending', 'waiting'), NULL, new.at),
        result = iif(mail > new.mail OR new.name IN ('pending', 'waiting'), NULL, new.text)
    WHERE key = new.key;
END;

CREATE TEMP TRIGGER zart_only_check INSTEAD OF INSERT ON zart_words WHEN new.what = 3 BEGIN
    SELECT raise(ABORT, 'unquiet') WHERE NOT EXISTS (
        SELECT 1 FROM zart_executions
        WHERE key = new.key AND fence = new.fence AND status = 'running' AND mail <= new.seen
    );
END;

-- name: write
INSERT INTO zart_words VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: states
SELECT json_group_array(json_array(each.key, each.fence, each.status, each.mail, each.crashes))
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
