"""The PostgreSQL schema: made once, by whoever comes first, and never taken for another."""

import asyncpg
import pytest

from zart.records import SUSPECT
from zart.schedulers.postgres import PostgresScheduler
from zart.schedulers.sql.migrate import Migration, migrations
from zart.schedulers.sql.tables import metadata
from zart.testing.contract.scene import new

LATEST = migrations("postgres")[-1].version


async def ask(place, sql, *arguments):
    async with place.session() as session:
        return [tuple(row) for row in await session.fetch(sql, *arguments)]


async def test_a_migration_that_fails_leaves_nothing_behind(place, monkeypatch):
    bad = Migration(LATEST + 1, "0002_bad.sql", "CREATE TABLE zart_more (c integer);\nnonsense;\n")
    monkeypatch.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: (*migrations(dialect), bad))
    with pytest.raises(asyncpg.PostgresSyntaxError, match="nonsense"):
        await place.scheduler().migrate()
    assert await ask(place, "SELECT nspname FROM pg_namespace WHERE nspname = $1", place.schema) == []


async def test_a_migration_waits_its_turn_but_not_for_ever(place, monkeypatch):
    monkeypatch.setattr("zart.schedulers.postgres.schema._LOCK_TIMEOUT", "20ms")
    scheduler = place.scheduler()
    async with place.session() as session, session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", scheduler._schema.names.channel)
        with pytest.raises(Exception, match="cannot be migrated while somebody"):
            await scheduler.migrate()
    await scheduler.migrate()


@pytest.mark.parametrize("name", ["", "a b", "a;b", 'a"b', "A", "1a", "é", "x" * 64, "a.b"])
@pytest.mark.parametrize("option", ["schema", "prefix"])
def test_names_that_are_no_plain_identifiers_are_refused(option, name):
    with pytest.raises(ValueError, match=f"{option} must have 1 to"):
        PostgresScheduler("postgresql://localhost/x", **{option: name})


async def test_the_longest_prefix_still_gives_every_index_a_name_of_its_own(place):
    longest = "x" * 40
    await place.scheduler(prefix=longest).migrate()
    found = [name for (name,) in await ask(place, "SELECT indexname FROM pg_indexes WHERE schemaname = $1", place.schema)]
    assert f"{longest}executions_due_suspects" in found
    with pytest.raises(ValueError, match="1 to 40"):
        place.scheduler(prefix=longest + "x")


async def test_the_columns_of_the_tables_are_those_of_the_migrations(place):
    await place.scheduler().migrate()
    sql = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1"
    found = {}
    for table, column in await ask(place, sql, place.schema):
        found.setdefault(table, set()).add(column)
    del found["zart_schema"]
    expected = {table.name: {column.name for column in table.columns} for table in metadata.sorted_tables}
    expected["zart_workers"] -= {"news"}  # how SQLite tells other processes; here they are notified
    assert found == expected


async def test_the_indexes_part_suspects_where_the_records_do(place):
    await place.scheduler().migrate()
    sql = "SELECT indexdef FROM pg_indexes WHERE schemaname = $1 AND indexdef LIKE '%crashes%'"
    conditions = {text.rpartition("(crashes ")[2].rstrip(")") for (text,) in await ask(place, sql, place.schema)}
    assert conditions == {f"< {SUSPECT}", f">= {SUSPECT}"}


async def test_a_key_is_never_used_twice_not_even_after_its_run_was_deleted(place):
    async with place.open() as scheduler:
        await scheduler.start([new("a"), new("b")])
        await ask(place, "DELETE FROM zart_executions WHERE id = 'b'")
        await scheduler.start([new("c")])
    assert await ask(place, "SELECT id, key FROM zart_executions ORDER BY key") == [("a", 1), ("c", 3)]


@pytest.mark.parametrize("pooler", [False, True])
async def test_what_is_acknowledged_is_on_the_disk_whatever_the_database_is_set_to(place, pooler):
    await ask(place, "ALTER ROLE zart SET synchronous_commit TO off")
    try:
        async with place.open(pooler=pooler) as scheduler:
            found = await scheduler._connections.run(lambda talk: talk.connection.fetchval("SHOW synchronous_commit"))
    finally:
        await ask(place, "ALTER ROLE zart RESET synchronous_commit")
    assert found == "on"


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
async def test_the_database_itself_refuses_what_cannot_be(place, change):
    async with place.open() as scheduler:
        await scheduler.start([new()])
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await ask(place, f"UPDATE zart_executions SET {change}")
