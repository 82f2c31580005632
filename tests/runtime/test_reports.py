"""What a record tells of an execution that is in trouble."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve, frozen
from attrs.exceptions import FrozenInstanceError

from tests.runtime.conftest import MakeHarness
from zart import (
    ExecutionFailure,
    ExecutionNotFound,
    RetryConfig,
    StepStatusInfo,
    TaskContext,
    TaskHandler,
    TaskTimeout,
)
from zart.cli.views import put_execution
from zart.records import StepRecord
from zart.report import as_of, report, view
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


def helper(given: dict[str, int]) -> int:
    return given["nokey"]


WHERE = f"KeyError: 'nokey' (test_reports.py:{helper.__code__.co_firstlineno + 1} in helper)"


class Buggy(TaskHandler[None, int]):
    """Its body has a bug."""

    max_retries = 1

    async def run(self, ctx: TaskContext, data: None) -> int:
        return helper({})


async def test_a_bug_in_the_body_is_told_with_its_place_and_traceback(
    harness: MakeHarness, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with harness(Buggy()) as h:
        handle = await h.client.start_for(Buggy, "one", None)
        await h.run_to_idle()
        waits = await handle.record()
        await h.advance("1h")
        record = await handle.record()
    assert (waits.reason or "").endswith(WHERE)
    assert "in helper" in (waits.traceback or "")
    words = "MaxRetriesExhausted: failed 2 times, the last time with: "
    assert record.reason == words + WHERE
    assert f"execution one is failed: {record.reason}" in caplog.messages
    assert "in helper" in (record.traceback or "")
    put_execution(record, "table", steps=True)
    assert "in helper\n" in capsys.readouterr().out
    put_execution(record, "table")
    assert "Traceback" not in capsys.readouterr().out
    put_execution(record, "json", steps=True)
    assert json.loads(capsys.readouterr().out)["traceback"] == record.traceback
    put_execution(record, "json")
    assert "traceback" not in json.loads(capsys.readouterr().out)


async def test_what_went_well_at_last_shows_no_traceback(harness: MakeHarness) -> None:
    class Mended(Buggy):
        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> int:
            return 1

    async with harness(Mended()) as h:
        handle = await h.client.start_for(Mended, "one", None)
        await h.advance("1h")
        record = await handle.record()
    assert (record.status, record.traceback) == ("completed", None)


class Declared2(Exception):
    pass


class Declines(TaskHandler[None, int]):
    """Fails with what it is given, and raises that again."""

    raises = (Declared,)
    failure_timeout = "1m"

    def __init__(self, error: BaseException, other: BaseException | None = None, retries: int = 0) -> None:
        self.error = error
        self.other = other
        self.max_retries = retries

    async def run(self, ctx: TaskContext, data: None) -> int:
        raise self.error

    async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> int:
        await ctx.sleep("parked", "10s")
        raise self.other or failure.error


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("error", [Declared("o3"), Declared2("o3"), KeyError("k"), TaskTimeout()])
async def test_an_on_failure_that_declines_adds_nothing(harness: MakeHarness, error: BaseException, retries: int) -> None:
    handler = Declines(error, retries=retries)
    async with harness(handler) as h:
        handle = await h.client.start_for(handler, "one", None)
        await h.advance("1h")
        record = await handle.record()
    assert record.status == "failed"
    assert record.reason is not None
    assert "on_failure failed too" not in record.reason
    assert record.reason.count(str(error)) == 1


@pytest.mark.parametrize("other", [Declared("o4"), KeyError("o3"), ValueError("o3")])
async def test_another_error_of_on_failure_stands_behind_the_first(harness: MakeHarness, other: BaseException) -> None:
    handler = Declines(Declared("o3"), other)
    async with harness(handler) as h:
        handle = await h.client.start_for(handler, "one", None)
        await h.advance("1h")
        record = await handle.record()
    first, _, second = (record.reason or "").partition("; on_failure failed too: ")
    assert first.startswith(f"{__name__}.Declared: o3 (test_reports.py:")
    assert str(other) in second
    assert "(test_reports.py:" in second


async def test_an_on_failure_that_runs_out_of_time_after_the_body_did_is_told(harness: MakeHarness) -> None:
    class Late(TaskHandler[None, int]):
        timeout = "1m"
        failure_timeout = "1m"

        async def run(self, ctx: TaskContext, data: None) -> int:
            return int(await ctx.wait_for_event("never"))

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> int:
            return int(await ctx.wait_for_event("never either"))

    async with harness(Late()) as h:
        handle = await h.client.start_for(Late, "one", None)
        await h.advance("1h")
        record = await handle.record()
    assert (record.reason or "").count("TaskTimeout") == 2


async def test_input_that_does_not_decode_is_said_once(harness: MakeHarness) -> None:
    class Charges(TaskHandler[Payment, int]):
        async def run(self, ctx: TaskContext, data: Payment) -> int:
            return data.cents

        async def on_failure(self, ctx: TaskContext, data: Payment, failure: ExecutionFailure) -> int:
            return 0

    async with harness(Charges()) as h:
        handle = await h.client.start("one", "Charges", {})
        await h.run_to_idle()
        record = await handle.record()
    assert record.reason == "DeserializationError: data.cents is missing"


class Retrying(TaskHandler[None, None]):
    """Its step fails once, and holds on at its second attempt."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = asyncio.Event()

    async def run(self, ctx: TaskContext, data: None) -> None:
        await ctx.step("again", self.holds, retry=RetryConfig.fixed(3, "10s"))

    async def holds(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("boom")
        self.begun.set()
        await asyncio.Event().wait()


async def test_a_step_that_runs_again_is_shown_as_running(harness: MakeHarness, capsys: pytest.CaptureFixture[str]) -> None:
    handler = Retrying()
    async with harness(handler) as h:
        handle = await h.client.start_for(handler, "one", None)
        await h.run_to_idle()
        parked = await handle.record()
        h.clock.advance("10s")
        await h.worker.claim_due()
        await handler.begun.wait()
        record = await handle.record()
        now = h.clock.now()
    assert as_of(parked, now + timedelta(days=1)) is parked, "no worker has it"
    (before,) = as_of(record, now - timedelta(seconds=5)).steps
    assert before.status == "waiting"
    again = as_of(record, now)
    (step,) = again.steps
    assert (step.status, step.attempts, step.errors) == ("running", 1, ("ValueError: boom",))
    assert [(each.name, each.deadline) for each in again.waiting_for] == [("again", None)]
    put_execution(record, "json", steps=True)
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)["steps"][0]
    assert (shown["status"], shown["deadline"]) == ("running", None)
    put_execution(record, "table", steps=True)
    out = capsys.readouterr().out
    assert "ValueError: boom" in out
    assert "Traceback" not in out
