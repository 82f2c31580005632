"""Rule 1: starts."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

from collections.abc import Collection

import pytest

from zart.clock import SECOND
from zart.records import Execution, Reuse
from zart.scheduler import Storage
from zart.status import TERMINAL, ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    HOSTILE,
    NAMES,
    Scene,
    claim,
    commit,
    completed,
    deliver,
    demand,
    ended,
    event,
    history,
    in_status,
    mailbox,
    new,
    now,
    outcome,
    read,
    register,
    running,
)

LIVE = [status for status in ExecutionStatus if not status.is_terminal]
OPENS: dict[Reuse, Collection[ExecutionStatus]] = {
    Reuse.ENDED: TERMINAL,
    Reuse.FAILED: {ExecutionStatus.FAILED, ExecutionStatus.CANCELLED},
    Reuse.NEVER: set[ExecutionStatus](),
}


class Starts(Scene):
    """What `start` does with new, live and ended ids."""

    async def test_rule_1_a_start_opens_the_first_run_of_a_new_id(self, scheduler: Storage, clock: FakeClock) -> None:
        (started,) = await scheduler.start([new("a", "greet", payload="hello", queue="mine")])
        at = now(clock)
        assert (started.accepted, started.run, started.status, started.scheduled_at) == (True, 1, ExecutionStatus.PENDING, at)
        assert await scheduler.get("a") == Execution(
            id="a",
            run=1,
            task="greet",
            queue="mine",
            status=ExecutionStatus.PENDING,
            payload="hello",
            result=None,
            attempt=0,
            fence=0,
            worker=None,
            crashes=0,
            crashed_workers=(),
            reason=None,
            created_at=at,
            scheduled_at=at,
            started_at=None,
            completed_at=None,
            due_at=at,
            deadline=None,
            mail=0,
            served=False,
        )

    async def test_rule_1_a_start_with_a_delay_is_due_after_it(self, scheduler: Storage, clock: FakeClock) -> None:
        (started,) = await scheduler.start([new(delay=60 * SECOND)])
        execution = await read(scheduler)
        due = now(clock) + 60 * SECOND
        assert started.scheduled_at == execution.scheduled_at == execution.due_at == due
        assert execution.created_at == now(clock)

    @pytest.mark.parametrize("seconds", [3600, -3600])
    async def test_rule_1_a_start_at_a_time_is_due_then(self, scheduler: Storage, clock: FakeClock, seconds: int) -> None:
        at = now(clock) + seconds * SECOND
        (started,) = await scheduler.start([new(at=at)])
        execution = await read(scheduler)
        assert started.scheduled_at == execution.scheduled_at == execution.due_at == at

    @pytest.mark.parametrize("reuse", Reuse)
    @pytest.mark.parametrize("status", LIVE)
    async def test_rule_1_a_start_on_a_live_id_says_what_it_found(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus, reuse: Reuse
    ) -> None:
        await in_status(scheduler, status)
        before = await read(scheduler)
        clock.advance(1)
        (found,) = await scheduler.start([new("a", "other", payload="other", reuse=reuse)])
        assert (found.accepted, found.run, found.status, found.scheduled_at) == (False, 1, status, before.scheduled_at)
        assert await read(scheduler) == before

    @pytest.mark.parametrize("reuse", Reuse)
    @pytest.mark.parametrize("status", sorted(TERMINAL))
    async def test_rule_1_reuse_decides_which_ended_ids_get_another_run(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus, reuse: Reuse
    ) -> None:
        await ended(scheduler, status)
        before = await read(scheduler)
        clock.advance(1)
        (answer,) = await scheduler.start([new("a", "t", payload="second", reuse=reuse)])
        if status in OPENS[reuse]:
            assert (answer.accepted, answer.run, answer.status) == (True, 2, ExecutionStatus.PENDING)
            assert answer.scheduled_at == now(clock)
            assert (await read(scheduler)).payload == "second"
        else:
            assert (answer.accepted, answer.run, answer.status) == (False, 1, status)
            assert answer.scheduled_at == before.scheduled_at
            assert await read(scheduler) == before

    @pytest.mark.parametrize("status", ExecutionStatus)
    async def test_rule_1_a_start_whose_key_the_run_has_is_that_start(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus
    ) -> None:
        await in_status(scheduler, status, start_key="same")
        before = await read(scheduler)
        clock.advance(1)
        (again,) = await scheduler.start([new(start_key="same")])
        assert (again.accepted, again.run, again.status, again.scheduled_at) == (True, 1, status, before.scheduled_at)
        assert await read(scheduler) == before

    async def test_rule_1_a_start_whose_key_an_older_run_has_is_that_start(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        first, second = new("a", start_key="first"), new("a", start_key="second")
        (opened,) = await scheduler.start([first])
        await commit(scheduler, await claim(scheduler), move=completed())
        clock.advance(1)
        await scheduler.start([second])
        (again,) = await scheduler.start([first])
        assert (again.accepted, again.run, again.status) == (True, 1, ExecutionStatus.COMPLETED)
        assert again.scheduled_at == opened.scheduled_at
        await scheduler.cancel(["a"])
        (again,) = await scheduler.start([first])
        assert (again.accepted, again.run) == (True, 1)
        assert (await read(scheduler)).run == 2

    async def test_rule_1_one_key_starts_two_ids(self, scheduler: Storage) -> None:
        answers = await scheduler.start([new("a", start_key="same"), new("b", start_key="same")])
        assert [(each.accepted, each.run) for each in answers] == [(True, 1), (True, 1)]
        assert (await read(scheduler, "b")).id == "b"

    async def test_rule_1_one_id_twice_in_one_call_is_two_starts_in_order(self, scheduler: Storage) -> None:
        answers = await scheduler.start([new("a", payload="1"), new("b", payload="2"), new("a", payload="3")])
        assert [(each.accepted, each.run) for each in answers] == [(True, 1), (True, 1), (False, 1)]
        assert (await read(scheduler)).payload == "1"

    async def test_rule_1_one_start_twice_in_one_call_is_one(self, scheduler: Storage) -> None:
        start = new("a")
        answers = await scheduler.start([start, start])
        assert answers[0] == answers[1]
        assert answers[0].accepted

    async def test_rule_1_one_ended_id_twice_in_one_call_opens_one_run(self, scheduler: Storage) -> None:
        await ended(scheduler, ExecutionStatus.COMPLETED)
        answers = await scheduler.start([new("a", payload="1"), new("a", payload="2")])
        assert [(each.accepted, each.run) for each in answers] == [(True, 2), (False, 2)]
        assert (await read(scheduler)).payload == "1"

    async def test_rule_1_the_answers_come_in_the_order_of_the_starts(self, scheduler: Storage, clock: FakeClock) -> None:
        known = [f"x{number}" for number in range(0, 50, 7)]
        await scheduler.start([new(each) for each in known])
        starts = [new(f"x{number}", delay=number * SECOND) for number in reversed(range(50))]
        answers = await scheduler.start(starts)
        assert [each.accepted for each in answers] == [start.id not in known for start in starts]
        assert [each.scheduled_at - now(clock) for each in answers] == [
            0 if start.id in known else start.delay for start in starts
        ]

    async def test_rule_1_ten_thousand_starts_in_one_call(self, scheduler: Storage) -> None:
        answers = await scheduler.start([new(f"x{number}") for number in range(10_000)])
        assert len(answers) == 10_000
        assert all(each.accepted and each.run == 1 for each in answers)

    async def test_rule_1_no_start_is_no_answer(self, scheduler: Storage) -> None:
        assert list(await scheduler.start([])) == []

    async def test_rule_1_the_fence_goes_on_over_runs(self, scheduler: Storage) -> None:
        fences = []
        await register(scheduler)
        for _ in range(3):
            await scheduler.start([new()])
            claimed = await claim(scheduler)
            fences.append(claimed.token.fence)
            await commit(scheduler, claimed, move=completed())
        await scheduler.start([new()])
        await scheduler.cancel(["a"])  # raises it too
        await scheduler.start([new()])
        fences.append((await claim(scheduler)).token.fence)
        assert fences == sorted(set(fences))
        assert fences[3] > fences[2] + 1

    async def test_rule_1_a_new_run_starts_from_nothing_and_the_old_one_is_kept(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event(payload="old"))
        await commit(scheduler, claimed, outcome(1), move=completed("done"))
        old = await read(scheduler)
        clock.advance(1)
        await scheduler.start([new("a", "t2", payload="second", queue="q2")])
        fresh = await read(scheduler)
        assert (fresh.run, fresh.task, fresh.queue, fresh.payload) == (2, "t2", "q2", "second")
        assert (fresh.result, fresh.attempt, fresh.mail, fresh.started_at, fresh.completed_at) == (None, 0, 0, None, None)
        assert (await history(scheduler), await mailbox(scheduler)) == ([], [])
        assert await read(scheduler, "a", 1) == old
        assert await history(scheduler, "a", 1) == [outcome(1)]
        assert await mailbox(scheduler, "a", 1) == [(1, "old")]

    async def test_rule_1_ids_are_told_apart_to_the_last_character(self, scheduler: Storage) -> None:
        answers = await scheduler.start([new(each, payload=each) for each in NAMES])
        assert all(each.accepted for each in answers)
        assert [(await read(scheduler, each)).payload for each in NAMES] == list(NAMES)
        assert [(await read(scheduler, each)).id for each in NAMES] == list(NAMES)

    async def test_rule_1_keys_are_told_apart_to_the_last_character(self, scheduler: Storage) -> None:
        await ended(scheduler, ExecutionStatus.COMPLETED)
        await scheduler.start([new("a", start_key="key")])
        await scheduler.cancel(["a"])
        (answer,) = await scheduler.start([new("a", start_key="Key ")])
        assert (answer.accepted, answer.run) == (True, 3)

    @pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
    async def test_rule_1_the_input_comes_back_as_it_was(self, scheduler: Storage, payload: str) -> None:
        await register(scheduler)
        await scheduler.start([new(payload=payload)])
        assert (await read(scheduler)).payload == payload
        (claimed,) = await scheduler.claim(demand())
        assert claimed.payload == payload
