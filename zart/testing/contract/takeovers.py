"""Rule 7, the others' side: who is declared dead, and what becomes of what ran there."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

from datetime import timedelta

from attrs import evolve

from zart.clock import SECOND
from zart.records import SUSPECT, Fate, Query
from zart.scheduler import DEADLINE_GRACE, TAKEOVER, Storage
from zart.status import ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    LEASE,
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
    history,
    mailbox,
    new,
    now,
    outcome,
    read,
    register,
    running,
    waiting,
)

PENDING, RUNNING = ExecutionStatus.PENDING, ExecutionStatus.RUNNING


class Takeovers(Scene):
    """When a worker is declared dead, and how its executions are taken over."""

    async def test_rule_7_what_a_dead_worker_ran_is_due_again(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a", lease=LEASE)
        await commit(scheduler, claimed, outcome(1))
        await deliver(scheduler, event())
        clock.advance(LEASE / SECOND + 1)
        reply = await scheduler.beat(beat("other", register=True))
        assert (reply.alive, reply.taken_over) == (True, 1)
        execution = await read(scheduler)
        assert (execution.status, execution.due_at, execution.worker) == (PENDING, now(clock), None)
        assert execution.fence > claimed.token.fence
        assert (await history(scheduler), await mailbox(scheduler)) == ([outcome(1)], [(1, "fresh")])
        again = await claim(scheduler, "other")
        assert again.token.fence > execution.fence
        assert (again.crashes, tuple(again.crashed_workers)) == (1, ("w",))
        assert (list(again.steps), again.seen) == ([outcome(1)], 1)

    async def test_rule_7_nobody_is_declared_dead_before_the_lease_has_passed(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await running(scheduler, "a", lease=LEASE)
        clock.advance(LEASE / SECOND - 0.001)
        assert (await scheduler.beat(beat("other", register=True))).taken_over == 0
        clock.advance(0.002)
        assert (await scheduler.beat(beat("other"))).taken_over == 1

    async def test_rule_7_the_living_keep_what_they_run(self, scheduler: Storage, clock: FakeClock) -> None:
        await running(scheduler, "a", "b", lease=LEASE)
        kept = await running(scheduler, "c", worker="alive")
        await crash(scheduler, clock, "w")
        assert [(await read(scheduler, each)).status for each in "abc"] == [PENDING, PENDING, RUNNING]
        assert (await commit(scheduler, kept[0], outcome(1))).fate is Fate.APPLIED

    async def test_rule_7_who_was_late_itself_declares_nobody_dead(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a", lease=LEASE)
        await register(scheduler, "other")
        clock.advance("1h")
        assert (await scheduler.beat(beat("other", in_time=False))).taken_over == 0
        assert (await read(scheduler)).status is RUNNING
        assert (await scheduler.beat(beat(lease=LEASE, in_time=False))).alive
        assert (await scheduler.beat(beat("other"))).taken_over == 0
        assert (await commit(scheduler, claimed, outcome(1))).fate is Fate.APPLIED

    async def test_rule_7_a_beat_that_was_long_on_its_way_declares_nobody_dead(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        (claimed,) = await running(scheduler, "a", lease=LEASE)
        await scheduler.beat(beat("other", lease=LEASE, register=True))
        clock.advance(LEASE / SECOND + 1)
        assert (await scheduler.beat(beat("other", lease=LEASE))).taken_over == 0
        assert (await commit(scheduler, claimed, outcome(1))).fate is Fate.APPLIED
        assert (await scheduler.beat(beat("other", lease=LEASE))).taken_over == 1

    async def test_rule_7_who_was_late_takes_over_from_those_declared_dead_by_others(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await running(scheduler, *(f"x{number:03}" for number in range(TAKEOVER + 7)), lease=LEASE)
        await register(scheduler, "late")
        await crash(scheduler, clock, "w")
        assert (await scheduler.beat(beat("late", in_time=False))).taken_over == 7

    async def test_rule_7_a_lease_absurdly_far_in_the_future_counts_as_passed(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await running(scheduler, "a", lease=LEASE)
        clock.jump(timedelta(days=-1))
        assert (await scheduler.beat(beat("other", register=True))).taken_over == 1
        assert not (await scheduler.beat(beat(lease=LEASE))).alive

    async def test_rule_7_a_lease_a_little_far_in_the_future_stands(self, scheduler: Storage, clock: FakeClock) -> None:
        await running(scheduler, "a", lease=LEASE)
        clock.jump(timedelta(seconds=1 - LEASE / SECOND))
        assert (await scheduler.beat(beat("other", lease=SECOND, register=True))).taken_over == 0
        assert (await scheduler.beat(beat(lease=LEASE))).alive

    async def test_rule_7_one_beat_takes_over_one_batch_in_id_order(self, scheduler: Storage, clock: FakeClock) -> None:
        ids = [f"x{number:03}" for number in range(2 * TAKEOVER + 30)]
        await running(scheduler, *(ids[(index * 7) % len(ids)] for index in range(len(ids))), lease=LEASE)
        clock.advance(LEASE / SECOND + 1)
        taken = 0
        for batch in (TAKEOVER, TAKEOVER, 30, 0):
            assert (await scheduler.beat(beat("other", register=True))).taken_over == batch
            taken += batch
            page = await scheduler.find(Query(statuses=(PENDING,), limit=len(ids)))
            assert sorted(each.id for each in page.executions) == ids[:taken]

    async def test_rule_7_each_crash_counts_and_names_its_worker(self, scheduler: Storage, clock: FakeClock) -> None:
        await scheduler.start([new("a"), new("b")])
        for number in range(SUSPECT):
            await register(scheduler, f"w{number}", lease=LEASE)
            assert len(await scheduler.claim(demand(f"w{number}"))) == 2
            await crash(scheduler, clock, f"w{number}")
            for each in "ab":
                execution = await read(scheduler, each)
                assert execution.crashes == number + 1
                assert tuple(execution.crashed_workers) == tuple(f"w{index}" for index in range(number + 1))

    async def test_rule_7_if_a_suspect_was_there_only_it_counts(self, scheduler: Storage, clock: FakeClock) -> None:
        await crashed(scheduler, clock, SUSPECT, "m")
        await running(scheduler, "a", "z", lease=LEASE, task="u")
        assert len(await scheduler.claim(demand())) == 1
        await crash(scheduler, clock, "w")
        counts = {each: await read(scheduler, each) for each in "amz"}
        assert {each: execution.crashes for each, execution in counts.items()} == {"a": 0, "m": SUSPECT + 1, "z": 0}
        assert counts["m"].crashed_workers[-1] == "w"
        assert tuple(counts["a"].crashed_workers) == ()
        assert {execution.status for execution in counts.values()} == {PENDING}

    async def test_rule_7_a_suspect_in_the_first_batch_clears_those_in_the_next(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await crashed(scheduler, clock, SUSPECT, "a")
        ids = [f"x{number:03}" for number in range(TAKEOVER + 10)]
        await running(scheduler, *ids, lease=LEASE, task="u")
        assert len(await scheduler.claim(demand())) == 1
        await crash(scheduler, clock, "w")
        assert (await read(scheduler, ids[-1])).status is RUNNING
        assert (await scheduler.beat(beat("other", register=True))).taken_over == 11
        crashes = [(await read(scheduler, each)).crashes for each in ("a", ids[0], ids[-1])]
        assert crashes == [SUSPECT + 1, 0, 0]

    async def test_rule_7_a_suspect_in_the_last_batch_clears_those_in_the_first(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await crashed(scheduler, clock, SUSPECT, "z")
        ids = [f"x{number:03}" for number in range(TAKEOVER + 10)]
        await running(scheduler, *ids, lease=LEASE, task="u")
        assert len(await scheduler.claim(demand())) == 1
        await crash(scheduler, clock, "w")
        await scheduler.beat(beat("other", register=True))
        crashes = [(await read(scheduler, each)).crashes for each in (ids[0], ids[-1], "z")]
        assert crashes == [0, 0, SUSPECT + 1]

    async def test_rule_7_a_suspect_that_saved_an_outcome_is_none(self, scheduler: Storage, clock: FakeClock) -> None:
        await crashed(scheduler, clock, SUSPECT, "m")
        await running(scheduler, "a", lease=LEASE, task="u")
        (cleared,) = await scheduler.claim(demand())
        await commit(scheduler, cleared, outcome(1))
        await crash(scheduler, clock, "w")
        assert [(await read(scheduler, each)).crashes for each in "am"] == [1, 1]

    async def test_rule_7_long_past_its_deadline_an_execution_is_taken_from_the_living(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await register(scheduler)
        await scheduler.start([new("a"), new("b"), new("c", "u")])
        (first, second) = await scheduler.claim(demand(tasks={"t": 60 * SECOND}))
        (third,) = await scheduler.claim(demand(tasks={"u": 120 * SECOND}))
        clock.advance((60 * SECOND + DEADLINE_GRACE) / SECOND - 0.001)
        await scheduler.beat(beat())
        assert (await read(scheduler)).status is RUNNING
        clock.advance(0.002)
        await scheduler.beat(beat())
        for each in (first, second):
            execution = await read(scheduler, each.token.execution_id)
            assert (execution.status, execution.due_at, execution.worker) == (PENDING, now(clock), None)
            assert (execution.crashes, tuple(execution.crashed_workers)) == (0, ())
            assert execution.fence > each.token.fence
        assert (await scheduler.beat(beat())).alive
        assert (await commit(scheduler, third, outcome(1))).fate is Fate.APPLIED
        assert len(await scheduler.claim(demand())) == 2

    async def test_rule_7_a_later_deadline_is_the_one_that_counts(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        (first,) = await scheduler.claim(demand(tasks={"t": 60 * SECOND}))
        at = now(clock)
        later = at + 600 * SECOND
        await commit(scheduler, first, move=waiting(at, deadline=later))
        again = await claim(scheduler)
        clock.advance(300)
        await scheduler.beat(beat())
        assert (await commit(scheduler, again, outcome(1))).fate is Fate.APPLIED

    async def test_rule_7_what_the_dead_let_go_is_left_alone(self, scheduler: Storage, clock: FakeClock) -> None:
        parked, done, cancelled = await running(scheduler, "a", "b", "c", lease=LEASE)
        await commit(scheduler, parked, move=waiting())
        await commit(scheduler, done, move=completed())
        await scheduler.cancel([cancelled.token.execution_id])
        before = [await read(scheduler, each) for each in "abc"]
        clock.advance(LEASE / SECOND + 1)
        assert (await scheduler.beat(beat("other", register=True, tasks=()))).taken_over == 0
        after = [await read(scheduler, each) for each in "abc"]
        assert [evolve(each, served=True) for each in after] == before
