"""The MySQL schema: made once, by whoever comes first, and never taken for another."""

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


async def test_a_migration_waits_its_turn_but_not_for_ever(mysql_place):
    scheduler = mysql_place.scheduler(timeout=3)
    lock = scheduler._schema.names.lock("zart")
    async with mysql_place.session() as session:
        assert await session.ask(f"SELECT GET_LOCK('{lock}', 0)") == [(1,)]
        with pytest.raises(StorageUnavailable, match="is being migrated by somebody else; try again"):
            await scheduler.migrate()
    await mysql_place.scheduler().migrate()


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
