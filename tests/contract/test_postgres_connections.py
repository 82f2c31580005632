"""Connections to PostgreSQL come and go; what was asked is answered, or refused in time."""

import asyncio
from datetime import timedelta

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.present import newest_postgres
from zart.errors import NotSupported, SchedulerError, StorageUnavailable
from zart.records import Fate
from zart.schedulers.postgres import PostgresScheduler
from zart.schedulers.postgres.connections import Connections, Server
from zart.testing.contract.scene import (
    commit,
    event,
    history,
    new,
    outcome,
    running,
)

HOUR = timedelta(hours=1)
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'zart%'"


async def test_a_server_that_crashes_and_comes_back_has_all_that_was_answered(clock):
    with PostgresServer(newest_postgres(), fsync=True) as server:
        async with PostgresScheduler(server.dsn, clock=clock) as scheduler:
            await scheduler.migrate()
            (claimed,) = await running(scheduler, "a")
            await commit(scheduler, claimed, outcome(1))
            await asyncio.to_thread(server.stop)
            with pytest.raises(StorageUnavailable, match="cannot be reached"):
                await commit(scheduler, claimed, outcome(2))
            await asyncio.to_thread(server.start)
            assert (await commit(scheduler, claimed, outcome(2))).fate is Fate.APPLIED
            assert [step.seq for step in await history(scheduler)] == [1, 2]


async def test_a_database_in_another_encoding_is_refused(place):
    async with place.session() as admin:
        await admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(NotSupported, match="encoded in LATIN1, Zart needs UTF8"):
        async with PostgresScheduler(place.server.dsn.replace("/postgres", "/latin")):
            pass


async def test_only_postgres_urls_are_taken():
    for url in ("mysql://x/y", "localhost/x", "postgres"):
        with pytest.raises(ValueError, match="names no PostgreSQL database"):
            PostgresScheduler(url)
    with pytest.raises(ValueError, match="pool_size"):
        PostgresScheduler("postgresql://x/y", pool_size=0)
    assert repr(PostgresScheduler("postgresql+asyncpg://u:secret@h:1/d", schema="s")) == (
        "<PostgresScheduler of the PostgreSQL database 'h:1/d' (s.zart_*)>"
    )


async def test_a_call_that_postgres_cannot_hold_says_so(place):
    async with place.open() as scheduler:
        for call in (
            scheduler.start([new("nul \x00")]),
            scheduler.deliver([event("nul \x00")]),
            scheduler.cancel(["nul \x00"]),
        ):
            with pytest.raises(NotSupported, match="PostgreSQL cannot store this"):
                await call
        assert (await scheduler.start([new()]))[0].accepted, "and the connection is none the worse"
        with pytest.raises(SchedulerError):  # it parts the starts of one statement
            await scheduler.start([new("\x1f"), new("b")])


# ---- turns, and the end --------------------------------------------------------------------------------------------------


async def test_who_comes_again_and_again_overtakes_nobody(place):
    served = []
    connections = Connections(Server(place.server.dsn, 10), {}, lambda: None, 1)
    connections.open()

    async def calls(name, times):
        async def work(talk):
            served.append(name)
            await talk.connection.fetchval("SELECT 1")

        for _ in range(times):
            await connections.run(work)

    await asyncio.gather(calls("greedy", 4), calls("a", 1), calls("b", 1), calls("c", 1))
    assert served == ["greedy", "a", "b", "c", "greedy", "greedy", "greedy"]
    await connections.close()


async def test_one_who_gives_up_while_his_turn_comes_hands_it_on(place):
    connections = Connections(Server(place.server.dsn, 10), {}, lambda: None, 1)
    connections.open()
    first = asyncio.Event()
    waiting = []

    async def holds(talk):
        await first.wait()
        asyncio.get_running_loop().call_soon(waiting[0].cancel)  # when its turn has been given to it, and before it knows

    async def works(talk):
        return "served"

    holding = asyncio.create_task(connections.run(holds))
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(connections.run(works)) for _ in range(3)]
    await asyncio.sleep(0)
    first.set()
    async with asyncio.timeout(10):
        await holding
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(each) for each in answers[1:]] == ["served", "served"]
    await connections.close()


class Mute:
    """A server that takes connections and says nothing."""

    def __init__(self):
        self.open = set()
        self.taken = asyncio.Event()
        self.left = asyncio.Event()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.dsn = f"postgresql://zart@127.0.0.1:{port}/x?sslmode=disable"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def take(self, reader, writer):
        self.open.add(writer)
        self.taken.set()
        await reader.read()
        self.open.discard(writer)
        writer.close()
        self.left.set()


async def test_closing_ends_what_is_being_opened_and_tells_all_who_wait():
    async with Mute() as mute:
        connections = Connections(Server(mute.dsn, 60), {}, lambda: None, 1)
        connections.open()

        async def work(talk):
            raise AssertionError("nobody answered")

        calls = [asyncio.create_task(connections.run(work)) for _ in range(3)]
        async with asyncio.timeout(10):
            await mute.taken.wait()
            await connections.close()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            await mute.left.wait()
    assert not mute.open
    assert [type(each) for each in answers] == [StorageUnavailable] * 3


async def test_one_who_gives_up_while_he_is_connected_leaves_nothing_open_and_his_turn_to_others(place, until):
    async with Mute() as mute:
        server = Server(mute.dsn, 60)
        connections = Connections(server, {}, lambda: None, 1)
        connections.open()

        async def works(talk):
            return "served"

        async with asyncio.timeout(10):
            call = asyncio.create_task(connections.run(works))
            await mute.taken.wait()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await mute.left.wait()
            server.dsn = place.server.dsn
            assert await connections.run(works) == "served"
        await connections.close()


async def test_a_transaction_that_is_open_when_all_is_closed_leaves_no_connection(place, until):
    async with place.session() as admin:
        async with place.open() as scheduler:
            transaction = scheduler.transaction(HOUR)
            await transaction.__aenter__()
        await transaction.__aexit__(None, None, None)
        await until(admin, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'zart transaction'")
