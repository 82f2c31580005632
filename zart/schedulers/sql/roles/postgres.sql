-- Roles with no more rights than they need, for PostgreSQL 15 and later. Nobody logs in as one of them: grant them to those who do.
--
--   zart_owner      owns the tables, so that it alone can change them: for `zart migrate` and nothing else
--   zart_worker     runs executions, and may do all that a client may
--   zart_client     starts, cancels, sends events, and reads
--   zart_inspector  reads everything, payloads included: `zart status`, `zart list`, `zart serve` with a read token only
--   zart_reader     reads everything but payloads, results and reasons: dashboards and monitoring, in SQL
--
-- Run it as a superuser after each `zart migrate`, with the tables' schema as the first of the search path. It may be repeated.
-- Where the tables have another prefix, put it in for `zart_` throughout; the roles are then called after it too.

BEGIN;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['zart_owner', 'zart_worker', 'zart_client', 'zart_inspector', 'zart_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
    -- Whoever owns the tables needs a place for new ones; everybody else has only to find them.
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO zart_owner', current_schema());
    EXECUTE format(
        'GRANT USAGE ON SCHEMA %I TO zart_worker, zart_client, zart_inspector, zart_reader', current_schema()
    );
END
$$;

ALTER TABLE zart_schema OWNER TO zart_owner;
ALTER TABLE zart_executions OWNER TO zart_owner;
ALTER TABLE zart_steps OWNER TO zart_owner;
ALTER TABLE zart_mail OWNER TO zart_owner;
ALTER TABLE zart_workers OWNER TO zart_owner;
ALTER TABLE zart_worker_tasks OWNER TO zart_owner;
ALTER TABLE zart_settings OWNER TO zart_owner;
ALTER SEQUENCE zart_keys OWNER TO zart_owner;

-- Whatever was granted before, by hand or by an earlier version of this file.
REVOKE ALL ON zart_schema, zart_executions, zart_steps, zart_mail, zart_workers, zart_worker_tasks, zart_settings
    FROM PUBLIC, zart_worker, zart_client, zart_inspector, zart_reader;
REVOKE ALL ON SEQUENCE zart_keys FROM PUBLIC, zart_worker, zart_client, zart_inspector, zart_reader;

-- A run's identity, its input and its history are written once, by nobody twice: there is no UPDATE on those columns and tables, and no
-- DELETE but that of workers long gone.
GRANT SELECT ON
    zart_schema, zart_executions, zart_steps, zart_mail, zart_workers, zart_worker_tasks, zart_settings
    TO zart_worker;
GRANT USAGE ON SEQUENCE zart_keys TO zart_worker;
GRANT INSERT ON zart_executions, zart_steps, zart_mail TO zart_worker;
GRANT UPDATE (
    current, status, fence, mail, crashes, crashed_workers, attempt, started_at, claimed_at, completed_at, due_at, deadline, worker,
    reason, result
) ON zart_executions TO zart_worker;
GRANT INSERT, DELETE ON zart_workers TO zart_worker;
GRANT UPDATE (state, lease_until, lease, suspect, ended_at, queues, tasks, about) ON zart_workers TO zart_worker;
GRANT INSERT, DELETE ON zart_worker_tasks TO zart_worker;

GRANT SELECT ON
    zart_schema, zart_executions, zart_steps, zart_mail, zart_workers, zart_worker_tasks, zart_settings
    TO zart_client;
GRANT USAGE ON SEQUENCE zart_keys TO zart_client;
GRANT INSERT ON zart_executions, zart_mail TO zart_client;
GRANT UPDATE (current, status, fence, mail, completed_at, due_at, worker) ON zart_executions TO zart_client;

GRANT SELECT ON
    zart_schema, zart_executions, zart_steps, zart_mail, zart_workers, zart_worker_tasks, zart_settings
    TO zart_inspector;

GRANT SELECT ON zart_schema, zart_workers, zart_worker_tasks, zart_settings TO zart_reader;
GRANT SELECT (
    key, id, run, current, status, fence, mail, crashes, crashed_workers, attempt, created_at, scheduled_at, started_at, claimed_at,
    completed_at, due_at, deadline, worker, queue, task, trace
) ON zart_executions TO zart_reader;
GRANT SELECT (key, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at) ON zart_steps TO zart_reader;
GRANT SELECT (key, seq, name, event_id, at) ON zart_mail TO zart_reader;

COMMIT;
