"""Rule 5: events and mailboxes."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import asyncio

import pytest

from zart.clock import SECOND
from zart.records import Delivery, Mail, Move
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
    in_status,
    mailbox,
    new,
    now,
    read,
    register,
    running,
    waiting,
)

RECORDED, DUPLICATE, FINISHED, UNKNOWN = Delivery.RECORDED, Delivery.DUPLICATE, Delivery.FINISHED, Delivery.UNKNOWN


class Deliveries(Scene):
    """What `deliver` does with events, one by one and many at once."""

    async def test_rule_5_mail_is_kept_in_the_order_of_arrival(self, scheduler: Storage, clock: FakeClock) -> None:
        await scheduler.start([new()])
        at = now(clock)
        await deliver(scheduler, event(event_id="z", name="n", payload="1"), event(event_id="b", name="m", payload="2"))
        clock.advance(1)
        await deliver(scheduler, event(event_id="a", name="n", payload="3"))
        mail = (await scheduler.history("a")).mail
        assert list(mail) == [Mail(1, "n", "1", at), Mail(2, "m", "2", at), Mail(3, "n", "3", at + SECOND)]
        assert (await read(scheduler)).mail == 3

    @pytest.mark.parametrize("status", [status for status in ExecutionStatus if not status.is_terminal])
    async def test_rule_5_mail_is_taken_whatever_a_live_execution_does(
        self, scheduler: Storage, status: ExecutionStatus
    ) -> None:
        await in_status(scheduler, status)
        assert list(await scheduler.deliver([event()])) == [RECORDED]
        assert await mailbox(scheduler) == [(1, "fresh")]

    @pytest.mark.parametrize("due", [None, 60 * SECOND])
    async def test_rule_5_a_waiting_execution_becomes_due_now(
        self, scheduler: Storage, clock: FakeClock, due: int | None
    ) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, move=waiting(due and now(clock) + due))
        clock.advance(1)
        await deliver(scheduler, event())
        execution = await read(scheduler)
        assert (execution.status, execution.due_at) == (ExecutionStatus.WAITING, now(clock))
        assert (await claim(scheduler)).seen == 1

    async def test_rule_5_one_that_is_due_keeps_its_turn(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        due = now(clock) + SECOND
        await commit(scheduler, claimed, move=waiting(due))
        clock.advance(2)
        await deliver(scheduler, event())
        assert (await read(scheduler)).due_at == due

    async def test_rule_5_a_running_execution_goes_on(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        execution = await read(scheduler)
        assert (execution.status, execution.due_at, execution.worker) == (ExecutionStatus.RUNNING, None, "w")
        assert execution.fence == claimed.token.fence
        assert list(await scheduler.claim(demand())) == []

    @pytest.mark.parametrize("started", [True, False])
    async def test_rule_5_a_pending_execution_stays_as_it_is(
        self, scheduler: Storage, clock: FakeClock, *, started: bool
    ) -> None:
        due = now(clock) + 60 * SECOND
        if started:
            (claimed,) = await running(scheduler, "a")
            await commit(scheduler, claimed, move=Move(ExecutionStatus.PENDING, due))
        else:
            await scheduler.start([new(at=due)])
        await deliver(scheduler, event())
        execution = await read(scheduler)
        assert (execution.status, execution.due_at) == (ExecutionStatus.PENDING, due)

    async def test_rule_5_an_event_id_is_taken_once_per_run(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        await deliver(scheduler, event(event_id="e1", payload="first"))
        twice = [event(event_id="e1", name="other", payload="second"), event(event_id="e2"), event(event_id="e2")]
        assert list(await scheduler.deliver(twice)) == [DUPLICATE, RECORDED, DUPLICATE]
        assert await mailbox(scheduler) == [(1, "first"), (2, "fresh")]
        assert (await read(scheduler)).mail == 2

    async def test_rule_5_a_duplicate_wakes_nobody(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        await deliver(scheduler, event())
        await commit(scheduler, await claim(scheduler), move=waiting(seen=1))
        await scheduler.deliver([event()])
        assert (await read(scheduler)).due_at is None

    async def test_rule_5_two_executions_may_get_one_event_id(self, scheduler: Storage) -> None:
        await scheduler.start([new("a"), new("b")])
        assert list(await scheduler.deliver([event("a"), event("b")])) == [RECORDED, RECORDED]

    async def test_rule_5_the_next_run_may_get_the_event_id_again(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        await commit(scheduler, claimed, move=completed())
        await scheduler.start([new()])
        assert list(await scheduler.deliver([event(payload="again")])) == [RECORDED]
        assert await mailbox(scheduler) == [(1, "again")]

    async def test_rule_5_event_ids_are_told_apart_to_the_last_character(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        await deliver(scheduler, *(event(event_id=each, name=each, payload=each) for each in NAMES))
        mail = (await scheduler.history("a")).mail
        assert [(each.name, each.payload) for each in mail] == [(each, each) for each in NAMES]

    @pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
    async def test_rule_5_payloads_come_back_as_they_were(self, scheduler: Storage, payload: str) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event(payload=payload))
        answer = await commit(scheduler, claimed)
        assert [mail.payload for mail in answer.mail] == [payload]

    @pytest.mark.parametrize("status", sorted(TERMINAL))
    async def test_rule_5_a_finished_execution_takes_none(self, scheduler: Storage, status: ExecutionStatus) -> None:
        await ended(scheduler, status)
        assert list(await scheduler.deliver([event()])) == [FINISHED]
        assert await mailbox(scheduler) == []
        assert (await read(scheduler)).mail == 0

    async def test_rule_5_an_unknown_execution_takes_none(self, scheduler: Storage) -> None:
        assert list(await scheduler.deliver([event("nobody")])) == [UNKNOWN]

    async def test_rule_5_an_event_for_a_run_goes_to_that_run_only(self, scheduler: Storage) -> None:
        await ended(scheduler, ExecutionStatus.COMPLETED)
        await scheduler.start([new()])
        events = [event(event_id=f"e{run}", run=run) for run in (1, 2, 3)]
        assert list(await scheduler.deliver(events)) == [FINISHED, RECORDED, UNKNOWN]
        assert await mailbox(scheduler, "a", 1) == []
        assert await mailbox(scheduler, "a", 2) == [(1, "fresh")]

    async def test_rules_5_and_10_a_repeated_event_is_a_duplicate_even_after_the_end(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        await commit(scheduler, claimed, move=completed())
        assert list(await scheduler.deliver([event(), event(run=1)])) == [DUPLICATE, DUPLICATE]
        await scheduler.start([new()])
        assert list(await scheduler.deliver([event(run=1)])) == [DUPLICATE]

    async def test_rule_5_the_answers_come_in_the_order_of_the_events(self, scheduler: Storage) -> None:
        await ended(scheduler, ExecutionStatus.FAILED)
        await scheduler.start([new("b"), new("c")])
        events = [
            event("c", "1"),
            event("x", "1"),
            event("b", "1"),
            event("a", "1"),
            event("c", "1"),
            event("c", "2"),
            event("b", "2"),
        ]
        expected = [RECORDED, UNKNOWN, RECORDED, FINISHED, DUPLICATE, RECORDED, RECORDED]
        assert list(await scheduler.deliver(events)) == expected

    async def test_rule_5_many_events_of_many_executions_in_one_call(self, scheduler: Storage) -> None:
        await scheduler.start([new(f"x{number}") for number in range(50)])
        events = [event(f"x{number}", f"e{each}", payload=f"{number}/{each}") for each in range(40) for number in range(50)]
        assert set(await scheduler.deliver(events)) == {RECORDED}
        for number in (0, 17, 49):
            assert await mailbox(scheduler, f"x{number}") == [(each + 1, f"{number}/{each}") for each in range(40)]

    async def test_rule_5_no_event_is_no_answer(self, scheduler: Storage) -> None:
        assert list(await scheduler.deliver([])) == []

    async def test_rule_5_senders_at_once_leave_no_gap(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        calls = (scheduler.deliver([event(event_id=f"{sender}/{number}") for number in range(5)]) for sender in range(10))
        answers = await asyncio.gather(*calls)
        assert {each for answer in answers for each in answer} == {RECORDED}
        mail = (await scheduler.history("a")).mail
        assert [each.seq for each in mail] == list(range(1, 51))
