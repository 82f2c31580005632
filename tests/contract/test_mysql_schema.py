"""The MySQL schema: made once, by whoever comes first, and never taken for another."""

import asyncio

import pytest
from asyncmy.errors import ProgrammingError

from zart.errors import SchemaMismatch, StorageUnavailable
from zart.schedulers.mysql.queries import Names
from zart.schedulers.sql.migrate import Migration, migrations
from zart.schedulers.sql.tables import metadata
from zart.testing.contract.scene import new

pytestmark = pytest.mark.parametrize("mysql_place", ["mariadb_server", "mysql_server"], indirect=True)

LATEST = migrations("mysql")[-1].version


async def ask(place, *statements):
    async with place.session() as session:
        return [tuple(row) for row in await session.ask(*statements)]


async def test_until_it_is_migrated_every_operation_says_what_to_do(mysql_place):
    async with mysql_place.scheduler() as scheduler:
        for call in (scheduler.start([new()]), scheduler.cancel(["a"]), scheduler.get("a"), scheduler.history("a")):
            needs = f"has no Zart tables, this Zart needs version {LATEST}; run `zart migrate`"
            with pytest.raises(SchemaMismatch, match=needs):
                await call
        await scheduler.migrate()
        assert (await scheduler.start([new()]))[0].accepted


async def test_it_may_be_migrated_before_it_is_entered_and_again(mysql_place):
    scheduler = mysql_place.scheduler()
    assert await scheduler.schema_version() == 0
    await scheduler.migrate()
    async with scheduler:
        await scheduler.start([new()])
        await scheduler.migrate()
        assert await scheduler.schema_version() == LATEST
    async with scheduler:
        assert await scheduler.get("a") is not None
    expected = [(each.version, each.name) for each in migrations("mysql")]
    assert await ask(mysql_place, "SELECT version, name FROM zart_schema") == expected


async def test_ten_at_once_migrate_it_once(mysql_place):
    await asyncio.gather(*(mysql_place.scheduler().migrate() for _ in range(10)))
    assert len(await ask(mysql_place, "SELECT * FROM zart_schema")) == len(migrations("mysql"))


async def test_a_newer_database_is_refused_with_both_versions(mysql_place):
    await mysql_place.scheduler().migrate()
    await ask(mysql_place, f"INSERT INTO zart_schema VALUES ({LATEST + 1}, 'from the future', 0)")
    message = rf"has schema version {LATEST + 1}, but this Zart knows versions up to {LATEST}; install"
    with pytest.raises(SchemaMismatch, match=message):
        async with mysql_place.scheduler():
            pass
    with pytest.raises(SchemaMismatch, match=message):
        await mysql_place.scheduler().migrate()


async def test_an_older_database_is_refused_until_it_is_migrated(mysql_place, monkeypatch):
    await mysql_place.scheduler().migrate()
    later = Migration(LATEST + 1, "0002_more.sql", "-- More.\nCREATE TABLE zart_more (c INT);\n")
    monkeypatch.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: (*migrations(dialect), later))
    async with mysql_place.scheduler() as scheduler:
        with pytest.raises(SchemaMismatch, match=f"has schema version {LATEST}, this Zart needs version {LATEST + 1}"):
            await scheduler.start([new()])
        await scheduler.migrate()
        await scheduler.start([new()])
    assert await ask(mysql_place, "SELECT MAX(version) FROM zart_schema") == [(LATEST + 1,)]


@pytest.mark.parametrize("made", range(1, 7))
async def test_a_first_migration_that_was_broken_off_anywhere_goes_on_where_it_was(mysql_place, monkeypatch, made):
    first = migrations("mysql")[0]
    broken = Migration(first.version, first.name, "".join(first.statements()[:made]) + "nonsense;\n")
    with monkeypatch.context() as patched:
        patched.setattr("zart.schedulers.sql.migrate.migrations", lambda _: (broken,))
        with pytest.raises(ProgrammingError, match="nonsense"):
            await mysql_place.scheduler().migrate()
    async with mysql_place.scheduler() as scheduler:
        with pytest.raises(SchemaMismatch, match="has no Zart tables"):
            await scheduler.start([new()])
        await scheduler.migrate()
        assert (await scheduler.start([new()]))[0].accepted


async def test_a_table_in_the_way_is_told(mysql_place):
    await ask(mysql_place, "CREATE TABLE zart_steps (c INT)")
    with pytest.raises(SchemaMismatch, match=rf"it has {mysql_place.prefix}steps of its own; rename what is in the way"):
        await mysql_place.scheduler().migrate()


async def test_what_migrate_would_do_can_be_done_by_hand(mysql_place):
    scheduler = mysql_place.scheduler()
    script = await scheduler.migration_script()
    async with mysql_place.session() as session:
        await session.ask(script)
    assert await scheduler.migration_script() == ""
    async with scheduler:
        assert (await scheduler.start([new()]))[0].accepted


async def test_a_migration_waits_its_turn_but_not_for_ever(mysql_place):
    scheduler = mysql_place.scheduler(timeout=3)
    lock = scheduler._schema.names.lock("zart")
    async with mysql_place.session() as session:
        assert await session.ask(f"SELECT GET_LOCK('{lock}', 0)") == [(1,)]
        with pytest.raises(StorageUnavailable, match="is being migrated by somebody else; try again"):
            await scheduler.migrate()
    await mysql_place.scheduler().migrate()


async def test_a_prefix_keeps_two_apart(mysql_place):
    plain, other = mysql_place.scheduler(), mysql_place.scheduler(prefix=f"{mysql_place.prefix}orders_")
    for scheduler in (plain, other):
        await scheduler.migrate()
    async with plain, other:
        await plain.start([new(payload="plain")])
        assert await other.get("a") is None
        await other.start([new(payload="other")])
        assert [(await each.get("a")).payload for each in (plain, other)] == ["plain", "other"]


async def test_the_longest_prefix_fits(mysql_place):
    longest = 64 - len("executions_chk_6")
    await mysql_place.scheduler(prefix=mysql_place.prefix.ljust(longest, "_")).migrate()
    with pytest.raises(ValueError, match="prefix must have 1 to 48"):
        mysql_place.scheduler(prefix="x" * (longest + 1))


async def test_the_columns_are_those_that_sqlalchemy_is_told(mysql_place):
    await mysql_place.scheduler().migrate()
    for table in metadata.tables.values():
        sql = f"SHOW COLUMNS FROM {Names(mysql_place.prefix).apply(table.name)}"
        found = {row[0] for row in await ask(mysql_place, sql)}
        wanted = {column.name for column in table.columns}
        if table.name == "zart_executions":
            found.remove("suspect")  # only here: an index without a condition parts by it
        missing = wanted - found
        assert not missing
        assert found <= wanted


async def test_a_table_that_is_gone_is_told(mysql_place):
    async with mysql_place.open() as scheduler:
        await ask(mysql_place, "DROP TABLE zart_mail")
        await scheduler.start([new()])
        with pytest.raises(SchemaMismatch, match="has not the schema that it says it has"):
            await scheduler.history("a")
