"""Rule 6: cancelling."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import pytest

from zart.clock import SECOND
from zart.scheduler import Storage
from zart.status import TERMINAL, ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    NAMES,
    Scene,
    commit,
    demand,
    ended,
    history,
    in_status,
    new,
    now,
    outcome,
    read,
    register,
    running,
    waiting,
)

CANCELLED = ExecutionStatus.CANCELLED


class Cancels(Scene):
    """What `cancel` ends and what it answers."""

    @pytest.mark.parametrize("status", [status for status in ExecutionStatus if not status.is_terminal])
    async def test_rule_6_cancel_ends_what_is_not_finished(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus
    ) -> None:
        await in_status(scheduler, status)
        before = await read(scheduler)
        clock.advance(5)
        assert await scheduler.cancel(["a"]) == {"a": (CANCELLED, True)}
        after = await read(scheduler)
        assert (after.status, after.completed_at, after.due_at, after.worker) == (CANCELLED, now(clock), None, None)
        assert after.fence > before.fence
        assert after.started_at == before.started_at
        assert list(await scheduler.claim(demand())) == []

    @pytest.mark.parametrize("status", sorted(TERMINAL))
    async def test_rule_6_cancel_leaves_what_has_ended(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus
    ) -> None:
        await ended(scheduler, status)
        before = await read(scheduler)
        clock.advance(5)
        assert await scheduler.cancel(["a"]) == {"a": (status, False)}
        assert await read(scheduler) == before

    async def test_rule_6_an_unknown_id_gets_no_answer(self, scheduler: Storage) -> None:
        await scheduler.start([new("a")])
        assert await scheduler.cancel(["x", "a", "y"]) == {"a": (CANCELLED, True)}
        assert await scheduler.cancel(["x"]) == {}
        assert await scheduler.cancel([]) == {}

    async def test_rule_6_one_id_twice_is_cancelled_by_this_call(self, scheduler: Storage) -> None:
        await scheduler.start([new("a")])
        assert await scheduler.cancel(["a", "a"]) == {"a": (CANCELLED, True)}

    async def test_rule_6_many_ids_in_one_call(self, scheduler: Storage) -> None:
        await running(scheduler, *(f"x{number}" for number in range(300)))
        done = [f"x{number}" for number in range(0, 300, 3)]
        assert await scheduler.cancel(done) == dict.fromkeys(done, (CANCELLED, True))
        everything = {f"x{number}" for number in range(300)}
        assert await scheduler.cancel(everything) == {each: (CANCELLED, each not in done) for each in everything}

    async def test_rule_6_only_that_id_is_cancelled(self, scheduler: Storage) -> None:
        await scheduler.start([new(each) for each in NAMES])
        assert set(await scheduler.cancel(["a"])) == {"a"}
        assert {(await read(scheduler, each)).status for each in NAMES if each != "a"} == {ExecutionStatus.PENDING}

    async def test_rule_6_only_the_current_run_is_cancelled(self, scheduler: Storage) -> None:
        await ended(scheduler, ExecutionStatus.COMPLETED)
        await scheduler.start([new()])
        assert await scheduler.cancel(["a"]) == {"a": (CANCELLED, True)}
        assert (await read(scheduler, "a", 1)).status is ExecutionStatus.COMPLETED
        assert (await read(scheduler, "a", 2)).status is CANCELLED

    async def test_rule_6_cancelling_a_run_means_that_run(self, scheduler: Storage) -> None:
        await ended(scheduler, ExecutionStatus.COMPLETED)
        await scheduler.start([new(), new("b")])
        assert await scheduler.cancel(["a", "b", "c"], 1) == {"a": (ExecutionStatus.COMPLETED, False), "b": (CANCELLED, True)}
        assert (await read(scheduler)).status is ExecutionStatus.PENDING
        assert await scheduler.cancel(["a", "b"], 3) == {}
        assert await scheduler.cancel(["a", "b"], 2) == {"a": (CANCELLED, True)}

    async def test_rule_6_what_was_saved_stays_saved(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(1))
        await scheduler.cancel(["a"])
        assert await history(scheduler) == [outcome(1)]

    async def test_rule_6_a_cancelled_timer_never_comes_back(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, move=waiting(now(clock) + SECOND))
        await scheduler.start([new("b", delay=SECOND)])
        await scheduler.cancel(["a", "b"])
        clock.advance(2)
        await register(scheduler)
        assert list(await scheduler.claim(demand())) == []
