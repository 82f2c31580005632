"""How the SQLite scheduler writes: together, as few statements as can be, and nothing when there is nothing to do."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from zart.clock import SECOND
from zart.errors import NotSupported, StorageUnavailable, WorkerNotAlive
from zart.records import Commit, Fate, Query
from zart.schedulers.sqlite import SqliteScheduler
from zart.schedulers.sqlite.queries import LARGEST
from zart.schedulers.sqlite.writer import Batch
from zart.spawner import ThreadSpawner
from zart.testing.clock import FakeClock
from zart.testing.contract.faults import UNWRITABLE
from zart.testing.contract.scene import (
    LEASE,
    beat,
    commit,
    completed,
    deliver,
    demand,
    event,
    history,
    new,
    outcome,
    read,
    register,
    returns,
    running,
    waiting,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def scheduler(tmp_path, clock):
    async with SqliteScheduler(tmp_path / "zart.db", clock=clock) as scheduler:
        await scheduler.migrate()
        yield scheduler


@pytest.fixture
def said(scheduler):
    """The first words of all that the writing connection is told from now on; what a trigger does counts as its statement."""
    words = Words()
    scheduler._writer._connection.set_trace_callback(words.hear)
    return words


class Words(list):
    def clear(self):
        super().clear()
        self.last = None

    def hear(self, sql):
        if sql != self.last:
            self.append(next(line for line in sql.splitlines() if not line.startswith("--")).split()[0])
        self.last = sql

    last = None


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_starts_that_meet_share_one_transaction(scheduler, said):
    answers = await asyncio.gather(*(scheduler.start([new(f"x{number}")]) for number in range(200)))
    assert all(answer.accepted for (answer,) in answers)
    assert said.count("BEGIN") == said.count("COMMIT") == 1, "the first goes alone, as one statement, the others together"


async def test_a_quiet_commit_is_one_statement(scheduler, said):
    claims = await running(scheduler, *(f"x{number}" for number in range(100)))
    said.clear()
    await scheduler.commit([Commit(each.token, [outcome(1)], 0, completed()) for each in claims])
    assert said == ["INSERT"]


async def test_a_quiet_commit_with_a_timeout_that_is_not_withheld_is_one_statement(scheduler, said):
    claims = await running(scheduler, "a")
    said.clear()
    await scheduler.commit([Commit(each.token, [outcome(1, seen=0)], 0, waiting(seen=0)) for each in claims])
    assert said == ["INSERT"]


async def test_starting_new_ids_is_one_statement(scheduler, said):
    await scheduler.start([new(f"x{number}") for number in range(500)])
    assert said == ["INSERT"]


async def test_a_claim_that_finds_nothing_due_reads_once_and_writes_nothing(scheduler, said):
    await register(scheduler)
    await scheduler.start([new("later", delay=SECOND), new("other", "u")])
    said.clear()
    assert await scheduler.claim(demand()) == []
    assert said == ["WITH"]


async def test_a_claim_is_one_read_and_one_write(scheduler, said):
    await register(scheduler)
    await scheduler.start([new(f"x{number}") for number in range(100)])
    said.clear()
    assert len(await scheduler.claim(demand())) == 100
    assert said == ["WITH", "UPDATE"]


async def test_a_wait_after_a_claim_asks_nothing(scheduler, said):
    await register(scheduler)
    await scheduler.claim(demand())
    asked = []
    await scheduler._reader.call(lambda connection: connection.set_trace_callback(asked.append))
    said.clear()
    wait = asyncio.ensure_future(scheduler.wait(demand(), HOUR))
    await settle()
    await scheduler.start([new()])
    await returns(joined(wait))
    assert (said, asked) == (["INSERT"], [])


async def test_a_wait_hears_of_a_timer_set_while_it_waits(scheduler, clock):
    await register(scheduler)
    await scheduler.start([new("later", delay=50 * SECOND)])
    wait = asyncio.ensure_future(scheduler.wait(demand(), HOUR))
    await settle()
    await scheduler.start([new("sooner", delay=10 * SECOND)])
    await settle()
    assert not wait.done()
    clock.advance(10)
    await returns(joined(wait))


async def test_what_came_between_two_waits_is_not_missed_and_told_once(scheduler, clock):
    await running(scheduler, "a")
    await deliver(scheduler, event())
    await returns(scheduler.wait(demand(limit=0), HOUR))
    wait = asyncio.ensure_future(scheduler.wait(demand(limit=0), HOUR))
    await scheduler.get("a")  # behind the wait's own look, in the same lane
    await settle()
    assert not wait.done()
    clock.advance("1h")
    await returns(joined(wait))


async def test_what_a_claim_could_not_see_in_its_own_batch_lets_no_wait_sleep(scheduler):
    await register(scheduler)
    await scheduler.claim(demand())
    # The first call occupies the lane; the other two share the next batch, the claim in front.
    _, claims, _ = await asyncio.gather(scheduler.cancel(["z"]), scheduler.claim(demand()), scheduler.start([new()]))
    assert claims == []
    await returns(scheduler.wait(demand(), HOUR))


async def test_what_this_process_writes_itself_makes_it_ask_nothing(scheduler, clock):
    (claimed,) = await running(scheduler, "a")
    await scheduler.claim(demand())
    wait = asyncio.ensure_future(scheduler.wait(demand(), HOUR))
    for _ in range(10):
        await settle()
        clock.advance(0.02)
        await scheduler._writer.call(lambda connection: None)
    asked = []
    await scheduler._reader.call(lambda connection: connection.set_trace_callback(asked.append))
    for number in range(20):
        await commit(scheduler, claimed, outcome(number))
        clock.advance(0.02)
        await settle()
        await scheduler._writer.call(lambda connection: None)
        await settle()
    assert asked == []
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)


async def test_a_wait_without_free_slots_sleeps_through_due_work(scheduler, clock):
    await register(scheduler)
    wait = asyncio.ensure_future(scheduler.wait(demand(limit=0), HOUR))
    await scheduler.start([new()])
    await scheduler.get("a")
    await settle()
    assert not wait.done()
    clock.advance("1h")
    await returns(joined(wait))


async def test_an_ended_wait_leaves_nothing_behind(scheduler, clock):
    waits = [asyncio.ensure_future(scheduler.wait(interest, HOUR)) for interest in (demand(), ("a", "b"))]
    await settle()
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert not scheduler._waits._hints.anybody()
    assert not scheduler._waits._awaited


@pytest.mark.parametrize(
    ("concern", "touched"),
    [({}, False), ({"due": [(1, None, None)]}, True), ({"calls": {("end", "a")}}, True)],
    ids=["nobody", "who waits for work", "who waits for an end"],
)
async def test_other_processes_are_shown_what_concerns_them_once_it_counts(scheduler, concern, touched):
    await scheduler.start([new()])
    wal = Path(scheduler._path + "-wal")
    os.utime(wal, ns=(1, 1))
    scheduler._waits.landed(Batch(scheduler._writer._connection, 1, 1, **concern))
    assert (wal.stat().st_mtime_ns > 1) is touched  # noqa: ASYNC240 # a look, not a wait


async def test_one_bad_call_stops_none_of_those_that_share_its_batch(scheduler):
    await scheduler.start([new("first")])
    calls = [scheduler.start([new(f"x{number}", payload=UNWRITABLE if number == 7 else "good")]) for number in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, Exception)] == [7]
    assert isinstance(answers[7], NotSupported)
    assert len((await scheduler.find(Query())).executions) == 20


async def test_a_worker_that_is_refused_stops_none_of_those_that_share_its_batch(scheduler):
    answers = await asyncio.gather(
        *(scheduler.start([new(f"x{number}")]) for number in range(3)), scheduler.claim(demand()), return_exceptions=True
    )
    assert [type(each) for each in answers[:3]] == [list] * 3
    assert isinstance(answers[3], WorkerNotAlive)


async def test_a_caller_that_gives_up_stops_nobody(scheduler):
    calls = [asyncio.ensure_future(scheduler.start([new(f"x{number}")])) for number in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (await scheduler.start([new("y")]))[0].accepted
    assert len((await scheduler.find(Query())).executions) == 4, "what was given is done, whoever still listens"


async def test_what_is_there_already_in_a_large_start_is_found(scheduler):
    first = [new(f"x{number}") for number in range(LARGEST + 10)]
    await scheduler.start(first)
    second = [*(new(f"y{number}") for number in range(LARGEST)), first[5], new("x6"), new("z")]
    answers = await scheduler.start(second)
    assert [each.accepted for each in answers] == [True] * LARGEST + [True, False, True]
    assert (await scheduler.count(Query())).popitem()[1] == 2 * LARGEST + 11


async def test_a_large_commit_that_is_not_quiet_is_written_once_and_answered_for_each(scheduler):
    claims = await running(scheduler, "a", "b", "c")
    await scheduler.cancel(["c"])
    many = [outcome(number) for number in range(LARGEST)]
    commits = [
        Commit(claims[0].token, many[:10], 0),
        Commit(claims[0].token, [], 0, completed()),
        Commit(claims[1].token, many, 0),
        Commit(claims[2].token, many[:10], 0),  # found lost when all that one statement takes has been written
    ]
    answers = await scheduler.commit(commits)
    assert [each.fate for each in answers] == [Fate.APPLIED, Fate.APPLIED, Fate.APPLIED, Fate.LOST]
    assert await history(scheduler, "a") == many[:10]
    assert await history(scheduler, "b") == many
    assert await history(scheduler, "c") == []


async def test_of_a_large_commit_that_is_refused_nothing_is_left(scheduler):
    claims = await running(scheduler, "a", "b")
    many = [*(outcome(number) for number in range(LARGEST)), outcome(LARGEST, UNWRITABLE)]
    odd, good = await scheduler.commit([Commit(claims[0].token, many, 0), Commit(claims[1].token, many[:5], 0)])
    assert (odd.fate, good.fate) == (Fate.REFUSED, Fate.APPLIED)
    assert await history(scheduler, "a") == []
    assert await history(scheduler, "b") == many[:5]


async def test_a_number_too_large_for_sqlite_is_refused(scheduler):
    claims = await running(scheduler, "a", "b")
    odd, good = await scheduler.commit(
        [Commit(claims[0].token, [outcome(1, at=2**63)], 0), Commit(claims[1].token, [outcome(1)], 0)]
    )
    assert (odd.fate, good.fate) == (Fate.REFUSED, Fate.APPLIED)
    assert "SQLite cannot store what execution 'a' has to say" in odd.reason


async def test_mail_for_a_held_execution_counts_as_its_workers_news_in_any_process(scheduler, tmp_path):
    await running(scheduler, "a")
    await register(scheduler, "other")
    async with SqliteScheduler(tmp_path / "zart.db") as elsewhere:
        await deliver(elsewhere, event())
        await returns(elsewhere.wait(demand(limit=0), HOUR))
        wait = asyncio.ensure_future(elsewhere.wait(demand("other", limit=0), HOUR))
        await settle()
        assert not wait.done()
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)


async def test_a_beat_may_come_from_another_thread_and_loop_and_wakes_those_who_wait_here(scheduler, clock):
    await running(scheduler, "a", lease=LEASE)
    await register(scheduler, "other")
    clock.advance(LEASE / SECOND + 1)
    wait = asyncio.ensure_future(scheduler.wait(demand("other"), HOUR))
    await settle()
    replies = []

    async def heart():
        replies.append(await scheduler.beat(beat("other")))

    ThreadSpawner().loop("heart", heart)
    await returns(joined(wait))
    assert replies[0].taken_over == 1
    assert (await scheduler.claim(demand("other")))[0].token.execution_id == "a"


async def test_beats_among_writes_are_all_answered(scheduler):
    await register(scheduler)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def heart():
        alive = [(await scheduler.beat(beat())).alive for _ in range(30)]
        loop.call_soon_threadsafe(done.set if all(alive) else lambda: None)

    ThreadSpawner().loop("heart", heart)
    for number in range(30):
        await scheduler.start([new(f"x{number}")])
    await returns(done.wait())


async def test_ended_workers_are_forgotten_after_a_day(scheduler, clock):
    await register(scheduler, "v", "w")
    await scheduler.beat(beat("v", leaving=True))
    ask = "SELECT id FROM zart_workers ORDER BY id"
    clock.advance("23h")
    await register(scheduler, "x")
    assert await scheduler._reader.call(lambda connection: connection.execute(ask).fetchall()) == [("v",), ("w",), ("x",)]
    clock.advance("2h")
    await register(scheduler, "y")
    assert await scheduler._reader.call(lambda connection: connection.execute(ask).fetchall()) == [("w",), ("x",), ("y",)]
    assert not (await scheduler.beat(beat("v"))).alive
    served = "SELECT DISTINCT worker FROM zart_worker_tasks ORDER BY worker"
    assert await scheduler._reader.call(lambda connection: connection.execute(served).fetchall()) == [("w",), ("x",), ("y",)]


async def test_a_worker_that_still_holds_something_is_not_forgotten(scheduler, clock):
    await register(scheduler, lease=LEASE)
    await scheduler.start([new(f"x{number:03}") for number in range(150)])
    assert len(await scheduler.claim(demand())) == 150
    clock.advance("1h")
    await register(scheduler, "other")
    await scheduler.beat(beat("other"))
    await read(scheduler, "x149")
    clock.advance("30h")
    await scheduler.beat(beat("third", register=True, in_time=False))
    assert (await read(scheduler, "x149")).worker is None


async def test_a_lock_that_is_released_in_time_is_waited_for(tmp_path):
    clock = FakeClock()
    scheduler = SqliteScheduler(tmp_path / "zart.db", clock=clock)
    await scheduler.migrate()
    object.__setattr__(scheduler._database, "busy_timeout", 0.0)
    async with scheduler:
        with closing(sqlite3.connect(tmp_path / "zart.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            start = asyncio.ensure_future(scheduler.start([new()]))
            while not clock._timers:
                await scheduler._writer.call(lambda connection: None)
            other.execute("ROLLBACK")
        clock.advance(1)
        assert (await returns(joined(start)))[0].accepted


async def test_a_claim_that_cannot_write_is_storages_fault(tmp_path):
    scheduler = SqliteScheduler(tmp_path / "zart.db")
    await scheduler.migrate()
    async with scheduler:
        await register(scheduler)
        await scheduler.start([new()])
        await scheduler._writer.call(lambda connection: connection.execute("PRAGMA query_only = ON"))
        with pytest.raises(StorageUnavailable, match="readonly"):
            await scheduler.claim(demand())
        await scheduler._writer.call(lambda connection: connection.execute("PRAGMA query_only = OFF"))
        assert len(await scheduler.claim(demand())) == 1


async def test_a_claim_that_left_something_due_lets_no_wait_sleep(scheduler):
    await register(scheduler)
    await scheduler.claim(demand())
    await scheduler.start([new(f"x{number}") for number in range(3)])
    assert len(await scheduler.claim(demand(limit=2))) == 2
    await returns(scheduler.wait(demand(limit=1), HOUR))
    assert len(await scheduler.claim(demand(limit=2))) == 1


async def test_more_than_one_text_holds_is_claimed_bit_by_bit(scheduler):
    await register(scheduler)
    await scheduler.start([new(f"x{number}", payload="p" * 5000) for number in range(10)])
    await scheduler._writer.call(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000))
    sizes = []
    while claims := await scheduler.claim(demand()):
        sizes.append(len(claims))
    assert sum(sizes) == 10
    assert max(sizes) < 5


async def test_a_commit_of_one_with_crashes_is_quiet_again_after_its_outcome(scheduler, clock, said):
    await running(scheduler, "a", lease=LEASE)
    clock.advance(LEASE / SECOND + 1)
    await register(scheduler, "other")
    await scheduler.beat(beat("other"))
    (claimed,) = await scheduler.claim(demand("other"))
    assert claimed.crashes == 1
    await commit(scheduler, claimed, outcome(1))
    said.clear()
    await commit(scheduler, claimed, outcome(2))
    assert said == ["INSERT"]


def test_importing_it_brings_no_asynchronous_sqlalchemy_along():
    code = "import sys, zart.schedulers.sqlite; print('sqlalchemy.ext.asyncio' in sys.modules, 'aiosqlite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


async def joined(task):
    return await task
