"""What a record tells of an execution that is in trouble."""

from contextlib import suppress

import pytest
from attrs import frozen

from tests.runtime.conftest import MakeHarness
from zart import ExecutionNotFound, RetryConfig, TaskContext, TaskHandler


class Declared(Exception):
    pass


def breaks() -> int:
    raise ValueError("boom")


def refuses() -> int:
    raise Declared("no")


class Troubled(TaskHandler[None, None]):
    async def run(self, ctx: TaskContext, data: None) -> None:
        for name, fn, retry in (
            ("once", breaks, RetryConfig.none()),
            ("twice", breaks, RetryConfig.fixed(1, "1s")),
            ("declared", refuses, RetryConfig.none()),
        ):
            with suppress(Exception):  # whatever it was, the record tells
                await ctx.step(name, fn, retry=retry, raises=(Declared,))
        await ctx.step("fine", lambda: 1)
        await ctx.wait_for_event("late", timeout="1h")


async def test_a_failed_step_has_the_traceback_of_its_function(harness: MakeHarness) -> None:
    async with harness(Troubled()) as h:
        handle = await h.client.start_for(Troubled, "one", None)
        await h.advance("2h")
        steps = {step.name: step for step in (await handle.record()).steps}
    for name, function in (("once", "in breaks"), ("twice", "in breaks"), ("declared", "in refuses")):
        trace = steps[name].traceback
        assert trace is not None
        assert "test_reports.py" in trace
        assert function in trace
    assert steps["fine"].traceback is None
    assert steps["late"].traceback is None


@frozen
class Payment:
    cents: int


class Paid(TaskHandler[None, int]):
    async def run(self, ctx: TaskContext, data: None) -> int:
        return (await ctx.wait_for_event("paid", Payment)).cents


async def test_a_letter_that_nobody_could_read_stays_the_reason_of_the_wait(harness: MakeHarness) -> None:
    async with harness(Paid()) as h:
        handle = await h.client.start_for(Paid, "one", None)
        await handle.send("paid", {"cents": "many"})
        await h.run_to_idle()
        await handle.send("misspelt")
        await h.run_to_idle()
        record = await handle.record()
        assert record.reason is not None
        assert "'paid'" in record.reason
        assert "payload at .cents: expected int, found 'many'" in record.reason
        await handle.send("paid", {"cents": 5})
        assert await handle.result("1m") == 5
        assert (await handle.record()).reason is None


async def test_an_execution_whose_worker_is_dead_says_so_when_nobody_takes_over(harness: MakeHarness) -> None:
    async with harness(Paid()) as h:
        handle = await h.client.start_for(Paid, "one", None)
        await h.worker.claim_due()
        await h.kill()
        alive = await handle.record()
        assert (alive.status, alive.reason) == ("running", None)
        h.clock.advance("16s")  # the lease is 15 s
        dead = await handle.record()
        assert dead.status == "running"
        assert dead.reason == f"worker {h.worker.id} has let its lease run out, and there is no other for Paid"
        (listed,) = await h.client.list_executions()
        assert listed.reason == dead.reason
        await h.restart()
        await h.run_to_idle()
        assert (await handle.record()).reason is None


async def test_a_run_that_is_not_there_is_told_apart_from_an_execution_that_is_not(harness: MakeHarness) -> None:
    async with harness(Paid()) as h:
        await h.client.start_for(Paid, "one", None)
        with pytest.raises(ExecutionNotFound, match="execution 'one' has no run 7") as missing:
            await h.client.status("one", 7)
        assert (missing.value.execution_id, missing.value.run) == ("one", 7)
        with pytest.raises(ExecutionNotFound, match="no execution has the id 'two'") as missing:
            await h.client.status("two", 7)
        assert missing.value.run is None
