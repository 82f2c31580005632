"""Rule 2: claims."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import asyncio
from collections.abc import Sequence
from itertools import product

import pytest

from zart.clock import SECOND
from zart.errors import WorkerNotAlive
from zart.records import SUSPECT, Claim, Commit, Mail, StepRecord
from zart.scheduler import Storage
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    LEASE,
    NAMES,
    Scene,
    beat,
    claim,
    commit,
    completed,
    crash,
    crashed,
    deliver,
    demand,
    event,
    new,
    now,
    outcome,
    read,
    register,
    running,
    waiting,
)


def ids(claims: Sequence[Claim]) -> set[str]:
    """Return the ids of claimed executions, having made sure that none came twice."""
    found = [each.token.execution_id for each in claims]
    assert len(found) == len(set(found))
    return set(found)


class Claims(Scene):
    """What `claim` hands out, to whom, and what with."""

    async def test_rule_2_a_claim_carries_all_that_a_worker_needs(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new("a", "t", payload="hello")])
        at = now(clock)
        clock.advance(1)
        claimed = await claim(scheduler)
        assert claimed == Claim(
            token=claimed.token,
            task="t",
            queue="default",
            payload="hello",
            attempt=0,
            crashes=0,
            crashed_workers=(),
            scheduled_at=at,
            deadline=None,
            steps=claimed.steps,
            mail=claimed.mail,
            seen=0,
            now=now(clock),
        )
        assert (claimed.token.execution_id, claimed.token.run, claimed.token.fence) == ("a", 1, 1)
        assert (list(claimed.steps), list(claimed.mail)) == ([], [])

    async def test_rule_2_a_claim_carries_the_trace_of_the_start(self, scheduler: Storage, clock: FakeClock) -> None:
        traces = {"a": f"00-{1:032x}-{2:016x}-01", "b": None, "c": f"00-{3:032x}-{4:016x}-00", "d": None}
        await register(scheduler, "dies", lease=LEASE)
        await scheduler.start([new(each, trace=trace) for each, trace in traces.items()])
        await scheduler.start([new("alone", trace="x" * 255)])
        await scheduler.start([new("alone", trace="another's")])
        await scheduler.start([new("none"), new("of these")])
        traces |= {"alone": "x" * 255, "none": None, "of these": None}
        claimed = list(await scheduler.claim(demand("dies")))
        assert {each.token.execution_id: each.trace for each in claimed} == traces
        await crash(scheduler, clock, "dies")
        await register(scheduler)
        claimed = list(await scheduler.claim(demand()))
        assert {each.token.execution_id: each.trace for each in claimed} == traces
        await scheduler.commit([Commit(each.token, [], each.seen, completed()) for each in claimed])
        await scheduler.start([new("a", trace="next run's"), new("alone"), new("new", trace="new one's"), new("b")])
        again = {each.token.execution_id: each.trace for each in await scheduler.claim(demand())}
        assert again == {"a": "next run's", "alone": None, "new": "new one's", "b": None}

    async def test_rule_2_a_claimed_execution_runs_under_its_worker(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        clock.advance(1)
        before = await read(scheduler)
        claimed = await claim(scheduler)
        after = await read(scheduler)
        assert (after.status, after.worker, after.due_at) == (ExecutionStatus.RUNNING, "w", None)
        assert after.started_at == now(clock)
        assert after.fence == before.fence + 1 == claimed.token.fence

    async def test_rule_2_what_is_claimed_is_not_claimed_again(self, scheduler: Storage) -> None:
        await running(scheduler, "a", "b")
        await register(scheduler, "other")
        assert list(await scheduler.claim(demand())) == []
        assert list(await scheduler.claim(demand("other"))) == []

    async def test_rule_2_at_most_limit(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new(f"x{number}") for number in range(10)])
        taken = [ids(await scheduler.claim(demand(limit=limit))) for limit in (0, 1, 4, 10, 10)]
        assert [len(each) for each in taken] == [0, 1, 4, 5, 0]
        assert len(set().union(*taken)) == 10

    async def test_rule_2_those_due_longest_come_first(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        at = now(clock)
        ages = {"c": 3, "e": 1, "a": 5, "d": 2, "b": 4}
        starts = [new(each, f"t{age % 2}", queue=f"q{age % 3}", at=at - age * SECOND) for each, age in ages.items()]
        await scheduler.start(starts)
        everything = demand(tasks={"t0": None, "t1": None}, queues=("q0", "q1", "q2"), limit=2)
        assert [ids(await scheduler.claim(everything)) for _ in range(4)] == [{"a", "b"}, {"c", "d"}, {"e"}, set()]

    async def test_rule_2_of_the_queues_and_tasks_asked_for(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new(f"{task} in {queue}", task, queue=queue) for task in "tu" for queue in ("q", "r", "s")])
        assert ids(await scheduler.claim(demand(tasks={"t": None}, queues=("q", "r")))) == {"t in q", "t in r"}
        assert ids(await scheduler.claim(demand(tasks={"u": None, "v": None}, queues=("s",)))) == {"u in s"}
        assert ids(await scheduler.claim(demand(tasks={}, queues=("q", "r", "s")))) == set()
        assert ids(await scheduler.claim(demand(tasks={"t": None, "u": None}, queues=()))) == set()

    async def test_rule_2_one_queue_named_twice_is_one(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new("a"), new("b")])
        assert ids(await scheduler.claim(demand(queues=("default", "default")))) == {"a", "b"}

    async def test_rule_2_tasks_and_queues_are_told_apart_to_the_last_character(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new(f"task {number}", name) for number, name in enumerate(NAMES)])
        await scheduler.start([new(f"queue {number}", queue=name) for number, name in enumerate(NAMES)])
        for number, name in enumerate(NAMES):
            assert ids(await scheduler.claim(demand(tasks={name: None}))) == {f"task {number}"}
            assert ids(await scheduler.claim(demand(queues=(name,)))) == {f"queue {number}"}

    async def test_rule_2_a_task_nobody_asks_for_holds_nobody_up(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new(f"x{number}", "unknown", at=now(clock) - SECOND) for number in range(2000)])
        await scheduler.start([new("a")])
        assert ids(await scheduler.claim(demand(limit=1))) == {"a"}

    async def test_rule_2_no_execution_goes_to_two_callers(self, scheduler: Storage) -> None:
        workers = [f"w{number}" for number in range(4)]
        await register(scheduler, *workers)
        starts = [new(f"x{number}") for number in range(100)]
        await scheduler.start(starts)
        taken: list[str] = []
        for _ in range(100):
            answers = await asyncio.gather(*(scheduler.claim(demand(worker, limit=7)) for worker in workers * 2))
            taken += [each.token.execution_id for answer in answers for each in answer]
            if len(taken) >= len(starts):
                break
        assert sorted(taken) == sorted(start.id for start in starts)

    async def test_rule_2_nothing_is_claimed_before_it_is_due(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new(delay=60 * SECOND)])
        clock.advance(59.999999)
        assert ids(await scheduler.claim(demand())) == set()
        clock.advance(0.000001)
        assert ids(await scheduler.claim(demand())) == {"a"}

    async def test_rule_2_what_waits_without_a_deadline_is_never_due(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, move=waiting())
        clock.advance("20d")
        assert ids(await scheduler.claim(demand())) == set()

    async def test_rule_2_a_worker_that_never_registered_gets_nothing(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        with pytest.raises(WorkerNotAlive):
            await scheduler.claim(demand())
        assert (await read(scheduler)).status is ExecutionStatus.PENDING

    async def test_rule_2_a_worker_whose_lease_has_passed_gets_nothing(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler, lease=LEASE)
        await scheduler.start([new()])
        clock.advance(LEASE / SECOND + 1)
        with pytest.raises(WorkerNotAlive):
            await scheduler.claim(demand())
        assert (await read(scheduler)).status is ExecutionStatus.PENDING
        await scheduler.beat(beat(lease=LEASE, in_time=False))
        assert ids(await scheduler.claim(demand())) == {"a"}

    async def test_rule_2_a_worker_declared_dead_gets_nothing(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler, lease=LEASE)
        await scheduler.start([new()])
        await crash(scheduler, clock, "w")
        with pytest.raises(WorkerNotAlive):
            await scheduler.claim(demand())

    async def test_rule_2_a_worker_that_left_gets_nothing(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        await scheduler.beat(beat(leaving=True))
        with pytest.raises(WorkerNotAlive):
            await scheduler.claim(demand())

    async def test_rule_2_the_first_claim_sets_the_deadline_for_good(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        (started,) = await scheduler.start([new(delay=10 * SECOND)])
        clock.advance(30)
        (first,) = await scheduler.claim(demand(tasks={"t": 60 * SECOND}))
        deadline = started.scheduled_at + 60 * SECOND
        assert first.deadline == (await read(scheduler)).deadline == deadline
        await commit(scheduler, first, move=waiting(now(clock)))
        (second,) = await scheduler.claim(demand(tasks={"t": 600 * SECOND}))
        assert second.deadline == (await read(scheduler)).deadline == deadline

    async def test_rule_2_a_deadline_may_come_with_a_later_claim(self, scheduler: Storage, clock: FakeClock) -> None:
        (first,) = await running(scheduler, "a")
        assert first.deadline is None
        await commit(scheduler, first, move=waiting(now(clock)))
        (second,) = await scheduler.claim(demand(tasks={"t": 60 * SECOND}))
        assert second.deadline == first.scheduled_at + 60 * SECOND

    async def test_rule_2_only_the_first_claim_sets_started_at(self, scheduler: Storage, clock: FakeClock) -> None:
        (first,) = await running(scheduler, "a")
        started_at = now(clock)
        await commit(scheduler, first, move=waiting(now(clock) + SECOND))
        clock.advance(5)
        await claim(scheduler)
        assert (await read(scheduler)).started_at == started_at

    async def test_rule_2_the_history_comes_in_order_and_as_it_was(self, scheduler: Storage, clock: FakeClock) -> None:
        (first,) = await running(scheduler, "a")
        at = now(clock)
        steps = [
            StepRecord(10 + number, "" if kind is StepKind.BODY else f"'{kind}' 🦊", kind, phase, payload=f"{phase}")
            for number, (kind, phase) in enumerate(product(StepKind, Phase))
        ]
        steps.append(outcome(100, None, ok=False, attempts=3, due_at=at + 2**40, mail=2, started_at=at - 1, at=at))
        await commit(scheduler, first, *steps[7:])
        await commit(scheduler, first, *steps[:7], move=waiting(at))
        second = await claim(scheduler)
        assert list(second.steps) == steps

    async def test_rule_2_all_mail_comes_and_seen_is_the_last(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        at = now(clock)
        await deliver(scheduler, event(event_id="x", name="n1", payload="1"), event(event_id="a", name="n2", payload="2"))
        clock.advance(1)
        await deliver(scheduler, event(event_id="m", name="n1", payload="3"))
        claimed = await claim(scheduler)
        assert list(claimed.mail) == [
            Mail(1, "n1", "1", at),
            Mail(2, "n2", "2", at),
            Mail(3, "n1", "3", at + SECOND),
        ]
        assert claimed.seen == 3

    async def test_rule_2_seen_never_runs_ahead_of_the_mail(self, scheduler: Storage) -> None:
        await register(scheduler)
        events = [event(event_id=f"e{number}") for number in range(40)]
        for number in range(10):
            execution_id = f"x{number}"
            await scheduler.start([new(execution_id)])
            claiming = asyncio.ensure_future(scheduler.claim(demand()))
            await asyncio.gather(*(scheduler.deliver([event(execution_id, each.event_id)]) for each in events))
            assert [each.seen for each in await claiming] == [len(each.mail) for each in await claiming]

    async def test_rule_2_at_most_so_many_suspects(self, scheduler: Storage, clock: FakeClock) -> None:
        suspects = ("s1", "s2", "s3")
        await crashed(scheduler, clock, SUSPECT, *suspects)
        await register(scheduler)
        await scheduler.start([new("plain 1")])
        clock.advance(1)
        await scheduler.start([new("plain 2")])
        assert ids(await scheduler.claim(demand(suspects=0, limit=1))) == {"plain 1"}
        first = ids(await scheduler.claim(demand(suspects=1)))
        assert "plain 2" in first
        assert len(first & set(suspects)) == 1
        assert ids(await scheduler.claim(demand(suspects=0))) == set()
        assert first | ids(await scheduler.claim(demand(suspects=2))) == {"plain 2", *suspects}

    async def test_rule_2_one_crash_makes_no_suspect(self, scheduler: Storage, clock: FakeClock) -> None:
        await crashed(scheduler, clock, SUSPECT - 1, "a")
        await register(scheduler)
        (claimed,) = await scheduler.claim(demand(suspects=0))
        assert claimed.crashes == SUSPECT - 1
