"""Rules 3 and 4: what becomes of an execution, and how mail keeps it from parking or timing out."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import pytest

from zart.clock import SECOND
from zart.records import SUSPECT, Commit, Committed, Delivery, Fate, Move
from zart.scheduler import Storage
from zart.status import TERMINAL, ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    Scene,
    claim,
    commit,
    completed,
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


def payloads(answer: Committed) -> list[str]:
    """Return what the mail that came back says."""
    return [mail.payload for mail in answer.mail]


class Moves(Scene):
    """What a move does, and what mail does to it."""

    @pytest.mark.parametrize("status", [ExecutionStatus.PENDING, ExecutionStatus.WAITING])
    async def test_rule_3_a_move_ends_the_hold_until_it_is_due(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus
    ) -> None:
        (claimed,) = await running(scheduler, "a")
        due = now(clock) + 60 * SECOND
        await commit(scheduler, claimed, move=Move(status, due, reason="later"))
        execution = await read(scheduler)
        assert (execution.status, execution.due_at, execution.worker) == (status, due, None)
        assert (execution.reason, execution.fence, execution.completed_at) == ("later", claimed.token.fence, None)
        clock.advance(59)
        assert list(await scheduler.claim(demand())) == []
        clock.advance(1)
        again = await claim(scheduler)
        assert again.token.fence == claimed.token.fence + 1
        assert (again.token.run, again.token.key) == (1, claimed.token.key)

    @pytest.mark.parametrize("status", [ExecutionStatus.COMPLETED, ExecutionStatus.FAILED])
    async def test_rule_3_a_terminal_move_ends_the_run(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus
    ) -> None:
        (claimed,) = await running(scheduler, "a")
        clock.advance(5)
        await commit(scheduler, claimed, outcome(1), move=Move(status, due_at=1, payload="the end", reason="so be it"))
        execution = await read(scheduler)
        assert (execution.status, execution.result, execution.reason) == (status, "the end", "so be it")
        assert (execution.completed_at, execution.due_at, execution.worker) == (now(clock), None, None)
        assert await history(scheduler) == [outcome(1)]

    @pytest.mark.parametrize("status", sorted(TERMINAL))
    async def test_rule_3_a_terminal_status_absorbs_everything(
        self, scheduler: Storage, clock: FakeClock, status: ExecutionStatus
    ) -> None:
        claimed = await ended(scheduler, status)
        before = await read(scheduler)
        clock.advance("1d")
        assert (await commit(scheduler, claimed, outcome(9))).fate is Fate.LOST
        await commit(scheduler, claimed, outcome(9), move=waiting(now(clock)))
        assert await scheduler.cancel(["a"]) == {"a": (status, False)}
        assert list(await scheduler.deliver([event()])) == [Delivery.FINISHED]
        assert list(await scheduler.claim(demand())) == []
        assert await read(scheduler) == before

    async def test_rule_3_attempt_and_deadline_are_kept_unless_given(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        at = now(clock)
        await commit(scheduler, claimed, move=waiting(at, attempt=2, deadline=at + SECOND))
        again = await claim(scheduler)
        assert (again.attempt, again.deadline) == (2, at + SECOND)
        await commit(scheduler, again, move=waiting(at))
        again = await claim(scheduler)
        assert (again.attempt, again.deadline) == (2, at + SECOND)
        await commit(scheduler, again, move=waiting(at, attempt=0, deadline=at + 2 * SECOND))
        again = await claim(scheduler)
        assert (again.attempt, again.deadline) == (0, at + 2 * SECOND)

    async def test_rule_3_a_reason_lasts_until_the_next_move(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, move=waiting(now(clock), reason="set aside"))
        assert (await read(scheduler)).reason == "set aside"
        await commit(scheduler, await claim(scheduler), move=completed())
        assert (await read(scheduler)).reason is None

    @pytest.mark.parametrize("mail", [0, 1, 3])
    async def test_rule_4_a_move_that_has_seen_all_mail_parks(self, scheduler: Storage, clock: FakeClock, mail: int) -> None:
        (claimed,) = await running(scheduler, "a")
        for number in range(mail):
            await deliver(scheduler, event(event_id=f"e{number}"))
        due = now(clock) + SECOND
        answer = await commit(scheduler, claimed, move=waiting(due, seen=mail), seen=mail)
        assert (answer.fate, list(answer.mail)) == (Fate.APPLIED, [])
        execution = await read(scheduler)
        assert (execution.status, execution.due_at) == (ExecutionStatus.WAITING, due)

    async def test_rule_4_a_move_that_has_not_seen_all_mail_makes_it_due_now(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        await deliver(scheduler, event(event_id="e1", payload="first"))
        claimed = await claim(scheduler)
        await deliver(scheduler, event(event_id="e2", payload="second"))
        move = waiting(now(clock) + 60 * SECOND, seen=1, attempt=4, deadline=2**52)
        answer = await commit(scheduler, claimed, move=move)
        assert (answer.fate, payloads(answer)) == (Fate.APPLIED, ["second"])
        execution = await read(scheduler)
        assert (execution.status, execution.due_at, execution.worker) == (ExecutionStatus.PENDING, now(clock), None)
        assert (execution.attempt, execution.deadline) == (4, 2**52)
        again = await claim(scheduler)
        assert [mail.payload for mail in again.mail] == ["first", "second"]
        assert again.seen == 2

    async def test_rule_4_a_wait_without_a_deadline_is_not_missed_either(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        await commit(scheduler, claimed, move=waiting(seen=0))
        assert (await claim(scheduler)).seen == 1

    async def test_rule_4_a_move_without_seen_parks_whatever_came(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event(payload="new"))
        due = now(clock) + SECOND
        answer = await commit(scheduler, claimed, move=waiting(due))
        assert (answer.fate, payloads(answer)) == (Fate.APPLIED, ["new"])
        execution = await read(scheduler)
        assert (execution.status, execution.due_at) == (ExecutionStatus.WAITING, due)

    async def test_rule_4_a_repeated_move_that_did_not_park_was_applied(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        first = await commit(scheduler, claimed, outcome(1), move=waiting(seen=0))
        before = await read(scheduler)
        assert await commit(scheduler, claimed, outcome(1), move=waiting(seen=0)) == first
        assert await read(scheduler) == before

    async def test_rule_4_every_reply_brings_the_mail_past_seen(self, scheduler: Storage) -> None:
        first, second = await running(scheduler, "a", "b")
        await deliver(scheduler, *(event("a", f"e{number}", payload=f"{number}") for number in range(1, 5)))
        for seen in range(5):
            answers = await scheduler.commit([Commit(first.token, [outcome(seen)], seen), Commit(second.token, [], 0)])
            assert payloads(answers[0]) == [f"{number}" for number in range(seen + 1, 5)]
            assert [mail.seq for mail in answers[0].mail] == list(range(seen + 1, 5))
            assert payloads(answers[1]) == []

    async def test_rule_4_a_reply_to_a_terminal_move_brings_mail_too(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event(payload="too late"))
        answer = await commit(scheduler, claimed, move=completed())
        assert (answer.fate, payloads(answer)) == (Fate.APPLIED, ["too late"])
        assert (await read(scheduler)).status is ExecutionStatus.COMPLETED

    async def test_rule_4_a_record_that_has_seen_all_mail_is_written(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        answer = await commit(scheduler, claimed, outcome(1, "timed out", seen=1), seen=1)
        assert (answer.fate, list(answer.withheld)) == (Fate.APPLIED, [])
        assert await history(scheduler) == [outcome(1, "timed out")], "a record's `seen` is not stored"

    async def test_rule_4_a_record_that_has_not_is_withheld_and_the_others_are_written(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event(payload="just in time"))
        answer = await commit(scheduler, claimed, outcome(1), outcome(2, seen=0), outcome(3), outcome(4, seen=0))
        assert (answer.fate, list(answer.withheld), payloads(answer)) == (Fate.APPLIED, [2, 4], ["just in time"])
        assert await history(scheduler) == [outcome(1), outcome(3)]

    async def test_rule_4_each_record_has_seen_for_itself(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event(event_id="e1"), event(event_id="e2"))
        answer = await commit(scheduler, claimed, outcome(1, seen=1), outcome(2, seen=2), seen=2)
        assert (list(answer.withheld), payloads(answer)) == ([1], [])
        assert await history(scheduler) == [outcome(2)]

    async def test_rule_4_a_withheld_record_may_be_written_later(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        await commit(scheduler, claimed, outcome(1, "timed out", seen=0), outcome(2))
        answer = await commit(scheduler, claimed, outcome(1, "taken", mail=1), move=waiting(now(clock)), seen=1)
        assert list(answer.withheld) == []
        assert list((await claim(scheduler)).steps) == [outcome(1, "taken", mail=1), outcome(2)]

    async def test_rules_4_and_10_a_withheld_record_is_withheld_again(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        first = await commit(scheduler, claimed, outcome(1, seen=0), outcome(2))
        assert await commit(scheduler, claimed, outcome(1, seen=0), outcome(2)) == first
        assert await history(scheduler) == [outcome(2)]

    async def test_rules_4_and_10_a_repeated_move_still_names_what_was_withheld(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await deliver(scheduler, event())
        steps = (outcome(1, seen=0), outcome(2))
        first = await commit(scheduler, claimed, *steps, move=waiting(seen=0))
        assert list(first.withheld) == [1]
        assert await commit(scheduler, claimed, *steps, move=waiting(seen=0)) == first
        assert await history(scheduler) == [outcome(2)]

    async def test_rules_4_and_10_a_record_already_there_is_not_withheld(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(1, seen=0))
        await deliver(scheduler, event(payload="after it"))
        answer = await commit(scheduler, claimed, outcome(1, seen=0))
        assert (answer.fate, list(answer.withheld), payloads(answer)) == (Fate.APPLIED, [], ["after it"])
        assert await history(scheduler) == [outcome(1)]

    async def test_rules_3_and_4_a_withheld_outcome_resets_no_crash_count(self, scheduler: Storage, clock: FakeClock) -> None:
        await crashed(scheduler, clock, SUSPECT, "a")
        await register(scheduler)
        claimed = await claim(scheduler)
        await deliver(scheduler, event())
        await commit(scheduler, claimed, outcome(1, seen=0))
        assert (await read(scheduler)).crashes == SUSPECT
