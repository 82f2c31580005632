-- The first schema, for SQLite 3.35 and later. All times are microseconds since 1970-01-01 UTC, all payloads text made by zart.codec.
--
-- Types are held by Python's binding and by the checks below: STRICT tables would shut out SQLite before 3.37.

-- One row per migration.
CREATE TABLE zart_schema (
    version         INTEGER NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    applied_at      INTEGER NOT NULL
);

-- One row per run. `key` is the run's short name in tokens and is never used twice, not even after a run was deleted (AUTOINCREMENT):
-- otherwise a forgotten worker's token could come to fit another execution. Small columns stand before the texts, so that a look at a
-- fence need not follow a long payload's overflow pages. `claimed_at` is when the last claim was.
CREATE TABLE zart_executions (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL,
    run             INTEGER NOT NULL CHECK (run > 0),
    current         INTEGER NOT NULL CHECK (current IN (0, 1)),
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    fence           INTEGER NOT NULL,
    mail            INTEGER NOT NULL DEFAULT 0,
    crashes         INTEGER NOT NULL DEFAULT 0,
    attempt         INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    scheduled_at    INTEGER NOT NULL,
    started_at      INTEGER,
    claimed_at      INTEGER,
    completed_at    INTEGER,
    due_at          INTEGER,
    deadline        INTEGER,
    worker          TEXT,
    queue           TEXT    NOT NULL,
    task            TEXT    NOT NULL,
    start_key       TEXT    NOT NULL,
    crashed_workers TEXT    NOT NULL DEFAULT '[]',
    reason          TEXT,
    payload         TEXT    NOT NULL,
    result          TEXT,
    UNIQUE (id, run),
    UNIQUE (id, start_key),
    CHECK ((worker IS NOT NULL) = (status = 'running')),
    CHECK (due_at IS NULL OR status IN ('pending', 'waiting'))
);

-- The two halves of what may be claimed: suspects (zart.records.SUSPECT crashes and more) stand apart, because a claim takes few of
-- them and must not wade through the others. An execution is in one of the two or in none.
CREATE INDEX zart_executions_due ON zart_executions (queue, task, due_at) WHERE due_at IS NOT NULL AND crashes < 2;
CREATE INDEX zart_executions_due_suspects ON zart_executions (queue, task, due_at) WHERE due_at IS NOT NULL AND crashes >= 2;

-- What runs, for taking over.
CREATE INDEX zart_executions_worker ON zart_executions (worker) WHERE worker IS NOT NULL;
CREATE INDEX zart_executions_deadline ON zart_executions (deadline) WHERE worker IS NOT NULL AND deadline IS NOT NULL;

-- Lists, in the order of the start, and counts. `current` is a column of it too: else a count would look into every row for it.
CREATE INDEX zart_executions_status ON zart_executions (status, current) WHERE current = 1;
CREATE INDEX zart_executions_task ON zart_executions (task, current) WHERE current = 1;

-- A run's history, insert-only.
CREATE TABLE zart_steps (
    key             INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    name            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    phase           TEXT    NOT NULL,
    ok              INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    due_at          INTEGER,
    mail            INTEGER,
    started_at      INTEGER,
    at              INTEGER NOT NULL,
    payload         TEXT,
    PRIMARY KEY (key, seq)
) WITHOUT ROWID;

-- A run's mailbox; `seq` counts from 1 without gaps and never passes the execution's `mail`.
CREATE TABLE zart_mail (
    key             INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    name            TEXT    NOT NULL,
    event_id        TEXT    NOT NULL,
    payload         TEXT    NOT NULL,
    PRIMARY KEY (key, seq),
    UNIQUE (key, event_id)
) WITHOUT ROWID;

-- One row per worker. `suspect` says that it held a suspect when it was declared dead: then only that one's crash counts. `news`
-- grows when mail came for an execution that it holds, or one was taken from it: that is how another process wakes it.
CREATE TABLE zart_workers (
    id              TEXT    NOT NULL PRIMARY KEY,
    state           TEXT    NOT NULL CHECK (state IN ('alive', 'left', 'dead')),
    lease_until     INTEGER NOT NULL,
    lease           INTEGER NOT NULL,
    news            INTEGER NOT NULL DEFAULT 0,
    suspect         INTEGER NOT NULL DEFAULT 0,
    registered_at   INTEGER NOT NULL,
    ended_at        INTEGER,
    queues          TEXT    NOT NULL,
    tasks           TEXT    NOT NULL,
    about           TEXT    NOT NULL
) WITHOUT ROWID;

-- Which tasks a living worker has registered.
CREATE TABLE zart_worker_tasks (
    task            TEXT    NOT NULL,
    worker          TEXT    NOT NULL REFERENCES zart_workers (id) ON DELETE CASCADE,
    PRIMARY KEY (task, worker)
) WITHOUT ROWID;

CREATE INDEX zart_worker_tasks_worker ON zart_worker_tasks (worker);
