"""What the in-memory scheduler says of the work that waits, and of what is kept about the storage as a whole."""

from datetime import timedelta

from attrs import evolve

from zart.clock import SECOND, instant
from zart.records import Backlog, Demand, NewExecution, WorkerBeat
from zart.schedulers.memory import InMemoryScheduler
from zart.testing import FakeClock


async def test_the_backlog_is_what_is_due_and_claimed_by_nobody() -> None:
    clock = FakeClock()
    scheduler = InMemoryScheduler(clock=clock)
    assert await scheduler.backlog() == Backlog(0, 0)
    await scheduler.beat(WorkerBeat("w", 15 * SECOND, ("default",), ("task",), register=True))
    await scheduler.start([NewExecution(name, "task", "null", f"key-{name}") for name in "ab"])
    await scheduler.start([NewExecution("later", "task", "null", "key-later", delay=60 * SECOND)])
    assert await scheduler.backlog() == Backlog(2, 0)
    clock.advance(timedelta(seconds=5))
    await scheduler.start([NewExecution("c", "task", "null", "key-c")])
    assert await scheduler.backlog() == Backlog(3, 5 * SECOND)
    claims = await scheduler.claim(Demand("w", ("default",), {"task": None}, 2))
    assert [claim.token.execution_id for claim in claims] == ["a", "b"]
    assert await scheduler.backlog() == Backlog(1, 0)  # what runs is due to nobody


async def test_what_is_kept_about_a_storage_is_the_first_word() -> None:
    scheduler = InMemoryScheduler()
    assert await scheduler.recall("shard") is None
    assert await scheduler.remember("shard", "one") == "one"
    assert await scheduler.remember("shard", "two") == "one"
    assert await scheduler.recall("shard") == "one"


async def test_the_front_is_what_a_claim_would_take_and_takes_nothing() -> None:
    clock = FakeClock()
    scheduler = InMemoryScheduler(clock=clock)
    began = instant(clock.now())
    for name in "ab":
        await scheduler.start([NewExecution(name, "task", "null", f"key-{name}")])
        clock.advance(timedelta(seconds=1))
    await scheduler.start([NewExecution("later", "task", "null", "key-later", delay=60 * SECOND)])
    asked = Demand("w", ("default",), {"task": None}, 5)
    assert await scheduler.front(asked) == [(began, False), (began + SECOND, False)]
    assert await scheduler.front(evolve(asked, limit=1)) == [(began, False)]
    assert await scheduler.front(evolve(asked, limit=0)) == []
    assert await scheduler.front(evolve(asked, queues=("other",))) == []
    assert await scheduler.backlog() == Backlog(2, 2 * SECOND)
