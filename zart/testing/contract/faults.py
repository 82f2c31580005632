"""Rules 8 to 10 where they are nobody else's matter: callers that meet, rows that cannot be held, calls that come twice."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import asyncio

from zart.clock import SECOND
from zart.records import Commit, Delivery, Fate, Move
from zart.scheduler import Scheduler, Storage
from zart.status import ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    LEASE,
    Scene,
    beat,
    claim,
    commit,
    demand,
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

UNWRITABLE = "half a pair: \ud800"
"""Text that UTF-8 has no bytes for; the codec makes none, a foreign writer might."""


class Faults(Scene):
    """What happens when callers meet, when a row is bad, and when a call comes twice."""

    async def test_a_backend_has_every_method_of_the_port(self, scheduler: Storage) -> None:
        assert isinstance(scheduler, Scheduler)
        assert all(callable(getattr(scheduler, name)) for name in ("get", "history", "find", "count"))

    async def test_rule_8_callers_that_name_the_same_rows_in_any_order_all_get_answers(self, scheduler: Storage) -> None:
        ids = [f"x{number:02}" for number in range(30)]
        claims = await running(scheduler, *ids)
        calls = []
        for number in range(6):
            order = claims if number % 2 else claims[::-1]
            names = [each.token.execution_id for each in order]
            calls += [
                scheduler.deliver([event(each, f"e{number}") for each in names]),
                scheduler.start([new(each) for each in names]),
            ]
        for number in range(6):
            order = claims if number % 2 else claims[::-1]
            calls.append(_until_written(scheduler, [Commit(each.token, [outcome(number)], 0) for each in order]))
        await asyncio.gather(*calls)
        for each in ids:
            assert {step.seq for step in await history(scheduler, each)} == set(range(6))
            assert (await read(scheduler, each)).mail == 6

    async def test_rule_8_cancelling_against_commits_leaves_one_truth(self, scheduler: Storage) -> None:
        ids = [f"x{number:02}" for number in range(40)]
        claims = await running(scheduler, *ids)
        commits = [Commit(each.token, [outcome(1)], 0, Move(ExecutionStatus.COMPLETED, payload="won")) for each in claims]
        fates, answers = await asyncio.gather(_until_written(scheduler, commits), scheduler.cancel(ids[::-1]))
        for each, fate in zip(ids, fates, strict=True):
            status, cancelled = answers[each]
            assert (fate, status, cancelled) in {
                (Fate.APPLIED, ExecutionStatus.COMPLETED, False),
                (Fate.LOST, ExecutionStatus.CANCELLED, True),
            }
            assert (await read(scheduler, each)).status is status
            assert len(await history(scheduler, each)) == (fate is Fate.APPLIED)

    async def test_rule_8_mail_against_parking_is_never_slept_through(self, scheduler: Storage) -> None:
        ids = [f"x{number:02}" for number in range(40)]
        claims = await running(scheduler, *ids)
        parking = [Commit(each.token, [], 0, waiting(seen=0)) for each in claims]
        await asyncio.gather(_until_written(scheduler, parking), scheduler.deliver([event(each) for each in ids[::-1]]))
        again = await scheduler.claim(demand())
        assert sorted(each.token.execution_id for each in again) == ids
        assert {each.seen for each in again} == {1}

    async def test_rule_9_a_record_that_cannot_be_held_stops_no_other(self, scheduler: Storage) -> None:
        claims = await running(scheduler, "a", "b", "c")
        payloads = ["good", UNWRITABLE, "good"]
        commits = [Commit(each.token, [outcome(1, text)], 0) for each, text in zip(claims, payloads, strict=True)]
        first, odd, last = await scheduler.commit(commits)
        assert (first.fate, last.fate) == (Fate.APPLIED, Fate.APPLIED)
        assert await history(scheduler, "a") == await history(scheduler, "c") == [outcome(1, "good")]
        if odd.fate is Fate.APPLIED:
            assert await history(scheduler, "b") == [outcome(1, UNWRITABLE)]
        else:
            assert odd.fate is Fate.REFUSED
            assert odd.reason
            assert await history(scheduler, "b") == []
        assert (await commit(scheduler, claims[1], outcome(2))).fate is Fate.APPLIED

    async def test_rule_9_a_move_that_cannot_be_held_stops_no_other(self, scheduler: Storage) -> None:
        claims = await running(scheduler, "a", "b", "c")
        payloads = ["good", UNWRITABLE, "good"]
        moves = [Move(ExecutionStatus.COMPLETED, payload=text) for text in payloads]
        answers = await scheduler.commit(
            [Commit(each.token, [outcome(1)], 0, move) for each, move in zip(claims, moves, strict=True)]
        )
        assert (answers[0].fate, answers[2].fate) == (Fate.APPLIED, Fate.APPLIED)
        assert [(await read(scheduler, each)).result for each in "ac"] == ["good", "good"]
        odd = await read(scheduler, "b")
        if answers[1].fate is Fate.APPLIED:
            assert odd.result == UNWRITABLE
        else:
            assert (answers[1].fate, bool(answers[1].reason)) == (Fate.REFUSED, True)
            assert odd.status is ExecutionStatus.RUNNING
            assert await history(scheduler, "b") == []

    async def test_rule_10_repeated_events_are_recorded_once(self, scheduler: Storage) -> None:
        await scheduler.start([new("a"), new("b")])
        events = [event("a", "e1"), event("b", "e1"), event("a", "e2")]
        await scheduler.deliver(events)
        assert set(await scheduler.deliver(events)) == {Delivery.DUPLICATE}
        assert [(await read(scheduler, each)).mail for each in "ab"] == [2, 1]

    async def test_rule_10_a_claim_whose_reply_was_lost_comes_back_after_a_beat(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await running(scheduler, "a")
        clock.advance(1)
        await scheduler.beat(beat(held_at=now(clock)))
        again = await claim(scheduler)
        assert (again.token.fence > 1, again.crashes) == (True, 0)
        assert (await read(scheduler)).started_at == now(clock) - SECOND

    async def test_rule_10_a_claim_whose_reply_was_lost_comes_back_after_the_lease(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await running(scheduler, "a", lease=LEASE)
        clock.advance(LEASE / SECOND + 1)
        await register(scheduler, "other")
        await scheduler.beat(beat("other"))
        assert (await claim(scheduler, "other")).token.fence > 1
        assert (await read(scheduler)).started_at == now(clock) - LEASE - SECOND

    async def test_rule_10_migrating_again_changes_nothing(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(1))
        before = await read(scheduler)
        await scheduler.migrate()
        assert await read(scheduler) == before
        assert await history(scheduler) == [outcome(1)]


async def _until_written(scheduler: Storage, commits: list[Commit]) -> list[Fate]:
    """Commit, saying what was busy again, and return what became of each."""
    fates = dict.fromkeys(range(len(commits)), Fate.BUSY)
    for _ in range(1000):
        busy = [index for index, fate in fates.items() if fate is Fate.BUSY]
        if not busy:
            return list(fates.values())
        answers = await scheduler.commit([commits[index] for index in busy])
        fates |= {index: answer.fate for index, answer in zip(busy, answers, strict=True)}
    raise AssertionError("rows stayed busy over a thousand commits")
