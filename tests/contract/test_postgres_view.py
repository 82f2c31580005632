"""An execution is read with its history in one statement: what is shown is of one moment, and quick."""

import asyncio

import pytest

from zart.records import Commit, Event
from zart.report import view
from zart.status import ExecutionStatus
from zart.testing.contract.scene import completed, demand, new, outcome, register


async def lives(scheduler):
    """Give an id two runs: the first has ended with steps and mail, the second has mail and is due."""
    await register(scheduler)
    for payload in ('{"n": 1}', '{"n": 2}'):
        await scheduler.start([new("x", payload=payload, reuse="ended")])
        await scheduler.deliver([Event("x", "e", payload, f"event {payload}")])
        if payload == '{"n": 1}':
            (claim,) = await scheduler.claim(demand())
            await scheduler.commit([Commit(claim.token, [outcome(1), outcome(2)], 0, completed())])


@pytest.mark.parametrize("run", [None, 1, 2, 3])
@pytest.mark.parametrize("name", ["x", "nobody"])
async def test_a_view_is_the_execution_and_its_history(place, name, run):
    async with place.open() as scheduler:
        await lives(scheduler)
        execution = await scheduler.get(name, run)
        found = await view(scheduler, name, run)
        if execution is None:
            assert found is None
            assert (name, run) not in {("x", None), ("x", 1), ("x", 2)}
            return
        history = await scheduler.history(name, run)
        assert found == (execution, history)
        assert len(history.mail) == 1
        assert [each.seq for each in history.steps] == ([1, 2] if run == 1 else [])
        assert (execution.status is ExecutionStatus.COMPLETED) == (run == 1)


async def test_a_view_is_one_statement(place):
    async with place.open(pool_size=1) as scheduler:
        await lives(scheduler)
        await view(scheduler, "x")
        (connection,) = next(iter(scheduler._connections._pools._pools.values())).free
        asked = []
        with connection.query_logger(asked.append):
            await view(scheduler, "x")
            await asyncio.sleep(0)  # the logger is called by the loop
        assert len(asked) == 1
