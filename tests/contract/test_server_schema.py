"""The schema on a server, whichever: made once, by whoever comes first, and never taken for another."""

import asyncio

import pytest

from tests.contract.grounds import ground
from zart.errors import SchemaMismatch
from zart.schedulers.sql.migrate import Migration, migrations
from zart.testing.contract.scene import new

__all__ = ["ground"]

pytestmark = pytest.mark.parametrize("ground", ["postgres_server", "mariadb_server", "mysql_server"], indirect=True)


async def ask(ground, *statements):
    async with ground.admin() as admin:
        return await admin.ask(*statements)


@pytest.fixture
def latest(ground):
    return migrations(ground.dialect)[-1].version


async def test_until_it_is_migrated_every_operation_says_what_to_do(ground, latest):
    async with ground.scheduler() as scheduler:
        for call in (scheduler.start([new()]), scheduler.cancel(["a"]), scheduler.get("a"), scheduler.history("a")):
            needs = f"has no Zart tables, this Zart needs version {latest}; run `zart migrate`"
            with pytest.raises(SchemaMismatch, match=needs):
                await call
        await scheduler.migrate()
        assert (await scheduler.start([new()]))[0].accepted


async def test_it_may_be_migrated_before_it_is_entered_and_again(ground, latest):
    scheduler = ground.scheduler()
    assert await scheduler.schema_version() == 0
    await scheduler.migrate()
    async with scheduler:
        await scheduler.start([new()])
        await scheduler.migrate()
        assert await scheduler.schema_version() == latest
    async with scheduler:
        assert await scheduler.get("a") is not None
    expected = [(each.version, each.name) for each in migrations(ground.dialect)]
    assert await ask(ground, "SELECT version, name FROM zart_schema") == expected


async def test_ten_at_once_migrate_it_once(ground):
    await asyncio.gather(*(ground.scheduler().migrate() for _ in range(10)))
    assert len(await ask(ground, "SELECT * FROM zart_schema")) == len(migrations(ground.dialect))


async def test_a_newer_database_is_refused_with_both_versions(ground, latest):
    await ground.scheduler().migrate()
    await ask(ground, f"INSERT INTO zart_schema VALUES ({latest + 1}, 'from the future', 0)")
    message = rf"has schema version {latest + 1}, but this Zart knows versions up to {latest}; install"
    with pytest.raises(SchemaMismatch, match=message):
        async with ground.scheduler():
            pass
    with pytest.raises(SchemaMismatch, match=message):
        await ground.scheduler().migrate()


async def test_an_older_database_is_refused_until_it_is_migrated(ground, latest, monkeypatch):
    await ground.scheduler().migrate()
    later = Migration(latest + 1, "0002_more.sql", "-- More.\nCREATE TABLE zart_more (c integer);\n")
    monkeypatch.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: (*migrations(dialect), later))
    async with ground.scheduler() as scheduler:
        with pytest.raises(SchemaMismatch, match=f"has schema version {latest}, this Zart needs version {latest + 1}"):
            await scheduler.start([new()])
        await scheduler.migrate()
        await scheduler.start([new()])
    assert await ask(ground, "SELECT max(version) FROM zart_schema") == [(latest + 1,)]


async def test_a_table_in_the_way_is_told(ground):
    await ground.put_in_the_way()
    with pytest.raises(SchemaMismatch, match=ground.in_the_way):
        await ground.scheduler().migrate()


async def test_what_migrate_would_do_can_be_done_by_hand(ground):
    scheduler = ground.scheduler()
    await ground.run(await scheduler.migration_script())
    assert await scheduler.migration_script() == ""
    async with scheduler:
        assert (await scheduler.start([new()]))[0].accepted


async def test_a_prefix_keeps_two_apart(ground):
    plain, other = ground.scheduler(), ground.scheduler(prefix=ground.another_prefix())
    for scheduler in (plain, other):
        await scheduler.migrate()
    async with plain, other:
        await plain.start([new(payload="plain")])
        assert await other.get("a") is None
        await other.start([new(payload="other")])
        assert [(await each.get("a")).payload for each in (plain, other)] == ["plain", "other"]
