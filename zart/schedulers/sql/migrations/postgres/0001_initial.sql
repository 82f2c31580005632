-- The first schema, for PostgreSQL 15 and later. All times are microseconds since 1970-01-01 UTC; payloads are text made by zart.codec,
-- kept as its UTF-8 bytes because `text` refuses NUL. Names sort by their bytes (COLLATE "C"): no update of the system's locales can
-- bring an index out of order, and comparing is cheap.

-- One row per migration.
CREATE TABLE zart_schema (
    version         integer NOT NULL PRIMARY KEY,
    name            text    NOT NULL,
    applied_at      bigint  NOT NULL
);

CREATE SEQUENCE zart_keys;

-- One row per run. `key` is the run's short name in tokens and is never used twice. `claimed_at` is when the last claim was. The row is
-- rewritten twice in a plain life, by the claim and by the end, never by a step; room is left in its page for that.
CREATE TABLE zart_executions (
    key             bigint   NOT NULL DEFAULT nextval('zart_keys'),
    fence           bigint   NOT NULL,
    created_at      bigint   NOT NULL,
    scheduled_at    bigint   NOT NULL,
    started_at      bigint,
    claimed_at      bigint,
    completed_at    bigint,
    due_at          bigint,
    deadline        bigint,
    run             integer  NOT NULL CHECK (run > 0),
    mail            integer  NOT NULL DEFAULT 0,
    crashes         integer  NOT NULL DEFAULT 0,
    attempt         integer  NOT NULL DEFAULT 0,
    current         smallint NOT NULL CHECK (current IN (0, 1)),
    status          text     COLLATE "C" NOT NULL
                    CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    worker          text     COLLATE "C",
    id              text     COLLATE "C" NOT NULL,
    queue           text     COLLATE "C" NOT NULL,
    task            text     COLLATE "C" NOT NULL,
    start_key       text     COLLATE "C" NOT NULL,
    crashed_workers text     COLLATE "C" NOT NULL DEFAULT '[]',
    reason          bytea,
    payload         bytea    NOT NULL,
    result          bytea,
    PRIMARY KEY (key),
    CHECK ((worker IS NOT NULL) = (status = 'running')),
    CHECK (due_at IS NULL OR status IN ('pending', 'waiting'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE UNIQUE INDEX zart_executions_id ON zart_executions (id, run);

-- First runs are found by their id and number 1; so nearly all starts need no entry here.
CREATE UNIQUE INDEX zart_executions_start_key ON zart_executions (id, start_key) WHERE run > 1;

-- The two halves of what may be claimed: suspects (zart.records.SUSPECT crashes and more) stand apart, because a claim takes few of
-- them and must not wade through the others. An execution is in one of the two or in none.
CREATE INDEX zart_executions_due ON zart_executions (queue, task, due_at) WHERE due_at IS NOT NULL AND crashes < 2;
CREATE INDEX zart_executions_due_suspects ON zart_executions (queue, task, due_at) WHERE due_at IS NOT NULL AND crashes >= 2;

-- What runs, for taking over. No hot statement's condition implies these.
CREATE INDEX zart_executions_worker ON zart_executions (worker) WHERE worker IS NOT NULL;
CREATE INDEX zart_executions_deadline ON zart_executions (deadline) WHERE worker IS NOT NULL AND deadline IS NOT NULL;

-- Lists, in the order of the start. Only statuses that executions stay in: the others would cost every claim an entry. What runs is
-- found by its worker, what is pending by when it is due, and what has completed is nearly everything.
CREATE INDEX zart_executions_task ON zart_executions (task, key) WHERE current = 1;
CREATE INDEX zart_executions_status ON zart_executions (status, key) WHERE current = 1 AND status IN ('waiting', 'failed', 'cancelled');

-- A run's history, insert-only.
CREATE TABLE zart_steps (
    key             bigint  NOT NULL,
    at              bigint  NOT NULL,
    started_at      bigint,
    due_at          bigint,
    seq             integer NOT NULL,
    attempts        integer NOT NULL,
    mail            integer,
    ok              boolean NOT NULL,
    kind            text    COLLATE "C" NOT NULL,
    phase           text    COLLATE "C" NOT NULL,
    name            text    COLLATE "C" NOT NULL,
    payload         bytea,
    PRIMARY KEY (key, seq)
);

-- A run's mailbox; `seq` counts from 1 without gaps and never passes the execution's `mail`.
CREATE TABLE zart_mail (
    key             bigint  NOT NULL,
    at              bigint  NOT NULL,
    seq             integer NOT NULL,
    name            text    COLLATE "C" NOT NULL,
    event_id        text    COLLATE "C" NOT NULL,
    payload         bytea   NOT NULL,
    PRIMARY KEY (key, seq)
);

CREATE UNIQUE INDEX zart_mail_event_id ON zart_mail (key, event_id);

-- One row per worker, rewritten by each of its beats. `suspect` says that it held a suspect when it was declared dead: then only that
-- one's crash counts.
CREATE TABLE zart_workers (
    id              text    COLLATE "C" NOT NULL,
    state           text    COLLATE "C" NOT NULL CHECK (state IN ('alive', 'left', 'dead')),
    lease_until     bigint  NOT NULL,
    lease           bigint  NOT NULL,
    suspect         boolean NOT NULL DEFAULT false,
    registered_at   bigint  NOT NULL,
    ended_at        bigint,
    queues          text    COLLATE "C" NOT NULL,
    tasks           text    COLLATE "C" NOT NULL,
    about           text    COLLATE "C" NOT NULL,
    PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- Which tasks a living worker has registered.
CREATE TABLE zart_worker_tasks (
    task            text    COLLATE "C" NOT NULL,
    worker          text    COLLATE "C" NOT NULL REFERENCES zart_workers (id) ON DELETE CASCADE,
    PRIMARY KEY (task, worker)
);

CREATE INDEX zart_worker_tasks_worker ON zart_worker_tasks (worker);
