"""The main job: steps, waits, retries, parking, ends."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import frozen

from tests.runtime.conftest import MakeHarness
from zart import (
    BodyFailure,
    BusinessErr,
    DeadlineExceeded,
    EventTimeout,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFailure,
    ExecutionStatus,
    NonRetryable,
    Ok,
    RetriesExhausted,
    RetryAfter,
    RetryConfig,
    RetryExhausted,
    Step,
    StepFailed,
    StepFailure,
    StepTimedOut,
    TaskContext,
    TaskHandler,
    UndeclaredType,
    ZartErr,
)


@frozen
class Order:
    id: str
    total: int


class Declined(Exception):
    pass


class Ledger:
    """Counts the calls of steps."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def ok(self, name: str, value: Any = None) -> Any:
        self.calls.append(name)
        return value

    def sync(self, name: str) -> str:
        self.calls.append(name)
        return name


async def test_a_handler_completes_and_its_steps_run_once(harness: MakeHarness) -> None:
    ledger = Ledger()

    class Simple(TaskHandler[Order, Order]):
        async def run(self, ctx: TaskContext, data: Order) -> Order:
            first = await ctx.step("first", ledger.ok, "first", data.total)
            second = await ctx.step("second", ledger.sync, "second")
            return Order(second, first + 1)

    async with harness(Simple()) as h:
        handle = await h.client.start_for(Simple, "e", Order("x", 1))
        assert handle.status is ExecutionStatus.PENDING
        await h.run_to_idle()
        assert await handle.result("1s") == Order("second", 2)
        assert ledger.calls == ["first", "second"]
        record = await handle.record()
        assert [(s.name, s.status, s.attempts) for s in record.steps] == [("first", "completed", 1), ("second", "completed", 1)]


async def test_an_event_resumes_a_parked_execution(harness: MakeHarness) -> None:
    ledger = Ledger()

    class Waits(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("before", ledger.ok, "before")
            order = await ctx.wait_for_event("go", Order, timeout="48h")
            await ctx.step("after", ledger.ok, "after")
            return str(order.id)

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "e", None)
        await h.run_to_idle()
        record = await handle.record()
        assert record.status is ExecutionStatus.WAITING
        assert [w.name for w in record.waiting_for] == ["go"]
        began = h.clock.now()
        assert not h.worker.runs
        await h.advance("47h")
        await handle.send("go", {"id": "o", "total": 3})
        await h.run_to_idle()
        assert await handle.result("1s") == "o"
        assert ledger.calls == ["before", "after"]
        wait = next(s for s in (await handle.record()).steps if s.name == "go")
        assert wait.started_at == began
        assert wait.completed_at == began + timedelta(hours=47)


async def test_a_wait_times_out_at_its_deadline(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                await ctx.wait_for_event("go", timeout="48h")
            except EventTimeout as error:
                return error.event
            return "came"

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "e", None)
        await h.advance("47h59m59s")
        assert (await handle.record()).status is ExecutionStatus.WAITING
        await h.advance("1s")
        assert await handle.result("1s") == "go"


async def test_a_crash_repeats_no_saved_step(harness: MakeHarness) -> None:
    ledger = Ledger()

    class Crashes(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            first = await ctx.step("first", ledger.sync, "first")
            await ctx.sleep("nap", "1h")
            second = await ctx.step("second", ledger.sync, "second")
            return [first, second]

    async with harness(Crashes()) as h:
        handle = await h.client.start_for(Crashes, "e", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        await h.advance("1h")
        assert await handle.result("1s") == ["first", "second"]
        assert ledger.calls == ["first", "second"]


async def test_retries_are_counted_and_end_in_retry_exhausted(harness: MakeHarness) -> None:
    calls: list[int] = []

    class Retries(TaskHandler[None, Any]):
        async def run(self, ctx: TaskContext, data: None) -> Any:
            def fail() -> None:
                calls.append(1)
                raise ValueError("no")

            try:
                await ctx.step_with_retry("s", RetryConfig.fixed(3, "1h"), fail)
            except RetryExhausted as error:
                return [error.attempts, error.last_error.message if isinstance(error.last_error, StepFailed) else None]

    async with harness(Retries()) as h:
        handle = await h.client.start_for(Retries, "e", None)
        await h.run_to_idle()
        assert len(calls) == 1
        assert (await handle.record()).waiting_for[0].name == "s"
        await h.advance("1h")
        assert len(calls) == 2
        await h.advance("2h")
        assert await handle.result("1s") == [4, "no"]
        assert len(calls) == 4


async def test_retry_after_and_non_retryable(harness: MakeHarness) -> None:
    calls: list[str] = []

    class Steers(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            async def later() -> str:
                calls.append("later")
                if calls.count("later") == 1:
                    raise RetryAfter("10h")
                return "done"

            async def never() -> None:
                calls.append("never")
                raise NonRetryable(ValueError("stop"))

            first = await ctx.step_with_retry("later", RetryConfig.fixed(3, "1s"), later)
            try:
                await ctx.step_with_retry("never", RetryConfig.fixed(3, "1s"), never)
            except StepFailed as error:
                return [first, error.error_type.rpartition(".")[2]]
            return []

    async with harness(Steers()) as h:
        handle = await h.client.start_for(Steers, "e", None)
        await h.advance("9h")
        assert calls == ["later"]
        await h.advance("1h")
        assert await handle.result("1s") == ["done", "ValueError"]
        assert calls.count("never") == 1


async def test_outcomes_are_values(harness: MakeHarness) -> None:
    class Outcomes(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            async def decline() -> None:
                raise Declined("card", 3)

            async def bug() -> None:
                raise KeyError("k")

            found = []
            for name, fn in (("ok", lambda: 1), ("declined", decline), ("bug", bug)):
                match await ctx.outcome(Step.of(name, fn, raises=(Declined,))):
                    case Ok(value):
                        found.append(f"ok {value}")
                    case BusinessErr(Declined(args=args)):
                        found.append(f"declined {args}")
                    case ZartErr(StepFailed(step=step)):
                        found.append(f"failed {step}")
            assert await ctx.step_or(Step.of("or", bug), 7) == 7
            assert await ctx.step_or_else(Step.of("else", decline, raises=Declined), lambda e: e.args[1]) == 3
            return found

    async with harness(Outcomes()) as h:
        handle = await h.client.start_for(Outcomes, "e", None)
        assert await handle.result("1s") == ["ok 1", "declined ('card', 3)", "failed bug"]


async def test_schedule_and_wait_run_side_by_side(harness: MakeHarness) -> None:
    class Parallel(TaskHandler[None, list[int]]):
        async def run(self, ctx: TaskContext, data: None) -> list[int]:
            gate = asyncio.Barrier(3)

            async def meet(number: int) -> int:
                await gate.wait()
                return number

            handles = [ctx.schedule(Step.of(f"s{n}", meet, n)) for n in range(3)]
            ctx.schedule(Step.of("nobody", meet_nobody))
            return [outcome.unwrap() for outcome in await ctx.wait(handles)]

    async def meet_nobody() -> str:
        return "saved all the same"

    async with harness(Parallel()) as h:
        handle = await h.client.start_for(Parallel, "e", None)
        assert await handle.result("1s") == [0, 1, 2]
        steps = {s.name: s for s in (await handle.record()).steps}
        assert steps["nobody"].result == "saved all the same"


async def test_a_failed_body_is_reported(harness: MakeHarness) -> None:
    class Fails(TaskHandler[str, None]):
        async def run(self, ctx: TaskContext, data: str) -> None:
            if data == "body":
                raise ValueError("in the body")
            await ctx.step("s", self.fail)

        async def fail(self) -> None:
            raise ValueError("in the step")

    async with harness(Fails()) as h:
        body = await h.client.start_for(Fails, "b", "body")
        step = await h.client.start_for(Fails, "s", "step")
        await h.run_to_idle()
        with pytest.raises(ExecutionFailed) as failed:
            await body.result("1s")
        assert failed.value.failure == BodyFailure("ValueError", "in the body")
        with pytest.raises(ExecutionFailed) as failed:
            await step.result("1s")
        assert failed.value.failure == StepFailure("s", "ValueError", "in the step")


async def test_execution_retries_reopen_what_failed_and_keep_the_rest(harness: MakeHarness) -> None:
    ledger = Ledger()

    class Again(TaskHandler[None, str]):
        max_retries = 2

        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("kept", ledger.ok, "kept")
            try:
                await ctx.step("caught", self.flaky, "caught", 99)
            except StepFailed:
                await ctx.step("went-on", ledger.ok, "went-on")
            return str(await ctx.step("flaky", self.flaky, "flaky", 2))

        async def flaky(self, name: str, times: int) -> str:
            ledger.calls.append(name)
            if ledger.calls.count(name) <= times:
                raise RuntimeError(name)
            return "fine"

    async with harness(Again()) as h:
        handle = await h.client.start_for(Again, "e", None)
        assert await handle.result("1h") == "fine"
        assert ledger.calls == ["kept", "caught", "went-on", "flaky", "flaky", "flaky"]
        record = await handle.record()
        assert record.attempt == 2
        assert [s.status for s in record.steps if s.name == "flaky"] == ["retried", "retried", "completed"]


async def test_exhausted_retries_go_through_on_failure(harness: MakeHarness) -> None:
    seen: list[ExecutionFailure] = []
    ledger = Ledger()

    class Compensates(TaskHandler[None, str]):
        max_retries = 1
        failure_timeout = "2h"

        async def run(self, ctx: TaskContext, data: None) -> str:
            ledger.calls.append("body")
            await ctx.step("charge", self.fail)
            return "charged"

        async def fail(self) -> None:
            raise ValueError("no money")

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> str:
            seen.append(failure)
            await ctx.sleep("breathe", "1h")
            await ctx.step("refund", ledger.ok, "refund")
            return "refunded"

    async with harness(Compensates()) as h:
        handle = await h.client.start_for(Compensates, "e", None)
        assert await handle.result("2h") == "refunded"
        assert ledger.calls == ["body", "body", "refund"]
        assert seen[0] == RetriesExhausted(2, StepFailure("charge", "ValueError", "no money"))


async def test_the_deadline_includes_waits(harness: MakeHarness) -> None:
    class Slow(TaskHandler[None, None]):
        timeout = "1h"

        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.wait_for_event("never")

    async with harness(Slow()) as h:
        handle = await h.client.start_for(Slow, "e", None)
        await h.advance("59m")
        assert (await handle.record()).status is ExecutionStatus.WAITING
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result("1m1s")
        assert failed.value.failure == DeadlineExceeded()


async def test_cancel_ends_waiting_and_running(harness: MakeHarness) -> None:
    cleaned: list[str] = []

    class Long(TaskHandler[str, None]):
        async def run(self, ctx: TaskContext, data: str) -> None:
            try:
                if data == "waits":
                    await ctx.wait_for_event("never")
                await ctx.step("hangs", self.hang)
            finally:
                cleaned.append(data)

        async def hang(self) -> None:
            started.set()
            await asyncio.get_running_loop().create_future()

    started = asyncio.Event()
    async with harness(Long()) as h:
        waits = await h.client.start_for(Long, "w", "waits")
        await h.run_to_idle()
        assert await waits.cancel()
        assert not await waits.cancel()
        with pytest.raises(ExecutionCancelled):
            await waits.result("1s")
        runs = await h.client.start_for(Long, "r", "runs")
        await h.worker.claim_due()
        await started.wait()
        assert await runs.cancel()
        await h.worker.beat()
        await h.run_to_idle()
        assert (await runs.record()).status is ExecutionStatus.CANCELLED
        assert cleaned == ["waits", "runs"]


async def test_step_timeouts_are_terminal(harness: MakeHarness) -> None:
    class Slow(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                await ctx.step("slow", self.hang, timeout="30s", retry=RetryConfig.fixed(3, "1s"))
            except StepTimedOut as error:
                return error.step
            return ""

        async def hang(self) -> None:
            started.set()
            await asyncio.get_running_loop().create_future()

    started = asyncio.Event()
    async with harness(Slow()) as h:
        handle = await h.client.start_for(Slow, "e", None)
        await h.worker.claim_due()
        await started.wait()
        h.clock.advance("30s")
        await h.run_to_idle()
        assert await handle.result("1s") == "slow"


async def test_an_undeclared_type_is_refused_with_the_mend(harness: MakeHarness) -> None:
    ledger = Ledger()

    class Returns(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                await ctx.step("s", ledger.ok, "s", Order("x", 1), retry=RetryConfig.fixed(3, "1s"))
            except UndeclaredType as error:
                return str(error)
            return ""

    async with harness(Returns()) as h:
        handle = await h.client.start_for(Returns, "e", None)
        text = await handle.result("1s")
        assert "'s'" in text
        assert "returns=" in text
        assert ledger.calls == ["s"]
