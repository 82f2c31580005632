"""Connections to MariaDB come and go; what was asked is answered, or refused in time."""

import asyncio
import gc
from contextlib import suppress
from datetime import timedelta

import pytest
from asyncmy.errors import OperationalError

from tests.servers.mariadb import MariaDbServer
from tests.servers.proxy import Proxy
from zart.clock import SystemClock
from zart.errors import NotSupported, StorageUnavailable
from zart.records import Commit, Delivery, Fate, Held, Query
from zart.schedulers import connect
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.mysql.connections import Server
from zart.spawner import ThreadSpawner
from zart.status import ExecutionStatus
from zart.testing.contract.scene import (
    beat,
    claim,
    commit,
    completed,
    demand,
    event,
    history,
    new,
    now,
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


class MySqlProxy(Proxy):
    """Loses the reply to what commits."""

    _commits = False

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"mysql://root@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/zart"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self._commits = self._lose > 0 and b"COMMIT" in data
            writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.silent:
                continue
            if self._commits:
                self._commits = False
                self._lose -= 1
                self.lost += 1
                return
            writer.write(data)


async def kill_all(session):
    for (each,) in await session.ask(OTHERS):
        with suppress(OperationalError):  # it has gone by itself
            await session.ask(f"KILL {each}")


async def test_every_connection_may_be_ended_between_two_calls(mysql_place):
    async with mysql_place.open() as scheduler, mysql_place.session() as admin:
        (claimed,) = await running(scheduler, "a")
        for seq in range(5):
            await kill_all(admin)
            assert (await commit(scheduler, claimed, outcome(seq))).fate is Fate.APPLIED
            assert (await read(scheduler)).status is ExecutionStatus.RUNNING
        assert len(await history(scheduler)) == 5


async def test_every_connection_may_be_ended_at_any_moment(mysql_place):
    async with mysql_place.open() as scheduler, mysql_place.session() as admin:
        ids = [f"x{number}" for number in range(20)]
        claims = await running(scheduler, *ids)

        async def say(seq):
            while True:
                try:
                    answers = await scheduler.commit([Commit(each.token, [outcome(seq)], 0) for each in claims])
                except StorageUnavailable:
                    continue
                if {each.fate for each in answers} == {Fate.APPLIED}:
                    return

        for number in range(10):
            saying = [asyncio.create_task(say(3 * number + each)) for each in range(3)]
            while not all(each.done() for each in saying):
                await kill_all(admin)
                await asyncio.wait(saying, timeout=0.005)
            await asyncio.gather(*saying)
        for each in ids:
            assert [step.seq for step in await history(scheduler, each)] == list(range(30))


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


@pytest.mark.parametrize("with_move", [False, True])
async def test_a_commit_whose_reply_is_lost_is_said_again_and_counts_once(mysql_place, with_move):
    async with MySqlProxy(mysql_place.server.port) as proxy, mysql_place.open(url=proxy.url) as scheduler:
        (claimed,) = await running(scheduler, "a")
        move = completed() if with_move else None
        await commit(scheduler, claimed, outcome(0))
        proxy.lose_next_reply()
        answer = await commit(scheduler, claimed, outcome(1), outcome(2), move=move)
        assert (answer.fate, proxy.lost) == (Fate.APPLIED, 1)
        assert await history(scheduler) == [outcome(0), outcome(1), outcome(2)]


async def test_other_operations_whose_reply_is_lost_answer_as_if_it_were_not(mysql_place):
    async with MySqlProxy(mysql_place.server.port) as proxy, mysql_place.open(url=proxy.url) as scheduler:
        await register(scheduler)
        proxy.lose_next_reply()
        assert [each.accepted for each in await scheduler.start([new("a"), new("b")])] == [True, True]
        proxy.lose_next_reply()
        assert await scheduler.deliver([event("a")]) in ([Delivery.RECORDED], [Delivery.DUPLICATE])
        proxy.lose_next_reply()
        assert (await scheduler.cancel(["b"]))["b"][0] is ExecutionStatus.CANCELLED
        proxy.lose_next_reply()
        assert (await scheduler.beat(beat())).alive
        assert proxy.lost == 4
        assert (await read(scheduler)).mail == 1


async def test_a_claim_whose_reply_is_lost_is_handed_back_by_a_later_beat(mysql_place, clock):
    async with MySqlProxy(mysql_place.server.port) as proxy, mysql_place.open(url=proxy.url) as scheduler:
        await register(scheduler)
        await scheduler.start([new()])
        proxy.lose_next_reply()
        assert list(await scheduler.claim(demand())) == [], "said again, it finds the execution taken: by itself"
        clock.advance(1)
        await scheduler.beat(beat(held_at=now(clock)))
        again = await claim(scheduler)
        assert (again.token.fence, again.crashes) == (3, 0)
        clock.advance(1)
        await scheduler.beat(beat(held=[Held(again.token, 0)], held_at=now(clock)))
        assert (await read(scheduler)).worker == "w"


async def test_a_server_that_goes_silent_is_given_up_in_time(mysql_place):
    async with MySqlProxy(mysql_place.server.port) as proxy, mysql_place.open(url=proxy.url, timeout=0.3) as scheduler:
        await scheduler.start([new()])
        proxy.silent = True
        began = SystemClock.monotonic()
        with pytest.raises(StorageUnavailable, match="did not answer in time"):
            await scheduler.start([new("b")])
        assert SystemClock.monotonic() - began < 5
        proxy.silent = False
        assert (await scheduler.start([new("c")]))[0].accepted


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://zart:secret@127.0.0.1:1/x", "'127.0.0.1:1/x' cannot be reached: .*look at the server and the network"),
        ("mysql://root:secret@{place}/zart", "look at the user and the password"),
        ("mysql://root@{place}/nowhere", "name another one"),
        ("mysql://nobody@{place}/zart", "look at the user and the password"),
    ],
)
async def test_what_is_wrong_with_a_url_is_told_without_its_password(mysql_place, url, message):
    with pytest.raises(StorageUnavailable, match=message) as caught:
        async with connect(url.format(place=f"127.0.0.1:{mysql_place.server.port}")):
            pass
    assert "secret" not in str(caught.value)


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


async def test_calls_take_turns_over_few_connections(mysql_place):
    async with mysql_place.session() as admin:
        before = len(await admin.ask(OTHERS))
        async with mysql_place.open(pool_size=2) as scheduler:
            await asyncio.gather(*(scheduler.start([new(f"x{number}")]) for number in range(50)))
            assert len(await admin.ask(OTHERS)) - before <= 2
            assert sum((await scheduler.count(Query())).values()) == 50


async def test_a_call_that_is_given_up_leaves_its_turn_to_others(mysql_place):
    async with mysql_place.open(pool_size=1) as scheduler:
        calls = [asyncio.create_task(scheduler.start([new(f"x{number}")])) for number in range(10)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in answers] == [True, False] * 5


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


async def test_nothing_is_left_open(mysql_place):
    async with mysql_place.session() as admin:
        before = len(await admin.ask(OTHERS))
        async with mysql_place.open() as scheduler:
            await scheduler.start([new()])
            waiting = asyncio.create_task(scheduler.wait(["a"], HOUR))
            await admin.until(f"SELECT COUNT(*) > {before} FROM ({OTHERS}) AS others")
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await admin.until(f"SELECT COUNT(*) <= {before} FROM ({OTHERS}) AS others")
    with pytest.raises(StorageUnavailable, match="is not open; use it inside `async with`"):
        await scheduler.start([new()])


async def test_a_loop_that_ends_takes_its_connections_along(mysql_place):
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with mysql_place.open() as scheduler, mysql_place.session() as admin:
        await register(scheduler)
        before = len(await admin.ask(OTHERS))

        async def beating():
            await scheduler.beat(beat())
            loop.call_soon_threadsafe(done.set)

        ThreadSpawner().loop("beats", beating)
        await returns(done.wait())
        await admin.until(f"SELECT COUNT(*) <= {before} FROM ({OTHERS}) AS others")
        assert (await scheduler.beat(beat())).alive
    gc.collect()  # what was left open would be told now


async def test_it_goes_by_the_servers_clock_unless_told_whatever_its_time_zone(mysql_place):
    micros = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"
    async with mysql_place.session() as admin:
        await admin.ask("SET GLOBAL time_zone = '-07:00'")
        try:
            async with mysql_place.open(clock=None) as scheduler:
                before = (await admin.ask(micros))[0][0]
                (started,) = await scheduler.start([new()])
                reply = await scheduler.beat(beat(register=True))
                (claimed,) = await scheduler.claim(demand())
                await commit(scheduler, claimed, move=completed())
                execution = await read(scheduler)
                after = (await admin.ask(micros))[0][0]
        finally:
            await admin.ask("SET GLOBAL time_zone = 'SYSTEM'")
    times = [before, started.scheduled_at, reply.now, claimed.now, execution.completed_at, after]
    assert times == sorted(times)
    assert execution.served


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
