"""The server goes away under workers that are at work, and comes back."""

import asyncio
import signal

import pytest

from tests.chaos.ends import check_ended
from tests.chaos.ground import PostgresGround, until
from tests.chaos.storms import Cutter
from tests.servers.postgres import PostgresServer
from tests.servers.present import newest_postgres
from zart.clock import SystemClock

WORDS = ["step:1", "both:2", "book:3", "nap:4", "wait:go", "step:5", "book:6"]
CRASHES = 3
DEAD = "SELECT count(*) FROM zart_workers WHERE state = 'dead'"


@pytest.fixture(scope="module")
def server():
    """A server that nobody else needs."""
    with PostgresServer(newest_postgres(), fsync=True) as server:
        yield server


@pytest.fixture
def postgres(server, request):
    return PostgresGround(server, f"outage_{abs(hash(request.node.name))}")


async def test_a_server_that_crashes_under_load_and_comes_back(server, ground, crew, ledger, client):
    crew.lease = "60s"
    for _ in range(2):
        await crew.add(patient=True, max_concurrent=10)
    ids = [f"e{number:02}" for number in range(CRASHES * 15)]
    for number in range(CRASHES):
        some = ids[15 * number : 15 * number + 15]
        await client.start_many((each, "errand", WORDS) for each in some)
        mark = len(ledger.lines) + 20 * number + 10
        # A step is open at each crash: whether one is must not be left to how busy this machine is.
        await ledger.until(
            lambda mark=mark: len(ledger.lines) > mark and any(ledger.open_steps(each.pid) for each in crew.members), "work"
        )
        await asyncio.to_thread(server.stop)
        await ledger.until(lambda: ledger.logged("failed"), "somebody to notice")
        await asyncio.to_thread(server.start)
        for each in some:
            await client.offer_event(each, "go", number, event_id="go")
    await check_ended(client, ground, ledger, ids, WORDS)
    async with ground.session() as watch:
        assert await watch.fetchval(DEAD) == 0
    calls = ledger.begins(but=("book",))
    assert {key: len(lines) for key, lines in calls.items()} == dict.fromkeys(calls, 1)


async def test_after_an_outage_longer_than_the_lease_nobody_is_declared_dead(server, ground, crew, ledger, client):
    lease = 1.2
    crew.lease = f"{lease}s"
    members = [await crew.add(holds=True, max_concurrent=3) for _ in range(3)]
    ids = [f"e{number}" for number in range(9)]
    await client.start_many((each, "errand", ["step:1", "hold:2", "step:3"]) for each in ids)
    await ledger.comes("begin", step="hold:2", count=len(ids))
    await asyncio.to_thread(server.stop)
    stopped = SystemClock.monotonic()
    for each in members:
        # Each of them knows that it is cut off, and has known so for longer than the lease.
        await ledger.until(
            lambda pid=each.pid: any(line.at > stopped + 1.5 * lease for line in ledger.logged("heartbeat failed", pid)),
            "a beat that fails",
        )
    for each in members[:2]:
        each.tell(signal.SIGUSR1)  # what ends while there is no server is saved when there is one
    await asyncio.to_thread(server.start)
    async with ground.session() as watch:
        back = "SELECT count(*) = 3 FROM zart_workers WHERE lease_until > (extract(epoch FROM clock_timestamp()) * 1000000)"
        await until(watch, back)
        members[2].tell(signal.SIGUSR1)
        await check_ended(client, ground, ledger, ids, ["step:1", "hold:2", "step:3"])
        assert await watch.fetchval(DEAD) == 0
        assert await watch.fetchval("SELECT sum(crashes) FROM zart_executions") == 0
    ledger.check()
    calls = ledger.begins()
    assert {key: len(lines) for key, lines in calls.items()} == dict.fromkeys(calls, 1)


@pytest.mark.parametrize("clogged", [False, True], ids=["", "with a beat on its way all the time"])
async def test_whoever_comes_back_from_an_outage_gives_others_time_to_come_back_too(
    server, ground, crew, ledger, client, clogged
):
    """They may be cut off a little longer; their leases ran out for no fault of theirs."""
    lease = 3.0
    crew.lease = f"{lease}s"
    async with Cutter(server.port) as near, Cutter(server.port) as far, ground.session() as watch:
        first = await crew.add(holds=True, dsn=near.dsn, max_concurrent=2)
        second = await crew.add(holds=True, dsn=far.dsn)
        ids = [f"e{number}" for number in range(4)]
        await client.start_many((each, "errand", ["hold:1", "step:2"]) for each in ids)
        await ledger.comes("begin", step="hold:1", count=len(ids))
        assert len(ledger.find("begin", pid=second.pid)) >= 2
        cut = SystemClock.monotonic()
        if clogged:
            near.clog()
        else:
            near.shut()
        far.shut()
        ended = "SELECT max(lease_until) < (extract(epoch FROM clock_timestamp()) * 1000000) FROM zart_workers"
        await until(watch, ended)
        near.open()
        beats = "SELECT lease_until FROM zart_workers WHERE id = $1"
        seen = await until(
            watch, f"SELECT ({beats} AND lease_until > (extract(epoch FROM clock_timestamp()) * 1000000))", first.id
        )
        await until(watch, f"SELECT ({beats}) > $2::bigint + 1000000", first.id, seen)  # two beats or more after the first
        far.open()
        await until(watch, f"SELECT ({beats}) > $2::bigint", second.id, seen)
        assert SystemClock.monotonic() - cut > lease
        for each in (first, second):
            each.tell(signal.SIGUSR1)
        await check_ended(client, ground, ledger, ids, ["hold:1", "step:2"])
        assert await watch.fetchval(DEAD) == 0
        assert await watch.fetchval("SELECT sum(crashes) FROM zart_executions") == 0
    ledger.check()


async def test_whoever_does_not_come_back_after_an_outage_is_declared_dead_in_the_end(server, ground, crew, ledger, client):
    lease = 1.2
    crew.lease = f"{lease}s"
    members = [await crew.add(holds=True) for _ in range(2)]
    await client.start("e", "errand", ["hold:1", "step:2"])
    held_by = (await ledger.comes("begin", "e")).pid
    (victim,) = [each for each in members if each.pid == held_by]
    (other,) = [each for each in members if each is not victim]
    await asyncio.to_thread(server.stop)
    stopped = SystemClock.monotonic()
    await crew.kill(victim)
    await ledger.until(
        lambda: any(line.at > stopped + lease for line in ledger.logged("heartbeat failed", other.pid)), "a beat that fails"
    )
    await asyncio.to_thread(server.start)
    other.tell(signal.SIGUSR1)
    await check_ended(client, ground, ledger, ["e"], ["hold:1", "step:2"])
    ledger.check(crew.excused)
    assert {line.pid for line in ledger.find("saved")} == {other.pid}
    assert (await client.scheduler.get("e")).fence == 3
