"""Connections to PostgreSQL come and go; what was asked is answered, or refused in time."""

import asyncio
import gc
from datetime import timedelta

import pytest

from tests.servers.postgres import PostgresServer, installed
from tests.servers.proxy import Proxy
from zart.clock import SystemClock
from zart.errors import NotSupported, SchedulerError, StorageUnavailable
from zart.records import Commit, Delivery, Fate, Held, Query
from zart.schedulers import connect
from zart.schedulers.postgres import PostgresScheduler
from zart.schedulers.postgres.connections import Connections, Server
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
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'zart%'"


async def test_every_connection_may_be_ended_between_two_calls(place):
    async with place.open() as scheduler, place.session() as admin:
        (claimed,) = await running(scheduler, "a")
        for seq in range(5):
            await admin.execute(f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours")
            assert (await commit(scheduler, claimed, outcome(seq))).fate is Fate.APPLIED
            assert (await read(scheduler)).status is ExecutionStatus.RUNNING
        assert len(await history(scheduler)) == 5


async def test_every_connection_may_be_ended_at_any_moment(place, until):
    async with place.open() as scheduler, place.session() as admin:
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
            for _ in range(3):
                await until(admin, f"SELECT count(*) > 0 FROM ({OURS}) AS ours")
                await admin.execute(f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours")
            await asyncio.gather(*saying)
        for each in ids:
            assert [step.seq for step in await history(scheduler, each)] == list(range(30))


async def test_a_server_that_crashes_and_comes_back_has_all_that_was_answered(clock):
    with PostgresServer(installed()["18"], fsync=True) as server:
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


@pytest.mark.parametrize("with_move", [False, True])
async def test_a_commit_whose_reply_is_lost_is_said_again_and_counts_once(place, clock, with_move):
    async with Proxy(place.server.port) as proxy, place.open(dsn=proxy.dsn) as scheduler:
        (claimed,) = await running(scheduler, "a")
        move = completed() if with_move else None
        await commit(scheduler, claimed, outcome(0))  # so that the statement is known
        proxy.lose_next_reply()
        answer = await commit(scheduler, claimed, outcome(1), outcome(2), move=move)
        assert (answer.fate, proxy.lost) == (Fate.APPLIED, 1)
        assert await history(scheduler) == [outcome(0), outcome(1), outcome(2)]


async def test_other_operations_whose_reply_is_lost_answer_as_if_it_were_not(place, clock):
    async with Proxy(place.server.port) as proxy, place.open(dsn=proxy.dsn) as scheduler:
        await register(scheduler)
        await scheduler.start([new("x"), new("y")])  # so that the statements are known
        await scheduler.deliver([event("x")])
        await scheduler.cancel(["nobody"])
        proxy.lose_next_reply()
        assert [each.accepted for each in await scheduler.start([new("a"), new("b")])] == [True, True]
        proxy.lose_next_reply()
        assert await scheduler.deliver([event("a")]) in ([Delivery.RECORDED], [Delivery.DUPLICATE])
        proxy.lose_next_reply()
        assert (await scheduler.cancel(["b"]))["b"][0] is ExecutionStatus.CANCELLED
        assert proxy.lost == 3
        assert (await read(scheduler)).mail == 1


async def test_a_claim_whose_reply_is_lost_is_handed_back_by_a_later_beat(place, clock):
    async with Proxy(place.server.port) as proxy, place.open(dsn=proxy.dsn) as scheduler:
        await register(scheduler)
        await scheduler.claim(demand())
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


async def test_a_server_that_goes_silent_is_given_up_in_time(place, clock):
    async with Proxy(place.server.port) as proxy, place.open(dsn=proxy.dsn, timeout=0.3) as scheduler:
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
        ("postgresql://zart@127.0.0.1:1/x", "'127.0.0.1:1/x' .*cannot be reached"),
        ("postgresql://zart:secret@{place}/nowhere", "name another one"),
    ],
)
async def test_what_is_wrong_with_a_url_is_told_without_its_password(place, url, message):
    address = place.server.dsn.partition("@")[2].partition("/")[0]
    with pytest.raises(StorageUnavailable, match=message) as caught:
        async with connect(url.format(place=address)):
            pass
    assert "secret" not in str(caught.value)


async def test_a_database_in_another_encoding_is_refused(place):
    async with place.session() as admin:
        await admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(NotSupported, match="encoded in LATIN1, Zart needs UTF8"):
        async with PostgresScheduler(place.server.dsn.replace("/postgres", "/latin")):
            pass


async def test_calls_take_turns_over_few_connections(place):
    async with place.open(pool_size=2) as scheduler, place.session() as admin:
        await asyncio.gather(*(scheduler.start([new(f"x{number}")]) for number in range(50)))
        mine = await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()", f"%{place.schema}%"
        )
        assert mine <= 2
        assert sum((await scheduler.count(Query())).values()) == 50


async def test_a_call_that_is_given_up_leaves_its_turn_to_others(place):
    async with place.open(pool_size=1) as scheduler:
        calls = [asyncio.create_task(scheduler.start([new(f"x{number}")])) for number in range(10)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in answers] == [True, False] * 5


async def test_nothing_is_left_open(place, until):
    async with place.session() as admin:
        before = {row[0] for row in await admin.fetch(OURS)}
        async with place.open() as scheduler:
            await scheduler.start([new()])
            waiting = asyncio.create_task(scheduler.wait(["a"], HOUR))
            await until(admin, f"SELECT count(*) > $1 FROM ({OURS}) AS ours", len(before))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await until(admin, f"SELECT count(*) = 0 FROM ({OURS}) AS ours WHERE NOT pid = ANY($1)", list(before))
    with pytest.raises(StorageUnavailable, match="is not open; use it inside `async with`"):
        await scheduler.start([new()])


async def test_a_loop_that_ends_takes_its_connections_along(place, until):
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with place.open() as scheduler, place.session() as admin:
        await register(scheduler)
        before = len(await admin.fetch(OURS))

        async def beating():
            await scheduler.beat(beat())
            loop.call_soon_threadsafe(done.set)

        ThreadSpawner().loop("beats", beating)
        await returns(done.wait())
        await until(admin, f"SELECT count(*) <= $1 FROM ({OURS}) AS ours", before)
        assert (await scheduler.beat(beat())).alive
    gc.collect()  # what was left open would be told now


async def test_only_postgres_urls_are_taken():
    for url in ("mysql://x/y", "localhost/x", "postgres"):
        with pytest.raises(ValueError, match="names no PostgreSQL database"):
            PostgresScheduler(url)
    with pytest.raises(ValueError, match="pool_size"):
        PostgresScheduler("postgresql://x/y", pool_size=0)
    assert repr(PostgresScheduler("postgresql+asyncpg://u:secret@h:1/d", schema="s")) == (
        "<PostgresScheduler of the PostgreSQL database 'h:1/d' (s.zart_*)>"
    )


async def test_it_goes_by_the_servers_clock_unless_told(place):
    async with place.open(clock=None) as scheduler, place.session() as admin:
        micros = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        before = await admin.fetchval(micros)
        (started,) = await scheduler.start([new()])
        reply = await scheduler.beat(beat(register=True))
        (claimed,) = await scheduler.claim(demand())
        await commit(scheduler, claimed, move=completed())
        execution = await read(scheduler)
        times = [before, started.scheduled_at, reply.now, claimed.now, execution.completed_at, await admin.fetchval(micros)]
        assert times == sorted(times)
        assert execution.served


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
        with pytest.raises(SchedulerError):
            await scheduler.start([new("\x1f")])


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
