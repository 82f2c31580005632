"""The in-memory scheduler keeps the contract, and what it promises beyond it."""

import asyncio
from datetime import timedelta

import pytest

from zart.clock import SECOND, Clock, SystemClock, instant
from zart.records import SUSPECT
from zart.scheduler import Storage
from zart.schedulers.memory import InMemoryScheduler
from zart.spawner import ThreadSpawner
from zart.testing.clock import FakeClock
from zart.testing.contract import SchedulerContract
from zart.testing.contract.scene import (
    LEASE,
    beat,
    claim,
    commit,
    crashed,
    deliver,
    demand,
    event,
    new,
    now,
    register,
    returns,
    running,
    waiting,
)

HOUR = timedelta(hours=1)


class TestMemory(SchedulerContract):
    async def make(self, clock: Clock) -> Storage:
        return InMemoryScheduler(clock=clock)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def memory(clock):
    return InMemoryScheduler(clock=clock)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_goes_by_the_machines_clock_unless_told():
    memory = InMemoryScheduler()
    earliest = instant(SystemClock().now())
    (started,) = await memory.start([new()])
    assert earliest <= started.scheduled_at <= instant(SystemClock().now())


async def test_opening_it_again_finds_what_it_held(memory):
    async with memory:
        await memory.start([new()])
    async with memory:
        await memory.migrate()
        assert await memory.get("a") is not None


async def test_a_wait_lasts_until_the_timer_and_not_a_moment_longer(memory, clock):
    await register(memory)
    await memory.start([new(delay=60 * SECOND)])
    wait = asyncio.create_task(memory.wait(demand(), HOUR))
    await settle()
    clock.advance(59.999999)
    await settle()
    assert not wait.done()
    clock.advance(0.000001)
    await returns(joined(wait))


async def test_a_wait_hears_of_a_timer_set_while_it_waits(memory, clock):
    (claimed,) = await running(memory, "a")
    await memory.start([new("later", delay=50 * SECOND)])
    wait = asyncio.create_task(memory.wait(demand(), HOUR))
    await settle()
    await commit(memory, claimed, move=waiting(now(clock) + 10 * SECOND))
    await settle()
    assert not wait.done()
    clock.advance(10)
    await returns(joined(wait))


@pytest.mark.parametrize(
    "interest",
    [demand(limit=0), demand(tasks={"other": None}), demand(queues=("other",)), demand(suspects=0, tasks={}), ("b",), ()],
)
async def test_a_wait_sleeps_through_what_it_did_not_ask_for(memory, clock, interest):
    await memory.start([new("due already")])
    wait = asyncio.create_task(memory.wait(interest, timedelta(seconds=5)))
    await settle()
    await memory.start([new("a"), new("b", "u")])
    await memory.cancel(["a"])
    await settle()
    assert not wait.done()
    clock.advance(5)
    await returns(joined(wait))


async def test_a_wait_sleeps_through_suspects_it_may_not_have(memory, clock):
    await crashed(memory, clock, SUSPECT, "a")
    await register(memory)
    wait = asyncio.create_task(memory.wait(demand(suspects=0), timedelta(seconds=5)))
    await settle()
    assert not wait.done()
    await returns(memory.wait(demand("other", suspects=1), HOUR))
    clock.advance(5)
    await returns(joined(wait))


@pytest.mark.parametrize("limit", [0, 1])
async def test_a_worker_hears_of_mail_for_what_it_holds(memory, limit):
    await running(memory, "a")
    wait = asyncio.create_task(memory.wait(demand(limit=limit), HOUR))
    other = asyncio.create_task(memory.wait(demand("other", limit=limit), HOUR))
    await settle()
    await deliver(memory, event())
    await returns(joined(wait))
    await settle()
    assert not other.done()
    other.cancel()


async def test_a_worker_hears_of_a_cancel_of_what_it_holds(memory):
    await running(memory, "a")
    wait = asyncio.create_task(memory.wait(demand(), HOUR))
    await settle()
    assert not wait.done()
    await memory.cancel(["a"])
    await returns(joined(wait))


async def test_a_worker_hears_of_a_takeover_of_what_it_holds(memory, clock):
    await register(memory)
    await memory.start([new()])
    await memory.claim(demand(tasks={"t": SECOND}))
    wait = asyncio.create_task(memory.wait(demand(limit=0), HOUR))
    await settle()
    assert not wait.done()
    clock.advance(10)
    await memory.beat(beat())
    await returns(joined(wait))


async def test_what_came_between_two_waits_is_not_missed_and_told_once(memory, clock):
    await running(memory, "a")
    await deliver(memory, event())
    await returns(memory.wait(demand(), HOUR))
    wait = asyncio.create_task(memory.wait(demand(), HOUR))
    await settle()
    assert not wait.done()
    clock.advance("1h")
    await returns(joined(wait))


async def test_an_ended_wait_leaves_nothing_behind(memory, clock):
    await register(memory)
    await returns(memory.wait(demand(), timedelta(0)))
    waits = [asyncio.create_task(memory.wait(interest, HOUR)) for interest in (demand(), ("a", "b"))]
    await settle()
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert not memory._hints._waiters
    assert all(timer.cancelled for _, _, timer in clock._timers)


async def test_it_may_be_waited_for_in_another_thread(memory):
    loop = asyncio.get_running_loop()
    ready, woken = asyncio.Event(), asyncio.Event()

    async def wait_there():
        wait = asyncio.create_task(memory.wait(["a"], HOUR))
        await settle()
        loop.call_soon_threadsafe(ready.set)
        await wait
        loop.call_soon_threadsafe(woken.set)

    ThreadSpawner().loop("waiting", wait_there)
    await returns(ready.wait())
    await memory.start([new()])
    await memory.cancel(["a"])
    await returns(woken.wait())


def test_a_waiter_whose_loop_is_gone_stands_in_nobodys_way(memory):
    async def leave_waiting():
        task = asyncio.create_task(memory.wait(["a"], HOUR))
        await settle()
        return task

    async def go_on():
        await memory.start([new()])
        return await memory.cancel(["a"])

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(leave_waiting())
    loop.close()
    assert "a" in asyncio.run(go_on())
    task._log_destroy_pending = False


async def test_what_left_its_line_is_forgotten_in_time(memory, clock):
    (claimed,) = await running(memory, "a")
    for number in range(1000):
        await commit(memory, claimed, move=waiting(now(clock) + 10**12))
        await deliver(memory, event(event_id=f"e{number}"))
        claimed = await claim(memory)
    assert sum(len(line._heap) for line in memory._lines.values()) < 200


async def test_lines_survive_being_cleared_of_what_left(memory, clock):
    await register(memory)
    ids = [f"x{number:03}" for number in range(600)]
    await memory.start([new(each, at=now(clock) - index) for index, each in enumerate(ids)])
    gone = [each for index, each in enumerate(ids) if index % 10]
    await memory.cancel(gone)
    await memory.start([new("y", at=now(clock) - 1000)])
    assert sum(len(line._heap) for line in memory._lines.values()) < 100
    found = []
    while claims := await memory.claim(demand(limit=1)):
        found += [each.token.execution_id for each in claims]
    assert found == ["y", *[each for each in reversed(ids) if each not in set(gone)]]


async def test_a_dead_workers_lease_is_its_own_affair(memory, clock):
    await register(memory, lease=LEASE)
    clock.advance(LEASE / SECOND)
    assert (await memory.beat(beat("other", register=True))).alive
    assert not (await memory.beat(beat())).alive, "a lease that ends now has passed"


async def joined(task):
    return await task
