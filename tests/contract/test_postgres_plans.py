"""What PostgreSQL reads for the hot statements does not grow with what lies around."""

import json
import re

import pytest

from zart.records import Commit, Query
from zart.schedulers.postgres import compiled
from zart.status import ExecutionStatus
from zart.testing.contract.scene import beat, completed, demand, new, outcome, register

FILL = """
INSERT INTO zart_executions (
    id, run, current, status, fence, created_at, scheduled_at, due_at, completed_at, crashes, queue, task, start_key, payload
) SELECT $1 || n, 1, 1, $2, 1, 0, 0, $3, 0, $4, 'default', $5, 'k', '' FROM generate_series(1, $6) AS n
"""


async def fill(place, count, *, name="x", status="completed", due_at=None, crashes=0, task="t", analyze=True):
    async with place.session() as session:
        await session.execute(FILL, name, status, due_at, crashes, task, count)
        if analyze:
            await session.execute("ANALYZE zart_executions")


async def blocks(scheduler, place, call):
    """Return what a call gives, and how many blocks of tables and indexes it touched."""

    async def touched():
        async with place.session() as session:
            blocks = "sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)"
            return int(
                await session.fetchval(f"SELECT {blocks} FROM pg_statio_user_tables WHERE schemaname = $1", place.schema)
            )

    async def flush():
        pool = next(iter(scheduler._connections._pools._pools.values()))
        for connection in pool.free:
            await connection.execute("SELECT pg_stat_force_next_flush()")

    await flush()
    before = await touched()
    answer = await call
    await flush()
    return answer, await touched() - before


CROWDS = {
    "finished": {"status": "completed"},
    "due of a task nobody registered": {"status": "pending", "due_at": 1, "task": "nobodys"},
    "due later": {"status": "waiting", "due_at": 10**16},
    "suspects": {"status": "pending", "due_at": 1, "crashes": 3},
    "waiting for ever": {"status": "waiting"},
}


LIVE = (ExecutionStatus.PENDING, ExecutionStatus.RUNNING, ExecutionStatus.WAITING)

QUERY = re.compile(r"(\s|--.*\n)*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
@pytest.mark.parametrize("analyze", [True, False])
async def test_hot_statements_touch_no_more_in_a_crowd(place, crowd, analyze):
    """Even with plans from when the tables were empty, and without statistics."""
    async with place.open(pool_size=1) as scheduler:
        await register(scheduler)

        async def life(name):
            await scheduler.start([new(f"{name}{number}") for number in range(20)])
            claims, claimed = await blocks(scheduler, place, scheduler.claim(demand(limit=21, suspects=1)))
            own = [each for each in claims if each.token.execution_id.startswith(name)]
            assert len(own) == 20
            commits = [Commit(each.token, [outcome(1)], 0, completed()) for each in own]
            _, committed = await blocks(scheduler, place, scheduler.commit(commits))
            nothing, looked = await blocks(scheduler, place, scheduler.claim(demand(suspects=0)))
            assert nothing == []
            _, beaten = await blocks(scheduler, place, scheduler.beat(beat()))
            _, cancelled = await blocks(scheduler, place, scheduler.cancel([each.token.execution_id for each in own]))
            return claimed, committed, looked, beaten, cancelled

        alone = await life("alone")
        await fill(place, 20_000, **crowd, analyze=analyze)
        crowded = await life("crowded")
        for before, after in zip(alone, crowded, strict=True):
            assert after <= 1.6 * before + 60, (alone, crowded)  # a taller tree costs a block more per look


async def test_no_hot_statement_reads_a_table_from_end_to_end(place):
    async with place.open(pool_size=1) as scheduler:

        async def plan(talk, sql):
            parameters = [None] * max(map(int, re.findall(r"\$(\d+)", sql)), default=0)
            return json.loads(await talk.connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *parameters))[0]["Plan"]

        for name, sql in scheduler._connections.queries.items():
            # What looks after the database is for people, now and then; what is no query has no plan.
            if name in {"wait.others", "wait.notify"} or name.startswith("checkup.") or not QUERY.match(sql):
                continue
            found = list(nodes(await scheduler._connections.run(lambda talk, sql=sql: plan(talk, sql))))
            scans = [each for each in found if each["Node Type"] == "Seq Scan" and each["Relation Name"] == "zart_executions"]
            assert not scans, name


def nodes(plan):
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (compiled.get(pinned=False), "zart_executions_id"),
        (compiled.get(pinned=True), "zart_executions_id"),
        (compiled.view(pinned=False), "zart_executions_id"),
        (compiled.view(pinned=True), "zart_executions_id"),
        (compiled.find(Query(statuses=(ExecutionStatus.FAILED,))), "zart_executions_status"),
        (compiled.find(Query(statuses=(ExecutionStatus.CANCELLED,))), "zart_executions_status"),
        (compiled.find(Query(statuses=(ExecutionStatus.RUNNING,))), "zart_executions_worker"),
        (compiled.find(Query(statuses=(ExecutionStatus.PENDING,))), "zart_executions_due_suspects"),
        (compiled.find(Query(statuses=LIVE)), "zart_executions_due"),
        (compiled.find(Query(statuses=LIVE)), "zart_executions_status"),
        (compiled.find(Query(statuses=LIVE)), "zart_executions_worker"),
        (compiled.find(Query(tasks=("rare",))), "zart_executions_task"),
        (compiled.find(Query()), "zart_executions_pkey"),
        (compiled.find(Query(after="x5")), "zart_executions_pkey"),
    ],
)
async def test_lists_are_served_by_an_index(place, statement, index):
    async with place.open() as scheduler:
        await fill(place, 5000)
        await fill(place, 20, name="f", status="failed")
        await fill(place, 20, name="c", status="cancelled")
        await fill(place, 20, name="r", task="rare")
        asked = statement.arguments(
            {**compiled.page_of(Query()), "execution_id": "x5", "run": 1, "now": 0, "after": "x5", "task_0": "rare"}
        )

        async def plan(talk):
            sql = f"EXPLAIN (FORMAT JSON) {scheduler._inspection._named(statement.sql)}"
            return json.loads(await talk.connection.fetchval(sql, *asked))[0]["Plan"]

        found = list(nodes(await scheduler._readers.run(plan)))
        assert index in [each.get("Index Name") for each in found]
        assert not [each for each in found if each["Node Type"] == "Seq Scan" and each["Relation Name"] == "zart_executions"]
