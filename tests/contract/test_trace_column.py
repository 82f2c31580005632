"""The column for traces on a server: what an older version has started goes on without one."""

import pytest

from tests.contract.grounds import ground
from zart.schedulers.sql.migrate import migrations
from zart.testing.contract.scene import demand, new, register

__all__ = ["ground"]

pytestmark = pytest.mark.parametrize("ground", ["postgres_server", "mariadb_server", "mysql_server"], indirect=True)

OLD = """
INSERT INTO zart_executions
    (id, run, current, status, fence, created_at, scheduled_at, due_at, queue, task, start_key, payload, crashed_workers)
VALUES ('a', 1, 1, 'pending', 0, 0, 0, 0, 'default', 't', 'key', 'input', '[]')
"""


async def before(ground, monkeypatch, *statements):
    """Leave the tables as they were before there was the column, and run statements."""
    with monkeypatch.context() as patched:
        patched.setattr("zart.schedulers.sql.migrate.migrations", lambda dialect: migrations(dialect)[:2])
        await ground.scheduler().migrate()
    async with ground.admin() as admin:
        await admin.ask(*statements)


async def migrated(ground):
    """Migrate, and return with which traces executions are claimed."""
    async with ground.scheduler() as scheduler:
        await scheduler.migrate()
        await register(scheduler)
        await scheduler.start([new("b", trace="kept")])
        return {each.token.execution_id: each.trace for each in await scheduler.claim(demand())}


async def test_what_was_started_before_has_none(ground, monkeypatch):
    await before(ground, monkeypatch, OLD)
    assert await migrated(ground) == {"a": None, "b": "kept"}


async def test_an_older_version_that_runs_on_may_start_after_the_migration(ground, monkeypatch):
    await before(ground, monkeypatch)
    await ground.scheduler().migrate()
    async with ground.admin() as admin:
        await admin.ask(OLD)
    assert await migrated(ground) == {"a": None, "b": "kept"}


async def test_a_migration_that_was_broken_off_after_the_column_goes_on(ground, monkeypatch):
    """MySQL commits the column by itself, and PostgreSQL rolls it back."""
    await before(ground, monkeypatch, OLD, "BEGIN", *migrations(ground.dialect)[2].statements(), "ROLLBACK")
    assert await migrated(ground) == {"a": None, "b": "kept"}
