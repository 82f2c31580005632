"""What a record tells of an execution that is in trouble."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from attrs import evolve, frozen
from attrs.exceptions import FrozenInstanceError

from tests.runtime.conftest import MakeHarness
from zart import ExecutionNotFound, RetryConfig, StepStatusInfo, TaskContext, TaskHandler
from zart.records import StepRecord
from zart.report import report, view
from zart.status import Phase, StepKind
from zart.testing import Harness


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


async def test_a_letter_that_is_gone_is_told_and_hides_nothing() -> None:
    async with Harness([Paid()]) as h:
        handle = await h.client.start_for(Paid, "one", None)
        await handle.send("paid", {"cents": 5})
        assert await handle.result("1m") == 5
        found = await view(h.scheduler, "one")
    assert found is not None
    execution, history = found
    whole, record = report(execution, history), report(execution, evolve(history, mail=()))
    assert whole.reason is None
    assert record.reason == "what is stored of it cannot be read: letter 1, which record 1 has taken, is not there"
    assert (record.result, [each.name for each in record.steps]) == (5, ["paid"])
    assert (whole.steps[0].result, record.steps[0].result) == ({"cents": 5}, None)


@pytest.mark.parametrize("payload", ['{"abandoned": [5]}', '{"reopened": 5}', '{"reopened": [[1]]}'])
async def test_a_record_of_the_bodys_that_is_of_no_shape_is_told_and_hides_nothing(payload: str) -> None:
    async with Harness([Paid()]) as h:
        await h.client.start_for(Paid, "one", None)
        await h.run_to_idle()
        found = await view(h.scheduler, "one")
    assert found is not None
    execution, history = found
    strange = StepRecord(9, "", StepKind.BODY, Phase.ATTEMPT, ok=False, payload=payload)
    record = report(execution, evolve(history, steps=[*history.steps, strange]))
    assert "what is stored of it cannot be read: record 9, which is the body's, holds no" in (record.reason or "")
    assert [each.status for each in record.steps] == ["waiting"]


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


class Interrupted(TaskHandler[None, str]):
    """Fails once, and is then cut off in a step with a timeout."""

    def __init__(self) -> None:
        self.failures = [ValueError("boom")]
        self.begun = 0
        self.goes_on = False

    async def run(self, ctx: TaskContext, data: None) -> str:
        await ctx.step("again", self.fails_once, retry=RetryConfig.fixed(3, "1h"))
        return await ctx.step("slow", self.slow, timeout="5h")

    async def fails_once(self) -> None:
        if self.failures:
            raise self.failures.pop()

    async def slow(self) -> str:
        self.begun += 1
        if not self.goes_on:
            await asyncio.Event().wait()
        return "done"


async def test_what_a_record_says_of_a_step_holds_over_workers(harness: MakeHarness) -> None:
    handler = Interrupted()
    async with harness(handler) as h:
        began = h.clock.now()
        handle = await h.client.start_for(handler, "one", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        (again,) = (await handle.record()).steps
        assert (again.status, again.attempts, again.started_at) == ("waiting", 1, began)
        h.clock.advance("1h")
        await h.worker.beat()
        await h.worker.claim_due()
        while not handler.begun:
            await asyncio.sleep(0)
        await h.worker.journal.flushed()
        again, slow = (await handle.record()).steps
        begun = slow.started_at
        assert (again.status, again.attempts, again.started_at) == ("completed", 2, began)
        assert (slow.status, slow.attempts) == ("running", 0)
        assert begun == again.completed_at
        (deadline,) = [each.deadline for each in (await handle.record()).waiting_for]
        await h.kill()
        handler.goes_on = True
        await h.restart()
        await h.run_to_idle()
        record = await handle.record()
    slow = record.steps[1]
    assert (slow.status, slow.attempts, slow.started_at, handler.begun) == ("completed", 1, begun, 2)
    assert deadline == began + timedelta(hours=6) + h.config.lease + timedelta(seconds=1)


async def test_the_steps_of_a_record_are_a_list_and_the_record_can_be_a_key(harness: MakeHarness) -> None:
    async with harness(Troubled()) as h:
        handle = await h.client.start_for(Troubled, "one", None)
        await h.advance("2h")
        record = await handle.record()
        same = await handle.record()
    assert type(record.steps) is list
    assert [type(each) for each in record.steps] == [StepStatusInfo] * 5
    assert {record: 1}[same] == 1
    assert record != evolve(record, steps=[])
    with pytest.raises(FrozenInstanceError):
        record.steps = []  # type: ignore[misc] # on purpose
