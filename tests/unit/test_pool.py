"""Tasks that carry out one job after the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context, ContextVar

import pytest
from attrs import define, field

from zart.pool import MOST_IDLE, TaskPool

PLACE: ContextVar[str] = ContextVar("place")


@define(eq=False)
class Errand:
    """A job that notes which tasks carried it out, and ends as its function does."""

    do: Callable[[], Awaitable[object]]
    context: Context = field(factory=Context)
    task: asyncio.Task[None] | None = None
    settled: bool = False
    title: str = "errand"
    ran_in: list[asyncio.Task[None] | None] = field(factory=list)
    ended: asyncio.Event = field(factory=asyncio.Event)
    error: BaseException | None = None

    async def carry_out(self) -> None:
        self.ran_in.append(asyncio.current_task())
        try:
            await self.do()
        except BaseException as error:  # noqa: BLE001 # a cancellation too
            self.error = error
        self.ran_in.append(asyncio.current_task())
        self.ended.set()


@pytest.fixture
async def pool() -> AsyncIterator[TaskPool]:
    pool = TaskPool(asyncio.get_running_loop())
    yield pool
    pool.close()


async def at_once() -> None:
    """Wait for nothing."""


async def done(pool: TaskPool, *errands: Errand) -> None:
    for errand in errands:
        pool.put(errand)
    for errand in errands:
        await errand.ended.wait()


async def test_a_job_begins_when_its_caller_has_returned_to_the_loop(pool: TaskPool) -> None:
    errand = Errand(at_once)
    pool.put(errand)
    assert not errand.ran_in
    await errand.ended.wait()


async def test_jobs_that_do_not_wait_share_a_task(pool: TaskPool) -> None:
    errands = [Errand(at_once) for _ in range(5)]
    await done(pool, *errands)
    later = Errand(at_once)
    await done(pool, later)
    assert len({task for errand in [*errands, later] for task in errand.ran_in}) == 1
    assert all(errand.task is None for errand in errands)


async def test_a_job_that_waits_has_its_task_for_itself_and_others_go_on(pool: TaskPool) -> None:
    gate = asyncio.Event()
    waiting, other = Errand(gate.wait, title="order-1/charge"), Errand(at_once)
    pool.put(waiting)
    await done(pool, other)
    assert not waiting.ended.is_set()
    assert waiting.task is not None
    assert waiting.task.get_name() == "order-1/charge"
    gate.set()
    await waiting.ended.wait()
    assert waiting.ran_in == [waiting.task, waiting.task]
    assert other.ran_in[0] is not waiting.task


async def test_jobs_that_all_wait_are_under_way_at_once(pool: TaskPool) -> None:
    running = most = 0

    async def give_way() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await done(pool, *(Errand(give_way) for _ in range(20)))
    assert most == 20


async def test_a_job_stays_in_its_context(pool: TaskPool) -> None:
    gate, seen = asyncio.Event(), []

    async def look() -> None:
        seen.append(PLACE.get())
        PLACE.set("changed")
        await gate.wait()
        seen.append(PLACE.get())

    errand = Errand(look)
    errand.context.run(PLACE.set, "given")
    pool.put(errand)
    await done(pool, Errand(at_once))
    gate.set()
    await errand.ended.wait()
    assert seen == ["given", "changed"]
    assert errand.context[PLACE] == "changed"
    assert PLACE.get("outside") == "outside"


async def test_a_cancelled_job_learns_of_it_and_its_task_is_not_used_again(pool: TaskPool) -> None:
    errand = Errand(asyncio.Event().wait)
    pool.put(errand)
    await done(pool, Errand(at_once))
    assert errand.task is not None
    errand.task.cancel()
    await errand.ended.wait()
    assert isinstance(errand.error, asyncio.CancelledError)
    await asyncio.wait([errand.task])
    later = Errand(at_once)
    await done(pool, later)
    assert errand.task not in later.ran_in


async def test_whoever_cancels_the_task_it_runs_in_harms_nobody_else(pool: TaskPool) -> None:
    async def cancel_myself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    errands = [Errand(cancel_myself), Errand(at_once), Errand(lambda: asyncio.sleep(0))]
    await done(pool, *errands)
    assert [errand.error for errand in errands] == [None] * 3
    assert errands[0].ran_in[0] not in errands[1].ran_in


async def test_a_timeout_within_a_job_works_and_its_task_is_used_again(pool: TaskPool) -> None:
    async def run_out() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()

    errand = Errand(run_out)
    await done(pool, errand)
    assert errand.error is None
    later = Errand(at_once)
    await asyncio.sleep(0)  # the task has to come back first
    await done(pool, later)
    assert later.ran_in == errand.ran_in


async def test_a_job_that_is_settled_by_the_time_it_waits_is_cancelled(pool: TaskPool) -> None:
    errand = Errand(asyncio.Event().wait, settled=True)
    await done(pool, errand)
    assert isinstance(errand.error, asyncio.CancelledError)


async def test_closing_ends_the_tasks_and_more_than_enough_are_not_kept(pool: TaskPool) -> None:
    before = asyncio.all_tasks()
    gate = asyncio.Event()
    errands = [Errand(gate.wait) for _ in range(MOST_IDLE + 10)]
    for errand in errands:
        pool.put(errand)
    await done(pool, Errand(at_once))
    gate.set()
    for errand in errands:
        await errand.ended.wait()
    kept = asyncio.all_tasks() - before
    assert len(kept) == MOST_IDLE
    pool.close()
    await asyncio.wait(kept)
    assert all(task.cancelled() for task in kept)
