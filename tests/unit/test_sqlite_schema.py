"""The SQLite schema: made once, by whoever comes first, and never taken for another."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from zart.errors import SchemaMismatch, StorageUnavailable
from zart.records import SUSPECT
from zart.schedulers import connect
from zart.schedulers.sql.migrate import migrations
from zart.schedulers.sql.tables import metadata
from zart.schedulers.sqlite import SqliteScheduler
from zart.testing.contract.scene import demand, new, register

LATEST = migrations("sqlite")[-1].version


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zart.db"


def ask(path, sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


async def test_until_it_is_migrated_every_operation_says_what_to_do(path):
    async with SqliteScheduler(path) as scheduler:
        for call in (scheduler.start([new()]), scheduler.cancel(["a"]), scheduler.get("a"), scheduler.history("a")):
            needs = f"has no Zart tables, this Zart needs version {LATEST}; run `zart migrate`"
            with pytest.raises(SchemaMismatch, match=needs):
                await call
        await scheduler.migrate()
        assert (await scheduler.start([new()]))[0].accepted


async def test_it_may_be_migrated_before_it_is_entered_and_again(path):
    scheduler = SqliteScheduler(path)
    await scheduler.migrate()
    async with scheduler:
        await scheduler.start([new()])
        await scheduler.migrate()
    await scheduler.migrate()
    async with scheduler:
        assert await scheduler.get("a") is not None
    assert ask(path, "SELECT version, name FROM zart_schema") == [(each.version, each.name) for each in migrations("sqlite")]


async def test_one_that_somebody_else_migrated_works_after_entering_it_again(path):
    scheduler = SqliteScheduler(path)
    async with scheduler:
        await SqliteScheduler(path).migrate()
    async with scheduler:
        assert (await scheduler.start([new()]))[0].accepted


async def test_several_at_once_migrate_it_once(path):
    schedulers = [SqliteScheduler(path) for _ in range(10)]
    await asyncio.gather(*(each.migrate() for each in schedulers))
    assert len(ask(path, "SELECT * FROM zart_schema")) == len(migrations("sqlite"))


async def test_several_at_once_connect_to_a_fresh_file(path):
    async def use(number):
        async with connect(f"sqlite:///{path}") as scheduler:
            (answer,) = await scheduler.start([new(f"x{number}")])
            return answer.accepted

    assert all(await asyncio.gather(*(use(number) for number in range(10))))


async def test_connect_leaves_a_database_of_somebody_elses_alone_until_it_is_migrated(path):
    ask(path, "CREATE TABLE theirs AS SELECT 'precious' AS c")
    mode = ask(path, "PRAGMA journal_mode")
    async with connect(f"sqlite:///{path}") as scheduler:
        with pytest.raises(SchemaMismatch, match="has no Zart tables"):
            await scheduler.start([new()])
        assert ask(path, "SELECT name FROM sqlite_schema") == [("theirs",)]
        assert ask(path, "PRAGMA journal_mode") == mode
        await scheduler.migrate()
        await scheduler.start([new()])
    assert ask(path, "SELECT c FROM theirs") == [("precious",)]


async def test_a_newer_database_is_refused_with_both_versions(path):
    await SqliteScheduler(path).migrate()
    ask(path, f"INSERT INTO zart_schema VALUES ({LATEST + 1}, 'from the future', 0)")
    message = rf"zart\.db' has schema version {LATEST + 1}, but this Zart knows versions up to {LATEST}; install"
    with pytest.raises(SchemaMismatch, match=message):
        async with SqliteScheduler(path):
            pass
    with pytest.raises(SchemaMismatch, match=message):
        await SqliteScheduler(path).migrate()


async def test_an_older_database_is_refused_until_it_is_migrated(path, monkeypatch):
    await SqliteScheduler(path).migrate()
    later = type(migrations("sqlite")[0])(LATEST + 1, "0002_more.sql", "CREATE TABLE zart_more (c INTEGER);\n")
    monkeypatch.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: (*migrations(dialect), later))
    async with SqliteScheduler(path) as scheduler:
        with pytest.raises(SchemaMismatch, match=f"has schema version {LATEST}, this Zart needs version {LATEST + 1}"):
            await scheduler.start([new()])
        await scheduler.migrate()
        await scheduler.start([new()])
    assert ask(path, "SELECT max(version) FROM zart_schema") == [(LATEST + 1,)]


async def test_a_migration_that_fails_leaves_nothing_behind(path, monkeypatch):
    bad = type(migrations("sqlite")[0])(LATEST + 1, "0002_bad.sql", "CREATE TABLE zart_more (c INTEGER);\nnonsense;\n")
    monkeypatch.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: (*migrations(dialect), bad))
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        await SqliteScheduler(path).migrate()
    assert ask(path, "SELECT name FROM sqlite_schema") == []


BEFORE_TRACES = """
INSERT INTO zart_executions
    (id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, payload, crashed_workers)
VALUES ('a', 1, 1, 'pending', 0, 0, 0, 0, 'default', 't', 'key', 'input', '[]')
"""


async def test_what_was_started_before_traces_were_kept_has_none(path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: migrations(dialect)[:2])
        await SqliteScheduler(path).migrate()
    ask(path, BEFORE_TRACES)
    async with SqliteScheduler(path) as scheduler:
        await scheduler.migrate()
        await register(scheduler)
        await scheduler.start([new("b", trace="kept")])
        assert {each.token.execution_id: each.trace for each in await scheduler.claim(demand())} == {"a": None, "b": "kept"}


async def test_a_table_in_the_way_is_told(path):
    ask(path, "CREATE TABLE zart_steps (c)")
    with pytest.raises(SchemaMismatch, match="zart_steps already exists"):
        await SqliteScheduler(path).migrate()
    assert ask(path, "SELECT name FROM sqlite_schema") == [("zart_steps",)]


async def test_a_lock_that_is_never_released_is_told(path, monkeypatch):
    await SqliteScheduler(path).migrate()
    scheduler = SqliteScheduler(path)
    object.__setattr__(scheduler._database, "busy_timeout", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with scheduler:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="is locked by another transaction"):
                await scheduler.start([new()])
            other.execute("ROLLBACK")
            assert (await scheduler.start([new()]))[0].accepted


async def test_the_columns_of_the_tables_are_those_of_the_migrations(path):
    await SqliteScheduler(path).migrate()
    found = {
        name: [column for _, column, *_ in ask(path, f"PRAGMA table_info({name})")]
        for (name,) in ask(path, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'zart_%'")
    }
    del found["zart_schema"]
    assert found == {table.name: [column.name for column in table.columns] for table in metadata.sorted_tables}


async def test_the_indexes_part_suspects_where_the_records_do(path):
    await SqliteScheduler(path).migrate()
    conditions = {
        sql.rpartition("crashes ")[2] for (sql,) in ask(path, "SELECT sql FROM sqlite_schema WHERE sql LIKE '%crashes %2'")
    }
    assert conditions == {f"< {SUSPECT}", f">= {SUSPECT}"}


async def test_a_key_is_never_used_twice_not_even_after_its_run_was_deleted(path):
    async with connect(f"sqlite:///{path}") as scheduler:
        await scheduler.start([new("a"), new("b")])
        ask(path, "DELETE FROM zart_executions WHERE id = 'b'")
        await scheduler.start([new("c")])
    assert ask(path, "SELECT id, key FROM zart_executions ORDER BY key") == [("a", 1), ("c", 3)]


async def test_what_is_acknowledged_is_on_the_disk(path):
    async with connect(f"sqlite:///{path}") as scheduler:
        pragmas = ("synchronous", "foreign_keys", "journal_mode")
        found = await scheduler._writer.call(lambda each: [each.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas])
    assert found == [2, 1, "wal"]


@pytest.mark.parametrize(
    "change",
    [
        "status = 'lost'",
        "current = 2",
        "run = 0",
        "worker = 'w'",
        "status = 'running', due_at = NULL",
        "status = 'completed'",
        "start_key = NULL",
    ],
)
async def test_the_database_itself_refuses_what_cannot_be(path, change):
    async with connect(f"sqlite:///{path}") as scheduler:
        await scheduler.start([new()])
    with pytest.raises(sqlite3.IntegrityError):
        ask(path, f"UPDATE zart_executions SET {change}")
