"""Least privilege on PostgreSQL: each role can do its work, and nothing else."""

from contextlib import suppress
from datetime import timedelta
from itertools import count

import asyncpg
import pytest

from tests.security.roles import ROLES, SCRIPT, dsn_of, grant
from tests.servers.postgres import PostgresServer
from zart import DurableScheduler, PostgresScheduler, StorageUnavailable, TaskContext, TaskHandler, Worker
from zart.clock import Clock
from zart.records import Query
from zart.scheduler import Storage
from zart.schedulers.sql.tables import metadata
from zart.testing.contract import SchedulerContract

_numbers = count(1)


class TestWorkerRole(SchedulerContract):
    """The whole contract, spoken by a user who has nothing but the role of a worker."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer):
        self.server = postgres_server

    async def make(self, clock: Clock) -> Storage:
        schema = f"worker_role_{next(_numbers)}"
        await grant(self.server, schema)
        return PostgresScheduler(dsn_of(self.server, "worker"), schema=schema, clock=clock)


@pytest.fixture
async def schema(postgres_server):
    name = f"roles_{next(_numbers)}"
    await grant(postgres_server, name)
    return name


@pytest.fixture
def scheduler(postgres_server, schema):
    """Return a function that makes a scheduler for a role."""
    return lambda role, **options: PostgresScheduler(dsn_of(postgres_server, role), schema=schema, **options)


@pytest.fixture
def run(postgres_server, schema):
    """Return a function that runs a statement as a role."""

    async def statement(role, sql):
        connection = await asyncpg.connect(dsn_of(postgres_server, role), server_settings={"search_path": schema})
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    return statement


class Greet(TaskHandler[str, str]):
    name = "greet"

    async def run(self, ctx: TaskContext, data: str) -> str:
        await ctx.transaction("look", self.look)
        who = await ctx.wait_for_event("who", str)
        return await ctx.step("greet", lambda: f"{data}, {who}", returns=str)

    async def look(self, connection) -> int:
        return (await connection.exec_driver_sql("SELECT 1")).scalar_one()


async def test_a_client_starts_and_a_worker_works_and_each_hears_the_other(scheduler):
    """Polls are so far apart that only NOTIFY gets it done in time."""
    async with scheduler("worker") as working, scheduler("client") as asking:
        async with Worker(working, [Greet()]):
            client = DurableScheduler(asking)
            handle = await client.start_for(Greet, "g-1", "hello")
            await handle.send("who", "Ada")
            assert await handle.result("20s") == "hello, Ada"
        again = await client.start_for(Greet, "g-1", "hello")
        assert (again.run, await again.cancel()) == (2, True)
        handles = await client.start_many([("g-2", "greet", "a"), ("g-3", "greet", "b")])
        assert [each.run for each in handles] == [1, 1]
        await asking.wait(["g-1"], timedelta(seconds=1))


async def test_an_inspector_reads_and_does_nothing_else(scheduler):
    async with scheduler("client") as asking, scheduler("inspector") as looking:
        await DurableScheduler(asking).start("g-1", "greet", "secret")
        record = await DurableScheduler(looking).status("g-1")
        assert (record.payload, record.status) == ("secret", "pending")
        assert len((await looking.find(Query())).executions) == 1
        for attempt in (
            DurableScheduler(looking).start("g-2", "greet", "x"),
            DurableScheduler(looking).cancel("g-1"),
            DurableScheduler(looking).offer_event("g-1", "who", "x"),
        ):
            with pytest.raises(StorageUnavailable, match=r"permission denied for .*; grant this user what it needs"):
                await attempt


async def test_a_client_cannot_run_what_it_started(scheduler):
    async with scheduler("client") as asking:
        await DurableScheduler(asking).start("g-1", "greet", "x")
        worker = Worker(asking, [Greet()])
        with pytest.raises(StorageUnavailable, match="permission denied for table zart_workers"):
            await worker.join()


async def test_a_reader_sees_no_payload(scheduler, run):
    async with scheduler("client") as asking:
        client = DurableScheduler(asking)
        await client.start("g-1", "greet", "secret")
        await client.offer_event("g-1", "who", "secret")
    open_ = {
        "zart_executions": "key, id, run, current, status, fence, mail, crashes, crashed_workers, attempt, created_at,"
        " scheduled_at, started_at, claimed_at, completed_at, due_at, deadline, worker, queue, task",
        "zart_steps": "key, seq, name, kind, phase, ok, attempts, due_at, mail, started_at, at",
        "zart_mail": "key, seq, name, event_id, at",
        "zart_workers": "*",
        "zart_worker_tasks": "*",
        "zart_schema": "*",
        "zart_settings": "*",
    }
    for table, columns in open_.items():
        await run("reader", f"SELECT {columns} FROM {table}")
    for table, columns in (("zart_executions", "payload result reason"), ("zart_steps", "payload"), ("zart_mail", "payload")):
        for column in columns.split():
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await run("reader", f"SELECT {column} FROM {table}")


async def test_every_column_is_open_to_the_reader_or_kept_from_it_on_purpose(postgres_server, schema):
    """A column that a migration adds must be given its place in the roles."""
    kept = {("zart_executions", name) for name in ("payload", "result", "reason", "start_key")}
    kept |= {("zart_steps", "payload"), ("zart_mail", "payload")}
    connection = await asyncpg.connect(postgres_server.dsn)
    try:
        rows = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1"
            " AND NOT has_column_privilege('zart_reader', format('%I.%I', table_schema, table_name), column_name, 'SELECT')",
            schema,
        )
    finally:
        await connection.close()
    assert {tuple(row) for row in rows} == kept


WRITES = [
    "INSERT INTO zart_schema VALUES (99, 'x', 0)",
    "INSERT INTO zart_workers VALUES ('w', 'alive', 0, 0, false, 0, NULL, '[]', '[]', '')",
    "UPDATE zart_executions SET status = 'failed'",
    "DELETE FROM zart_mail",
    "SELECT nextval('zart_keys')",
    "SELECT FROM zart_executions FOR SHARE",
]


@pytest.mark.parametrize("role", ["reader", "inspector"])
@pytest.mark.parametrize("sql", WRITES)
async def test_who_reads_cannot_write(run, role, sql):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(role, sql)


HISTORY = [
    "UPDATE zart_steps SET payload = ''",
    "DELETE FROM zart_steps",
    "UPDATE zart_mail SET payload = ''",
    "DELETE FROM zart_mail",
    "UPDATE zart_executions SET payload = ''",
    "UPDATE zart_executions SET id = 'other'",
    "UPDATE zart_executions SET task = 'other'",
    "DELETE FROM zart_executions",
    "UPDATE zart_schema SET version = 0",
    "TRUNCATE zart_executions",
    "SELECT setval('zart_keys', 1)",
]


@pytest.mark.parametrize("role", ["worker", "client"])
@pytest.mark.parametrize("sql", HISTORY)
async def test_nobody_rewrites_history(run, role, sql):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(role, sql)


DDL = [
    "DROP TABLE zart_mail",
    "ALTER TABLE zart_executions ADD COLUMN c integer",
    "CREATE TABLE mine (c integer)",
    "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON zart_executions (task)",
    "CREATE SCHEMA other",
    "ALTER SEQUENCE zart_keys RESTART",
    "CREATE TRIGGER t BEFORE INSERT ON zart_steps EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "SELECT * FROM elsewhere.accounts",
    "SET ROLE zart_owner",
    "ALTER ROLE zart_worker SUPERUSER",
]


@pytest.mark.parametrize("role", [role for role in ROLES if role != "owner"])
async def test_nobody_but_the_owner_changes_the_schema_and_nobody_sees_others(postgres_server, run, role):
    connection = await asyncpg.connect(postgres_server.dsn)
    try:
        await connection.execute(
            "CREATE SCHEMA IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.accounts (c integer)"
        )
    finally:
        await connection.close()
    for sql in DDL:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(role, sql)
    # A grant of what one may not pass on is no error, and does nothing.
    with suppress(asyncpg.InsufficientPrivilegeError):  # of who has no right at all
        await run(role, "GRANT SELECT, UPDATE, DELETE ON zart_executions, zart_steps TO zart_reader")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run("reader", "SELECT payload FROM zart_steps")


async def test_the_owner_migrates_and_new_tables_are_its_own(postgres_server, schema, run, scheduler):
    await scheduler("owner").migrate()
    await run("owner", "SET ROLE zart_owner")
    url = f"{dsn_of(postgres_server, 'owner')}?options=-c%20role%3Dzart_owner"
    await PostgresScheduler(url, schema=schema, prefix="second_").migrate()
    rows = await run("owner", f"SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = '{schema}'")
    assert [row[0] for row in rows] == ["zart_owner"]


async def test_no_other_prefix_is_touched(postgres_server, schema, run):
    await PostgresScheduler(postgres_server.dsn, schema=schema, prefix="other_").migrate()
    for role in ROLES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(role, "SELECT id FROM other_executions")


async def test_granting_again_changes_nothing_and_takes_back_what_was_granted_by_hand(postgres_server, schema, run):
    rights = f"SELECT relname, relacl::text FROM pg_class WHERE relnamespace = '{schema}'::regnamespace ORDER BY 1"
    columns = (
        "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        f" WHERE relnamespace = '{schema}'::regnamespace AND attacl IS NOT NULL ORDER BY 1, 2"
    )
    before = [await run("owner", sql) for sql in (rights, columns)]
    connection = await asyncpg.connect(postgres_server.dsn, server_settings={"search_path": schema})
    try:
        await connection.execute("GRANT ALL ON zart_executions TO zart_worker, PUBLIC")
        await connection.execute(SCRIPT)
    finally:
        await connection.close()
    assert [await run("owner", sql) for sql in (rights, columns)] == before


def test_every_table_has_its_roles():
    for table in metadata.tables:
        assert f"ALTER TABLE {table} OWNER TO zart_owner;" in SCRIPT
