"""Rule 3: what is written, what is lost, and what is said twice."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import pytest
from attrs import evolve

from zart.records import SUSPECT, Commit, Fate, Move, StepRecord
from zart.scheduler import Storage
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    HOSTILE,
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
    ended,
    event,
    history,
    new,
    now,
    outcome,
    read,
    register,
    running,
    waiting,
)

MOVES = [
    waiting(),
    Move(ExecutionStatus.WAITING, due_at=2**52),
    Move(ExecutionStatus.PENDING, due_at=2**52, attempt=1, reason="again later"),
    completed(),
    Move(ExecutionStatus.FAILED, payload="the failure", reason="it broke"),
]


class Commits(Scene):
    """Which commits are applied, lost, or applied already."""

    async def test_rule_3_records_are_saved(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        answer = await commit(scheduler, claimed, outcome(1), outcome(2))
        assert (answer.fate, list(answer.mail), list(answer.withheld), answer.reason) == (Fate.APPLIED, [], [], None)
        assert await history(scheduler) == [outcome(1), outcome(2)]
        assert (await read(scheduler)).status is ExecutionStatus.RUNNING

    async def test_rule_3_the_answers_come_in_the_order_of_the_commits(self, scheduler: Storage) -> None:
        claims = await running(scheduler, *"abcdefgh")
        await scheduler.cancel(["b", "e", "f"])
        await deliver(scheduler, event("c"), event("h"))
        shuffled = [claims[index] for index in (7, 1, 2, 5, 0, 4, 3, 6)]
        answers = await scheduler.commit([Commit(each.token, [outcome(1)], 0) for each in shuffled])
        fates = [Fate.LOST if each.token.execution_id in "bef" else Fate.APPLIED for each in shuffled]
        assert [each.fate for each in answers] == fates
        assert [len(each.mail) for each in answers if each.fate is Fate.APPLIED] == [1, 1, 0, 0, 0]

    async def test_rule_3_no_commit_is_no_answer(self, scheduler: Storage) -> None:
        assert list(await scheduler.commit([])) == []

    async def test_rule_3_many_records_of_many_executions_in_one_call(self, scheduler: Storage) -> None:
        claims = await running(scheduler, *(f"x{number}" for number in range(100)))
        commits = [
            Commit(each.token, [outcome(seq, f"{index}/{seq}") for seq in range(20)], 0) for index, each in enumerate(claims)
        ]
        assert {each.fate for each in await scheduler.commit(commits)} == {Fate.APPLIED}
        for index in (0, 42, 99):
            assert [step.payload for step in await history(scheduler, f"x{index}")] == [f"{index}/{seq}" for seq in range(20)]

    async def test_rule_3_a_lost_commit_changes_nothing_and_the_others_apply(self, scheduler: Storage) -> None:
        first, second, third = await running(scheduler, "a", "b", "c")
        await commit(scheduler, second, move=waiting(0))
        await register(scheduler, "other")
        again = await claim(scheduler, "other")
        before = await read(scheduler, "b")
        answers = await scheduler.commit(
            [Commit(each.token, [outcome(1, each.token.execution_id)], 0, completed()) for each in (first, second, third)]
        )
        assert [each.fate for each in answers] == [Fate.APPLIED, Fate.LOST, Fate.APPLIED]
        assert await read(scheduler, "b") == before
        assert await history(scheduler, "b") == []
        assert await history(scheduler, "c") == [outcome(1, "c")]
        assert (await commit(scheduler, again, outcome(1))).fate is Fate.APPLIED

    async def test_rule_3_a_fence_that_was_not_given_yet_is_lost(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        ahead = evolve(claimed, token=evolve(claimed.token, fence=claimed.token.fence + 1))
        assert (await commit(scheduler, ahead, outcome(1), move=completed())).fate is Fate.LOST
        assert (await read(scheduler)).status is ExecutionStatus.RUNNING
        assert await history(scheduler) == []

    @pytest.mark.parametrize("move", MOVES, ids=lambda move: move.status)
    async def test_rule_3_records_for_what_no_longer_runs_are_lost(self, scheduler: Storage, move: Move) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, move=move)
        assert (await commit(scheduler, claimed, outcome(1))).fate is Fate.LOST
        assert await history(scheduler) == []

    @pytest.mark.parametrize("move", [None, *MOVES], ids=lambda move: move and move.status)
    async def test_rule_3_after_a_cancel_every_commit_is_lost(self, scheduler: Storage, move: Move | None) -> None:
        (claimed,) = await running(scheduler, "a")
        await scheduler.cancel(["a"])
        before = await read(scheduler)
        assert (await commit(scheduler, claimed, outcome(1), move=move)).fate is Fate.LOST
        assert await read(scheduler) == before
        assert await history(scheduler) == []

    @pytest.mark.parametrize("move", [None, *MOVES], ids=lambda move: move and move.status)
    async def test_rule_3_after_a_takeover_every_commit_is_lost(
        self, scheduler: Storage, clock: FakeClock, move: Move | None
    ) -> None:
        (lost,) = await running(scheduler, "a", lease=LEASE)
        await crash(scheduler, clock, "w")
        before = await read(scheduler)
        (kept,) = await running(scheduler, "b", task="t2", worker="other")
        commits = [Commit(each.token, [outcome(1)], 0, move) for each in (kept, lost)]
        assert [each.fate for each in await scheduler.commit(commits)] == [Fate.APPLIED, Fate.LOST]
        assert await read(scheduler) == before
        assert await history(scheduler) == []
        assert await history(scheduler, "b") == [outcome(1)]

    @pytest.mark.parametrize("move", [None, *MOVES], ids=lambda move: move and move.status)
    async def test_rule_3_what_another_worker_runs_is_lost(
        self, scheduler: Storage, clock: FakeClock, move: Move | None
    ) -> None:
        (zombie,) = await running(scheduler, "a", lease=LEASE)
        await crash(scheduler, clock, "w")
        await register(scheduler, "other")
        owner = await claim(scheduler, "other")
        before = await read(scheduler)
        assert (await commit(scheduler, zombie, outcome(1, "late"), move=move)).fate is Fate.LOST
        assert await read(scheduler) == before
        assert (await commit(scheduler, owner, outcome(1, "right"), move=completed())).fate is Fate.APPLIED
        assert await history(scheduler) == [outcome(1, "right")]
        assert (await commit(scheduler, zombie, outcome(2), move=completed("late"))).fate is Fate.LOST
        assert (await read(scheduler)).result == "output"

    @pytest.mark.parametrize("move", [None, completed()], ids=["record", "move"])
    @pytest.mark.parametrize("steps", [[], [outcome(1)]], ids=["alone", "with a record"])
    async def test_rule_3_an_old_fence_is_lost_though_nothing_else_has_changed(
        self, scheduler: Storage, move: Move | None, steps: list[StepRecord]
    ) -> None:
        (old,) = await running(scheduler, "a")
        await scheduler.beat(beat(leaving=True))
        await register(scheduler, "other")
        (held,) = await scheduler.claim(demand("other"))
        before = await read(scheduler)
        assert before.crashes == 0
        assert (await scheduler.commit([Commit(old.token, list(steps), 0, move)]))[0].fate is Fate.LOST
        assert await read(scheduler) == before
        assert await history(scheduler) == []
        assert (await commit(scheduler, held, outcome(1))).fate is Fate.APPLIED

    async def test_rule_3_an_old_runs_token_writes_nothing_to_the_next_run(self, scheduler: Storage) -> None:
        old = await ended(scheduler, ExecutionStatus.COMPLETED)
        await scheduler.start([new("a")])
        await claim(scheduler)
        before = await read(scheduler)
        assert (await commit(scheduler, old, outcome(2))).fate is Fate.LOST
        await commit(scheduler, old, outcome(2), move=completed("twice"))
        assert await read(scheduler) == before
        assert await history(scheduler) == []
        assert await history(scheduler, "a", 1) == [outcome(1)]

    async def test_rule_3_the_first_record_of_a_seq_wins(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(1, "first"), outcome(2, "first"))
        second = [outcome(2, "second", ok=False), outcome(3, "second"), outcome(1, "second")]
        assert (await commit(scheduler, claimed, *second)).fate is Fate.APPLIED
        assert [step.payload for step in await history(scheduler)] == ["first", "first", "second"]

    async def test_rule_3_one_seq_twice_in_one_commit_is_saved_once(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        assert (await commit(scheduler, claimed, outcome(1, "first"), outcome(1, "second"))).fate is Fate.APPLIED
        assert await history(scheduler) == [outcome(1, "first")]

    async def test_rule_3_one_seq_of_two_runs_is_two_records(self, scheduler: Storage) -> None:
        first, second = await running(scheduler, "a", "b")
        await scheduler.commit([Commit(first.token, [outcome(1, "a")], 0), Commit(second.token, [outcome(1, "b")], 0)])
        assert (await history(scheduler, "a"), await history(scheduler, "b")) == ([outcome(1, "a")], [outcome(1, "b")])

    async def test_rule_3_and_10_a_commit_repeated_after_a_lost_reply_is_applied(self, scheduler: Storage) -> None:
        claims = await running(scheduler, "a", "b")
        commits = [Commit(each.token, [outcome(1), outcome(2)], 0) for each in claims]
        first = await scheduler.commit(commits)
        assert await scheduler.commit(commits) == first
        assert await history(scheduler) == [outcome(1), outcome(2)]

    @pytest.mark.parametrize("move", MOVES, ids=lambda move: f"{move.status}-{move.due_at}")
    async def test_rule_3_and_10_a_move_repeated_after_a_lost_reply_was_applied(
        self, scheduler: Storage, clock: FakeClock, move: Move
    ) -> None:
        claims = await running(scheduler, "a", "b")
        commits = [Commit(each.token, [outcome(1)], 0, move) for each in claims]
        first = await scheduler.commit(commits)
        before = await read(scheduler)
        clock.advance(1)
        assert [each.fate for each in first] == [Fate.APPLIED, Fate.APPLIED]
        assert await scheduler.commit(commits) == first
        assert await read(scheduler) == before
        assert await history(scheduler) == [outcome(1)]

    async def test_rule_3_a_repeated_move_is_lost_once_another_has_claimed(self, scheduler: Storage, clock: FakeClock) -> None:
        (first,) = await running(scheduler, "a")
        await commit(scheduler, first, outcome(1), move=waiting(now(clock)))
        await register(scheduler, "other")
        await claim(scheduler, "other")
        before = await read(scheduler)
        assert (await commit(scheduler, first, outcome(1), move=waiting(now(clock)))).fate is Fate.LOST
        assert await read(scheduler) == before

    async def test_rule_3_a_repeated_move_is_lost_once_its_own_worker_has_claimed_again(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        (first,) = await running(scheduler, "a")
        await commit(scheduler, first, move=waiting(now(clock)))
        await claim(scheduler)
        assert (await commit(scheduler, first, move=completed())).fate is Fate.LOST
        assert (await read(scheduler)).status is ExecutionStatus.RUNNING

    async def test_rule_3_an_outcome_that_is_said_again_forgives_no_later_crash(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(1), move=waiting(now(clock)))
        await register(scheduler, "v", lease=LEASE)
        await claim(scheduler, "v")
        await crash(scheduler, clock, "v")
        again = await claim(scheduler)
        await commit(scheduler, again, outcome(1))
        assert (await read(scheduler)).crashes == 1
        await commit(scheduler, again, outcome(2))
        assert (await read(scheduler)).crashes == 0

    async def test_rule_3_a_saved_outcome_resets_the_crash_count(self, scheduler: Storage, clock: FakeClock) -> None:
        await crashed(scheduler, clock, SUSPECT, "a")
        await register(scheduler)
        claimed = await claim(scheduler)
        assert claimed.crashes == SUSPECT
        assert len(claimed.crashed_workers) == SUSPECT
        for seq, phase in enumerate((Phase.OPENED, Phase.ATTEMPT)):
            await commit(scheduler, claimed, StepRecord(seq, "s", StepKind.STEP, phase))
            assert (await read(scheduler)).crashes == SUSPECT
        await commit(scheduler, claimed, outcome(2, ok=False))
        execution = await read(scheduler)
        assert (execution.crashes, tuple(execution.crashed_workers)) == (0, ())

    @pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
    async def test_rule_3_payloads_come_back_as_they_were(self, scheduler: Storage, clock: FakeClock, payload: str) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(1, payload), move=waiting(now(clock), reason=payload[:255]))
        again = await claim(scheduler)
        assert [step.payload for step in again.steps] == [payload]
        assert (await read(scheduler)).reason == payload[:255]
        await commit(scheduler, again, move=completed(payload))
        assert (await read(scheduler)).result == payload

    async def test_rule_3_no_payload_and_an_empty_one_are_told_apart(self, scheduler: Storage) -> None:
        first, second = await running(scheduler, "a", "b")
        await commit(scheduler, first, outcome(1, None), outcome(2, ""), move=completed(None))
        await commit(scheduler, second, move=completed(""))
        assert [step.payload for step in await history(scheduler)] == [None, ""]
        assert ((await read(scheduler, "a")).result, (await read(scheduler, "b")).result) == (None, "")

    async def test_rule_3_names_of_steps_come_back_as_they_were(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        steps = [StepRecord(seq, name, StepKind.STEP, Phase.OUTCOME) for seq, name in enumerate(NAMES)]
        await commit(scheduler, claimed, *steps)
        assert await history(scheduler) == steps
