"""What the SQLite scheduler says in few words: found and then taken, plain outcomes and moves, and what is not plain."""

import sqlite3
from contextlib import closing

import pytest
from attrs import evolve

from zart.clock import SECOND
from zart.errors import NotSupported, WorkerNotAlive
from zart.records import SUSPECT, Commit, Committed, Fate, Move, StepRecord
from zart.schedulers.sqlite import SqliteScheduler
from zart.schedulers.sqlite.claim import ClaimJob
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    LEASE,
    commit,
    completed,
    crash,
    deliver,
    demand,
    event,
    history,
    new,
    now,
    read,
    register,
    running,
    waiting,
)

PLAIN = StepRecord(1, "charge", StepKind.STEP, Phase.OUTCOME, payload="value", attempts=1, started_at=5, at=7)
"""Nearly every record is like this."""


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def scheduler(tmp_path, clock):
    async with SqliteScheduler(tmp_path / "zart.db", clock=clock) as scheduler:
        await scheduler.migrate()
        yield scheduler


@pytest.mark.parametrize(
    ("change", "got", "seen"),
    [
        (
            "UPDATE zart_executions SET fence = fence + 1, status = 'running', due_at = NULL, worker = 'v' WHERE id = 'a'",
            ["b"],
            0,
        ),
        ("UPDATE zart_executions SET fence = fence + 1 WHERE id = 'a'", ["a", "b"], 0),
        ("UPDATE zart_executions SET due_at = NULL WHERE id = 'a'", ["b"], 0),
        (
            "UPDATE zart_executions SET mail = 1 WHERE id = 'a'; INSERT INTO zart_mail VALUES (1, 1, 1, 'news', 'e', 'text')",
            ["a", "b"],
            1,
        ),
        ("UPDATE zart_workers SET state = 'dead'", None, 0),
        ("UPDATE zart_workers SET lease_until = 1", None, 0),
    ],
    ids=["claimed", "handed back", "put off", "written to", "the worker declared dead", "the lease over"],
)
async def test_a_claim_takes_nothing_that_another_process_has_changed_since_it_was_found(scheduler, change, got, seen):
    await register(scheduler)
    await scheduler.start([new("a"), new("b")])
    path, connection = scheduler._path, scheduler._writer._connection

    def interfere(sql):
        if "claimed_at = " in sql:
            connection.set_trace_callback(None)
            with closing(sqlite3.connect(path)) as other:
                other.executescript(change)

    connection.set_trace_callback(interfere)
    if got is None:
        with pytest.raises(WorkerNotAlive):
            await scheduler.claim(demand())
        assert (await read(scheduler, "b")).status == "pending"
        return
    claims = await scheduler.claim(demand())
    assert [each.token.execution_id for each in claims] == got
    assert [each.token.fence for each in claims] == [(await read(scheduler, each)).fence for each in got]
    assert (claims[0].seen, len(claims[0].mail)) == (seen, seen)


@pytest.mark.parametrize(
    ("suspects", "due_at", "taken", "next_due"), [(0, 5, 0, None), (0, 10**17, 0, None), (1, 5, 1, 6), (2, 5, 2, None)]
)
async def test_a_claim_tells_of_suspects_that_it_left_only_who_may_take_some(scheduler, suspects, due_at, taken, next_due):
    await register(scheduler)
    await scheduler.start([new("s1"), new("s2")])
    mark = "UPDATE zart_executions SET crashes = 2, due_at = ? + (id = 's2')"
    await scheduler._writer.call(lambda connection: connection.execute(mark, (due_at,)))
    handed = await scheduler._writer.submit(ClaimJob(demand(suspects=suspects)))
    assert (len(handed.claims), handed.due_at) == (taken, next_due)


async def test_a_claim_tells_nothing_of_what_it_took(scheduler):
    await register(scheduler)
    await scheduler.start([new("a"), new("b", delay=SECOND)])
    handed = await scheduler._writer.submit(ClaimJob(demand()))
    assert [each.token.execution_id for each in handed.claims] == ["a"]
    assert handed.due_at == handed.now + SECOND


async def test_one_execution_that_no_text_holds_is_refused_and_stays(scheduler):
    await register(scheduler)
    await scheduler.start([new(payload="p" * 50_000)])
    await scheduler._writer.call(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000))
    with pytest.raises(NotSupported, match="too big"):
        await scheduler.claim(demand())
    await scheduler._writer.call(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000))
    assert len(await scheduler.claim(demand())) == 1


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"kind": StepKind.SLEEP},
        {"phase": Phase.ATTEMPT},
        {"ok": False},
        {"payload": None},
        {"attempts": 2},
        {"attempts": 0},
        {"due_at": 9},
        {"mail": 1},
        {"started_at": None},
    ],
    ids=str,
)
async def test_a_record_comes_back_as_it_was_said(scheduler, change):
    (claimed,) = await running(scheduler, "a")
    record = evolve(PLAIN, **change)
    assert await commit(scheduler, claimed, record) == Committed()
    assert await history(scheduler) == [record]


async def test_a_plain_outcome_under_an_old_fence_is_lost_and_the_others_are_not(scheduler):
    a, b = await running(scheduler, "a", "b")
    old = evolve(a.token, fence=a.token.fence - 1)
    lost, applied = await scheduler.commit([Commit(old, [PLAIN], 0), Commit(b.token, [PLAIN], 0)])
    assert (lost.fate, applied.fate) == (Fate.LOST, Fate.APPLIED)
    assert await history(scheduler, "a") == []
    assert await history(scheduler, "b") == [PLAIN]


async def test_a_plain_outcome_of_what_no_longer_runs_is_lost(scheduler):
    (claimed,) = await running(scheduler, "a")
    await commit(scheduler, claimed, move=completed())
    assert (await commit(scheduler, claimed, PLAIN)).fate is Fate.LOST
    assert await history(scheduler) == []


async def test_a_plain_outcome_is_answered_with_new_mail(scheduler):
    (claimed,) = await running(scheduler, "a")
    await deliver(scheduler, event())
    answer = await commit(scheduler, claimed, PLAIN)
    assert (answer.fate, [each.name for each in answer.mail]) == (Fate.APPLIED, ["news"])
    assert await history(scheduler) == [PLAIN]


async def test_a_plain_outcome_resets_the_count_of_crashes(scheduler, clock):
    await running(scheduler, "a", lease=LEASE)
    await crash(scheduler, clock, "w")
    await register(scheduler, "other")
    (claimed,) = await scheduler.claim(demand("other", suspects=SUSPECT))
    assert claimed.crashes == 1
    await commit(scheduler, claimed, PLAIN)
    assert (await read(scheduler)).crashes == 0


async def test_of_two_plain_outcomes_of_one_place_the_first_stays(scheduler):
    (claimed,) = await running(scheduler, "a")
    await commit(scheduler, claimed, PLAIN)
    assert await commit(scheduler, claimed, evolve(PLAIN, payload="another")) == Committed()
    assert await history(scheduler) == [PLAIN]


async def test_a_move_that_has_seen_less_than_its_commit_parks_nothing(scheduler, clock):
    (claimed,) = await running(scheduler, "a")
    await deliver(scheduler, event())
    await commit(scheduler, claimed, move=waiting(seen=0), seen=1)
    execution = await read(scheduler)
    assert (execution.status, execution.due_at) == (ExecutionStatus.PENDING, now(clock))


async def test_a_move_with_a_reason_leaves_the_deadline_as_it_is(scheduler):
    await register(scheduler)
    await scheduler.start([new()])
    (claimed,) = await scheduler.claim(demand(tasks={"t": SECOND}))
    await commit(scheduler, claimed, move=Move(ExecutionStatus.PENDING, due_at=5, reason="set aside"))
    execution = await read(scheduler)
    assert (execution.reason, execution.deadline) == ("set aside", claimed.deadline)
    assert claimed.deadline is not None
