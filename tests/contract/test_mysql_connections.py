"""Connections to MariaDB come and go; what was asked is answered, or refused in time."""

import asyncio
from datetime import timedelta

import pytest

from tests.servers.mariadb import MariaDbServer
from zart.errors import NotSupported, StorageUnavailable
from zart.records import Fate
from zart.schedulers import connect
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.mysql.connections import Server
from zart.status import ExecutionStatus
from zart.testing.contract.scene import (
    commit,
    demand,
    event,
    history,
    new,
    outcome,
    read,
    register,
    returns,
    running,
)

HOUR = timedelta(hours=1)
BLOCKED = (
    "SELECT variable_value > 0 FROM information_schema.global_status WHERE variable_name = 'innodb_row_lock_current_waits'"
)
OTHERS = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"


async def test_a_server_that_is_killed_and_comes_back_has_all_that_was_answered(clock):
    with MariaDbServer(fsync=True) as server:
        async with MySqlScheduler(server.url, clock=clock) as scheduler:
            await scheduler.migrate()
            claims = await running(scheduler, *(f"x{number}" for number in range(10)))
            answered = set()

            async def say(each):
                for seq in range(1000):
                    try:
                        assert (await commit(scheduler, each, outcome(seq))).fate is Fate.APPLIED
                    except StorageUnavailable:
                        return
                    answered.add((each.token.execution_id, seq))

            saying = [asyncio.create_task(say(each)) for each in claims]
            while len(answered) < 50:
                await asyncio.sleep(0)
            await asyncio.to_thread(server.stop)
            await asyncio.gather(*saying)
            with pytest.raises(StorageUnavailable, match="cannot be reached"):
                await commit(scheduler, claims[0], outcome(2000))
            await asyncio.to_thread(server.start)
            found = {
                (each.token.execution_id, step.seq)
                for each in claims
                for step in await history(scheduler, each.token.execution_id)
            }
            assert answered <= found
            assert (await commit(scheduler, claims[0], outcome(2000))).fate is Fate.APPLIED


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("10.5.29-MariaDB-log", "is MariaDB 10.5.29-MariaDB-log, Zart needs 10.6 or later"),
        ("5.7.44", "is MySQL 5.7.44, Zart needs 8.0.1 or later"),
        ("8.0.0-dmr", "is MySQL 8.0.0-dmr, Zart needs 8.0.1"),
        ("10.6.0-MariaDB", None),
        ("8.0.1-dmr", None),
        ("9.7.0", None),
    ],
)
async def test_a_server_that_is_too_old_is_refused(mysql_place, monkeypatch, version, refused):
    look = "zart.schedulers.mysql.connections._LOOK"
    monkeypatch.setattr(look, f"SELECT '{version}', 16777216, 1, 1")
    if refused is None:
        async with mysql_place.scheduler() as scheduler:
            assert scheduler._server.is_mariadb is ("MariaDB" in version)
        return
    with pytest.raises(NotSupported, match=refused):
        async with mysql_place.scheduler():
            pass


async def test_a_call_that_is_given_up_half_way_leaves_nothing(mysql_place):
    async with mysql_place.open(pool_size=1) as scheduler, mysql_place.session() as other:
        await scheduler.start([new("a"), new("b")])
        await other.ask("START TRANSACTION", "SELECT * FROM zart_executions WHERE id = 'b' FOR UPDATE")
        call = asyncio.create_task(scheduler.cancel(["a", "b"]))
        await other.until(BLOCKED)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await other.ask("COMMIT")
        assert (await read(scheduler)).status is ExecutionStatus.PENDING
        assert (await scheduler.cancel(["a"]))["a"][1]


async def test_a_connection_that_was_silent_for_long_is_not_used_again(mysql_place):
    await mysql_place.scheduler().migrate()
    async with mysql_place.scheduler(timeout=0.5, pool_size=1) as scheduler, mysql_place.session() as admin:
        first = await admin.ask(OTHERS)
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(0.6, later.set_result, None)
        await later
        await scheduler.start([new()])
        assert await admin.ask(OTHERS) != first


async def test_what_another_process_does_is_found_by_looking(mysql_place):
    async with mysql_place.open(clock=None) as here, mysql_place.open(clock=None) as there:
        await register(here)
        assert list(await here.claim(demand())) == []
        work, end = (asyncio.create_task(here.wait(each, HOUR)) for each in (demand(), ["a", "b"]))
        await there.start([new("a")])
        await returns(asyncio.wait_for(work, None))
        (claimed,) = await here.claim(demand())
        mail = asyncio.create_task(here.wait(demand(limit=0), HOUR))
        await there.deliver([event("a")])
        await returns(asyncio.wait_for(mail, None))
        assert (await commit(here, claimed)).mail[0].seq == 1
        await there.cancel(["a"])
        await returns(asyncio.wait_for(end, None))


async def test_the_backlog_is_what_is_due(mysql_place, clock):
    async with mysql_place.open() as scheduler:
        assert (await scheduler.backlog()).due == 0
        await scheduler.start([new("a"), new("b", "other", queue="q"), new("c", delay=10**9)])
        clock.advance(2)
        backlog = await scheduler.backlog()
        assert (backlog.due, backlog.oldest) == (2, 2_000_000)


def test_a_server_is_named_without_its_password():
    scheduler = connect("mariadb+asyncmy://ann:s3cret@h:1/d?prefix=z_&pool_size=3&timeout=5s")
    assert repr(scheduler) == "<MySqlScheduler of the MySQL database 'h:1/d' (z_*)>"
    assert "s3cret" not in repr(Server(scheduler._server.address, 1.0))  # type: ignore[attr-defined] # it is one
