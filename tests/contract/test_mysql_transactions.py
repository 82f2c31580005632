"""Transactions that users' writes are part of, where MySQL is not like the others."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.grounds import MySqlProxy
from zart.errors import NonRetryable, StorageUnavailable
from zart.records import Commit, Fate
from zart.testing.contract.scene import history, new, outcome, read, running

pytestmark = pytest.mark.parametrize("mysql_place", ["mariadb_server", "mysql_server"], indirect=True)

SOON = timedelta(seconds=5)


@pytest.fixture
async def scheduler(mysql_place):
    async with mysql_place.open() as scheduler, mysql_place.session() as session:
        await session.ask("CREATE TABLE zart_mine (n INT)")
        yield scheduler


@pytest.fixture
def mine(mysql_place):
    return f"`{mysql_place.prefix}mine`"


async def rows(mysql_place):
    async with mysql_place.session() as session:
        return [row[0] for row in await session.ask("SELECT n FROM zart_mine ORDER BY n")]


async def within(scheduler, work, limit=SOON):
    async with scheduler.transaction(limit) as (connection, bound):
        await work(connection, bound)


async def test_what_is_said_in_one_counts_with_its_writes(scheduler, mysql_place, mine):
    (claimed,) = await running(scheduler, "a")
    async with scheduler.transaction(SOON) as (connection, bound):
        await connection.execute(text(f"INSERT INTO {mine} VALUES (1)"))
        (answer,) = await bound.commit([Commit(claimed.token, [outcome(1)], 0)])
        await bound.start([new("b")])
        assert answer.fate is Fate.APPLIED
        assert await scheduler.get("b") is None
    assert (await rows(mysql_place), await history(scheduler)) == ([1], [outcome(1)])
    assert (await read(scheduler, "b")).run == 1

    async def fails(connection, bound):
        await connection.execute(text(f"INSERT INTO {mine} VALUES (2)"))
        await bound.commit([Commit(claimed.token, [outcome(2)], 0)])
        raise LookupError

    with pytest.raises(LookupError):
        await within(scheduler, fails)
    assert (await rows(mysql_place), await history(scheduler)) == ([1], [outcome(1)])


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_change_of_a_table_ends_it_and_is_found_out(scheduler, mysql_place, mine, goes_on):
    (claimed,) = await running(scheduler, "a")

    async def work(connection, bound):
        await connection.execute(text(f"INSERT INTO {mine} VALUES (1)"))
        await connection.execute(text(f"CREATE TABLE {mine[:-1]}_more` (n INT)"))
        if goes_on:
            await connection.execute(text(f"INSERT INTO {mine} VALUES (2)"))
        await bound.commit([Commit(claimed.token, [outcome(1)], 0)])

    with pytest.raises(NonRetryable, match="ended the transaction"):
        await within(scheduler, work)
    assert (await rows(mysql_place), await history(scheduler)) == ([1], []), "what comes after it does not count"


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK", "START TRANSACTION"])
async def test_whoever_ends_it_by_himself_is_found_out(scheduler, mysql_place, mine, how):
    async def work(connection, _):
        await connection.execute(text(how))
        await connection.execute(text(f"INSERT INTO {mine} VALUES (1)"))

    with pytest.raises(NonRetryable, match="ended the transaction"):
        await within(scheduler, work)
    assert await rows(mysql_place) == []


async def test_a_deadlock_that_is_passed_over_leaves_nothing(scheduler, mysql_place, mine):
    async with mysql_place.session() as other:
        await other.ask("INSERT INTO zart_mine VALUES (8), (9)", "CREATE UNIQUE INDEX n ON zart_mine (n)")
        await other.ask("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION")
        await other.ask("INSERT INTO zart_mine VALUES (20), (21), (22), (23), (24), (25)")  # so that it is not the victim
        await other.ask("DELETE FROM zart_mine WHERE n = 9")

        async def work(connection, _):
            await connection.execute(text(f"DELETE FROM {mine} WHERE n = 8"))
            delete = asyncio.create_task(other.ask("DELETE FROM zart_mine WHERE n = 8"))
            with pytest.raises(OperationalError, match="Deadlock"):
                await connection.execute(text(f"DELETE FROM {mine} WHERE n = 9"))
            await delete
            await connection.execute(text(f"INSERT INTO {mine} VALUES (1)"))

        with pytest.raises(NonRetryable, match="and began another"):
            await within(scheduler, work)
        await other.ask("ROLLBACK")
    assert await rows(mysql_place) == [8, 9]


async def test_one_that_idles_is_ended_by_the_server_and_told_from_an_outage(scheduler, mysql_place, mine):
    async def work(connection, bound):
        await connection.execute(text(f"INSERT INTO {mine} VALUES (1)"))
        async with mysql_place.session() as watch:
            await watch.ask("SELECT SLEEP(2)")
        await bound.start([new("b")])

    with pytest.raises(TimeoutError, match="idle for longer than 1 s"):
        await within(scheduler, work, timedelta(seconds=1))
    assert (await rows(mysql_place), await scheduler.get("b")) == ([], None)


async def test_a_commit_that_was_not_answered_counts_and_nobody_knows(scheduler, mysql_place):
    (claimed,) = await running(scheduler, "a")
    async with MySqlProxy(mysql_place.server.port) as proxy, mysql_place.scheduler(url=proxy.dsn) as far:

        async def work(_, bound):
            await bound.commit([Commit(claimed.token, [outcome(1)], 0)])
            proxy.lose_next_reply()

        with pytest.raises(StorageUnavailable):
            await within(far, work)
        assert proxy.lost == 1
    assert await history(scheduler) == [outcome(1)]


async def test_another_database_and_a_connection_that_commits_by_itself_are_refused(scheduler, mysql_place):
    async with mysql_place.session() as session:
        with pytest.raises(ValueError, match="in no transaction, and commits each statement by itself"):
            await scheduler.bind(session.connection).start([new()])
        await session.ask("START TRANSACTION")
        await scheduler.bind(session.connection).start([new()])
        await session.ask("COMMIT", "CREATE DATABASE IF NOT EXISTS another")
        assert (await read(scheduler)).run == 1
    engine = create_async_engine(mysql_place.server.url.replace("mysql:", "mysql+asyncmy:").replace("/zart", "/another"))
    async with engine.connect() as connection:
        with pytest.raises(TypeError, match=r"the connection is to .*'another'.* and Zart's data is in .*'zart'"):
            await scheduler.bind(connection).start([new("b")])
    await engine.dispose()
    with pytest.raises(TypeError, match="AsyncConnection or AsyncSession, or an asyncmy connection"):
        scheduler.bind("mysql://x/y")
