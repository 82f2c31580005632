"""What the SQLite statements cost: searches where there is much to look through, and no more steps for it."""

import asyncio
from datetime import timedelta

import pytest

from zart.clock import SECOND
from zart.records import Commit, Query
from zart.schedulers.sql import statements as inspector
from zart.schedulers.sqlite import SqliteScheduler
from zart.schedulers.sqlite.compiled import Compiled
from zart.schedulers.sqlite.queries import statements
from zart.status import ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import beat, completed, demand, new, now, outcome, register

HOUR = timedelta(hours=1)

_FILL = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :many)
INSERT INTO zart_executions
    (id, run, current, status, fence, crashes, created_at, scheduled_at, due_at, completed_at, queue, task, start_key, payload)
SELECT :name || n, 1, 1, :status, 1, :crashes, 1, 1, :due_at, :completed_at, 'default', :task, 'key', 'input' FROM number
"""


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def scheduler(tmp_path, clock):
    async with SqliteScheduler(tmp_path / "zart.db", clock=clock) as scheduler:
        await scheduler.migrate()
        await register(scheduler)
        yield scheduler


async def fill(scheduler, many, *, name="one", task="t", status="completed", due_at=None, crashes=0):
    ended = 1 if status == "completed" else None
    values = {
        "many": many,
        "task": task,
        "status": status,
        "due_at": due_at,
        "crashes": crashes,
        "completed_at": ended,
        "name": name,
    }
    await scheduler._writer.call(lambda connection: connection.execute(_FILL, values))


async def steps(scheduler, call):
    """Return what a call gave, and how many times ten steps of SQLite's machine it took on the writing connection."""
    taken = [0]

    def count():
        taken[0] += 1
        return 0

    await scheduler._writer.call(lambda connection: connection.set_progress_handler(count, 10))
    try:
        return await call, taken[0]
    finally:
        await scheduler._writer.call(lambda connection: connection.set_progress_handler(None, 10))


async def plan(scheduler, sql, parameters):
    sql = "EXPLAIN QUERY PLAN " + sql
    rows = await scheduler._writer.call(lambda connection: connection.execute(sql, parameters).fetchall())
    return [detail for *_, detail in rows]


ASKED = dict.fromkeys(("keys", "taken", "asked", "counts", "workers", "held", "doomed"), "[]") | {
    "worker": "w",
    "queues": '["default"]',
    "tasks": '["t"]',
    "limit": 10,
    "suspects": 1,
    "now": 1,
    "lease": 1,
    "about": "",
    "before": 1,
    "overdue": 1,
    "most": 1,
    "held_at": 1,
    "number": 1,
    "whole": 1,
    "key": 1,
    "seen": 0,
    "deadline": 1,
}


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (operation, name)
        for operation in ("start", "claim", "commit", "deliver", "cancel", "beat", "wait")
        for name in statements(operation)
    ],
)
async def test_no_statement_walks_a_table(scheduler, operation, name):
    if name == "prepare":
        return
    statement = statements(operation)[name]
    if "/*rows*/" in statement.sql:
        sql, parameters = next(chunk_of(statement))
    else:
        sql, parameters = statement.sql, ASKED
    for detail in await plan(scheduler, sql, parameters):
        # Of workers there are few, so they may be walked through; they stand last in these words.
        assert not detail.startswith(
            ("SCAN each", "SCAN zart_executions", "SCAN zart_steps", "SCAN zart_mail", "SCAN step", "SCAN mail")
        )
        assert "AUTOMATIC" not in detail


def chunk_of(statement):
    width = statement.sql.split("/*rows*/")[1].split(")")[0].count("?")
    return statement.chunks([(1,) * width] * 3)


async def test_a_claim_searches_the_two_indexes_of_what_is_due(scheduler):
    for name, sorted_anew in (("peek", 0), ("find", 3)):
        found = "\n".join(await plan(scheduler, statements("claim")[name].sql, ASKED))
        assert "USING INDEX zart_executions_due (queue=? AND task=? AND due_at>?)" in found or (
            "USING COVERING INDEX zart_executions_due (queue=? AND task=? AND due_at>?)" in found
        )
        assert "INDEX zart_executions_due_suspects (queue=? AND task=? AND due_at>?)" in found
        # What is due longest comes first by itself; only the few that are found so are put in order over all queues and tasks.
        assert found.count("TEMP B-TREE FOR ORDER BY") == sorted_anew


@pytest.mark.parametrize(
    "crowd",
    [
        {"status": "completed"},
        {"status": "pending", "due_at": 1, "task": "nobodys"},
        {"status": "waiting", "due_at": 10**16},
        {"status": "pending", "due_at": 1, "crashes": 3},
    ],
    ids=["finished", "due of a task nobody registered", "due later", "suspects"],
)
async def test_a_claim_and_a_commit_take_no_more_steps_in_a_crowd(scheduler, clock, crowd):
    async def life(name):
        await scheduler.start([new(f"{name}{number}") for number in range(20)])
        claims, claimed_in = await steps(scheduler, scheduler.claim(demand(limit=21, suspects=1)))
        own = [each for each in claims if each.token.execution_id.startswith(name)]
        assert len(own) == 20
        commits = [Commit(each.token, [outcome(1)], 0, completed()) for each in own]
        _, committed_in = await steps(scheduler, scheduler.commit(commits))
        nothing, looked_in = await steps(scheduler, scheduler.claim(demand(suspects=0)))
        assert nothing == []
        return claimed_in, committed_in, looked_in

    await fill(scheduler, 1, **crowd)
    alone = await life("alone")
    await fill(scheduler, 20_000, **crowd | {"name": "more"})
    crowded = await life("crowded")
    for before, after in zip(alone, crowded, strict=True):
        assert after <= 1.2 * before + 5


async def test_a_beat_takes_no_more_steps_in_a_crowd(scheduler):
    await fill(scheduler, 1)
    (_, alone) = await steps(scheduler, register(scheduler))
    await fill(scheduler, 20_000, name="more")
    (_, crowded) = await steps(scheduler, register(scheduler))
    assert crowded <= 1.2 * alone + 5


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (inspector.get(pinned=False), "sqlite_autoindex_zart_executions_1 (id=?)"),
        (inspector.get(pinned=True), "sqlite_autoindex_zart_executions_1 (id=? AND run=?)"),
        (inspector.find(Query(statuses=(ExecutionStatus.FAILED,))), "zart_executions_status (status=? AND current=?)"),
        (inspector.find(Query(tasks=("t",))), "zart_executions_task (task=? AND current=?)"),
        (inspector.find(Query(after="x")), "USING INTEGER PRIMARY KEY (rowid<?)"),
        (inspector.count(Query()), "COVERING INDEX zart_executions_status"),
    ],
)
async def test_lists_and_counts_are_served_by_an_index(scheduler, statement, index):
    compiled = Compiled.of(statement)
    found = await plan(scheduler, compiled.sql, compiled.parameters)
    assert any(index in detail for detail in found), found
    assert not any("TEMP B-TREE FOR ORDER BY" in detail for detail in found)


async def test_idle_work_of_two_processes_does_not_keep_them_awake(scheduler, tmp_path, clock):
    async with SqliteScheduler(tmp_path / "zart.db", clock=clock) as other:
        waits = [asyncio.ensure_future(each.wait(demand(limit=10), HOUR)) for each in (scheduler, other)]
        for _ in range(20):
            await scheduler.beat(beat("w"))
            await other.beat(beat("w"))
            clock.advance(0.02)
            await scheduler.get("a")
        assert not any(wait.done() for wait in waits)
        await other.start([new(at=now(clock) - SECOND)])
        async with asyncio.timeout(20):
            while not all(wait.done() for wait in waits):
                clock.advance(0.02)
                await scheduler.get("a")
        await asyncio.gather(*waits)
