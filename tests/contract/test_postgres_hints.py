"""Several processes on one PostgreSQL database tell each other what happens. Each scheduler here stands for a process."""

import asyncio
from datetime import timedelta

import pytest

from zart.clock import SECOND, SystemClock
from zart.schedulers.postgres import listen
from zart.schedulers.postgres.connections import Connections
from zart.testing.contract.scene import (
    claim,
    commit,
    completed,
    deliver,
    demand,
    event,
    new,
    now,
    read,
    register,
    returns,
    running,
    waiting,
)

HOUR = timedelta(hours=1)
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = $1"


@pytest.fixture
async def pair(place):
    async with place.open() as here, place.open() as there:
        for each in (here, there):
            each._signals.listen()
            await returns(each._signals.hearing())
        yield here, there


async def waits(scheduler, interest):
    """Let a wait begin, and return it when its process listens."""
    wait = asyncio.create_task(scheduler.wait(interest, HOUR))
    await returns(scheduler._signals.hearing())
    for _ in range(20):
        await scheduler.get("nobody")
    assert not wait.done()
    return wait


async def joined(task):
    return await task


@pytest.mark.parametrize("happening", ["start", "mail", "move", "cancel of what it holds", "mail for what it holds"])
async def test_a_worker_hears_of_it_from_another_process(pair, clock, happening):
    here, there = pair
    if happening == "start":
        await register(here)
    else:
        (claimed,) = await running(here, "a")
    if happening == "mail":
        await commit(here, claimed, move=waiting(seen=0))
    wait = await waits(here, demand())
    await {
        "start": lambda: there.start([new()]),
        "mail": lambda: deliver(there, event()),
        "move": lambda: commit(there, claimed, move=waiting(now(clock))),
        "cancel of what it holds": lambda: there.cancel(["a"]),
        "mail for what it holds": lambda: deliver(there, event()),
    }[happening]()
    await returns(joined(wait))


async def test_a_worker_hears_of_a_timer_that_another_process_sets(pair, clock):
    here, there = pair
    await register(here)
    wait = await waits(here, demand())
    await there.start([new(delay=60 * SECOND)])
    other = await waits(here, demand("other"))  # by now the notification has come
    clock.advance(60)
    await returns(joined(wait))
    await returns(joined(other))
    assert (await claim(here)).token.execution_id == "a"


async def test_who_waits_for_an_end_hears_of_it_from_another_process(pair):
    here, there = pair
    (claimed, _) = await running(there, "a", "b")
    wait = await waits(here, ["a", "b"])
    await commit(there, claimed, move=completed())
    await returns(joined(wait))


async def test_more_ends_than_a_notification_holds_are_heard_of(pair):
    here, there = pair
    ids = [f"{number:03}" + "x" * 200 for number in range(100)]
    await there.start([new(each) for each in ids])
    wait = await waits(here, [ids[50]])
    await there.cancel(ids)
    await returns(joined(wait))


async def test_a_listener_that_is_cut_off_listens_again_and_looks(pair, place):
    here, there = pair
    await there.start([new("a"), new("b")])
    wait = await waits(here, ["a"])
    async with place.session() as admin:
        name = here._signals._listener_name
        for _ in range(3):
            await admin.execute(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS them", name)
        await there.cancel(["a"])  # nobody hears it
        await returns(joined(wait))
        wait = await waits(here, ["b"])
        await there.cancel(["b"])
        await returns(joined(wait))


async def test_nothing_is_sent_while_nobody_else_listens(place, monkeypatch):
    written = []
    monkeypatch.setattr("zart.schedulers.postgres.listen._written", lambda *_: written.append(1) or "")
    async with place.open() as here:
        await register(here)
        wait = await waits(here, demand())
        await here.start([new()])
        await returns(joined(wait))
    assert not written


async def test_notifications_are_sent_one_at_a_time_with_all_that_has_happened_meanwhile(pair, monkeypatch):
    here, there = pair
    await register(here)
    wait = await waits(here, demand(limit=0))
    written = []
    original = listen._written
    monkeypatch.setattr(
        "zart.schedulers.postgres.listen._written", lambda *given: written.append(original(*given)) or written[-1]
    )
    for number in range(50):
        await there.start([new(f"x{number}")])
    await there._signals.close()
    assert 1 <= len(written) < 50
    wait.cancel()


@pytest.mark.parametrize("options", [{"listen": False}, {"pooler": True}])
async def test_without_listening_a_wait_ends_by_itself_and_a_look_finds_it(place, clock, options):
    async with place.open(**options) as here, place.open() as there:
        await register(here)
        wait = asyncio.create_task(here.wait(demand(), timedelta(seconds=1)))
        for _ in range(20):
            await here.get("nobody")
        await there.start([new()])
        assert not wait.done()
        clock.advance(1)
        await returns(joined(wait))
        assert (await claim(here)).token.execution_id == "a"
        assert here._signals._listening is None


async def test_a_claim_that_got_nothing_need_not_be_followed_by_a_look(pair, monkeypatch):
    here, _ = pair
    await register(here)
    await here.start([new(delay=60 * SECOND)])
    assert await here.claim(demand()) == []
    asked = []
    original = Connections.run
    monkeypatch.setattr(Connections, "run", lambda *given: asked.append(given) or original(*given))
    wait = asyncio.create_task(here.wait(demand(), HOUR))
    await asyncio.sleep(0)
    assert not asked
    wait.cancel()


async def test_due_times_are_the_servers(place):
    async with place.open(clock=None) as scheduler:
        await register(scheduler)
        await scheduler.start([new(delay=SECOND // 5)])
        began = SystemClock.monotonic()
        assert await scheduler.claim(demand()) == []
        await returns(scheduler.wait(demand(), HOUR))
        assert SystemClock.monotonic() - began > 0.1
        assert len(await scheduler.claim(demand())) == 1
        assert (await read(scheduler)).worker == "w"
