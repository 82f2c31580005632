-- The first schema, for MariaDB 10.6 and MySQL 8.0.1 and later. All times are microseconds since 1970-01-01 UTC; payloads are text made
-- by zart.codec. Names are told apart to the last byte, accents, case and trailing spaces included: MariaDB calls that collation as
-- it is written here, MySQL utf8mb4_0900_bin, which is put in its place there.
--
-- DDL commits by itself: a migration that was broken off is run again, and goes on where it was.

-- One row per migration. Made first: where it is there, the other names are Zart's own.
CREATE TABLE IF NOT EXISTS zart_schema (
    version         INT          NOT NULL,
    name            VARCHAR(255) NOT NULL,
    applied_at      BIGINT       NOT NULL,
    PRIMARY KEY (version)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- One row per run. `key` is the run's short name in tokens and is never used twice. `claimed_at` is when the last claim was. `suspect`
-- repeats whether `crashes` is zart.records.SUSPECT or more, so that an index can part the two.
CREATE TABLE IF NOT EXISTS zart_executions (
    `key`           BIGINT       NOT NULL AUTO_INCREMENT,
    fence           BIGINT       NOT NULL,
    created_at      BIGINT       NOT NULL,
    scheduled_at    BIGINT       NOT NULL,
    started_at      BIGINT,
    claimed_at      BIGINT,
    completed_at    BIGINT,
    due_at          BIGINT,
    deadline        BIGINT,
    run             INT          NOT NULL CHECK (run > 0),
    mail            BIGINT       NOT NULL DEFAULT 0,
    crashes         INT          NOT NULL DEFAULT 0,
    attempt         INT          NOT NULL DEFAULT 0,
    current         TINYINT      NOT NULL CHECK (current IN (0, 1)),
    suspect         TINYINT      NOT NULL DEFAULT 0,
    status          VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL
                    CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    worker          VARCHAR(255),
    id              VARCHAR(255) NOT NULL,
    queue           VARCHAR(255) NOT NULL,
    task            VARCHAR(255) NOT NULL,
    start_key       VARCHAR(255) NOT NULL,
    crashed_workers LONGTEXT     NOT NULL,
    reason          LONGTEXT,
    payload         LONGTEXT     NOT NULL,
    result          LONGTEXT,
    PRIMARY KEY (`key`),
    UNIQUE KEY id (id, run),
    UNIQUE KEY start_key (id, start_key),
    -- What may be claimed. Suspects stand apart, because a claim takes few of them and must not wade through the others.
    KEY due (queue, task, suspect, due_at),
    -- What runs, for taking over.
    KEY worker (worker, deadline),
    -- Lists, in the order of the start (the primary key is the last column of every index), and counts.
    KEY task (task, current),
    KEY status (status, current),
    CHECK (suspect = (crashes >= 2)),
    CHECK ((worker IS NOT NULL) = (status = 'running')),
    CHECK (due_at IS NULL OR status IN ('pending', 'waiting'))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- A run's history, insert-only.
CREATE TABLE IF NOT EXISTS zart_steps (
    `key`           BIGINT       NOT NULL,
    seq             BIGINT       NOT NULL,
    at              BIGINT       NOT NULL,
    started_at      BIGINT,
    due_at          BIGINT,
    mail            BIGINT,
    attempts        INT          NOT NULL,
    ok              TINYINT      NOT NULL,
    kind            VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    phase           VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name            TEXT         NOT NULL,
    payload         LONGTEXT,
    PRIMARY KEY (`key`, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- A run's mailbox; `seq` counts from 1 without gaps and never passes the execution's `mail`.
CREATE TABLE IF NOT EXISTS zart_mail (
    `key`           BIGINT       NOT NULL,
    seq             BIGINT       NOT NULL,
    at              BIGINT       NOT NULL,
    event_id        VARCHAR(255) NOT NULL,
    name            TEXT         NOT NULL,
    payload         LONGTEXT     NOT NULL,
    PRIMARY KEY (`key`, seq),
    UNIQUE KEY event_id (`key`, event_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- One row per worker. `suspect` says that it held a suspect when it was declared dead: then only that one's crash counts. `news`
-- grows when mail came for an execution that it holds, or one was taken from it: that is how another process wakes it.
CREATE TABLE IF NOT EXISTS zart_workers (
    id              VARCHAR(255) NOT NULL,
    state           VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL CHECK (state IN ('alive', 'left', 'dead')),
    lease_until     BIGINT       NOT NULL,
    lease           BIGINT       NOT NULL,
    news            BIGINT       NOT NULL DEFAULT 0,
    suspect         TINYINT      NOT NULL DEFAULT 0,
    registered_at   BIGINT       NOT NULL,
    ended_at        BIGINT,
    queues          LONGTEXT     NOT NULL,
    tasks           LONGTEXT     NOT NULL,
    about           LONGTEXT     NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Which tasks a living worker has registered.
CREATE TABLE IF NOT EXISTS zart_worker_tasks (
    task            VARCHAR(255) NOT NULL,
    worker          VARCHAR(255) NOT NULL,
    PRIMARY KEY (task, worker),
    KEY worker (worker)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
