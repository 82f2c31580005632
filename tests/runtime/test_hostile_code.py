"""User code that does what nobody should do: each time one clear end, and nobody else is touched."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

import zart.run
from tests.runtime.conftest import MakeHarness
from zart import (
    EventTimeout,
    ExecutionFailed,
    ExecutionFailure,
    ExecutionHandle,
    ExecutionStatus,
    InsideStep,
    NonRetryable,
    Registry,
    RetryConfig,
    Step,
    TaskContext,
    TaskHandler,
)
from zart.records import Mail
from zart.testing import Harness


class Polite(TaskHandler[None, str]):
    async def run(self, ctx: TaskContext, data: None) -> str:
        return "fine"


def test_a_handler_that_could_not_be_called_is_refused_at_registration() -> None:
    class NoData(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext) -> None:  # type: ignore[override]
            return None

    class Sync(TaskHandler[None, None]):
        def run(self, ctx: TaskContext, data: None) -> None:  # type: ignore[override]
            return None

    class NoFailure(Polite):
        async def on_failure(self, ctx: TaskContext, data: None) -> str:  # type: ignore[override]
            return ""

    for bad, word in ((NoData(), "data"), (Sync(), "async"), (NoFailure(), "failure")):
        with pytest.raises(TypeError, match=word):
            Registry([bad])


async def test_a_body_that_is_no_coroutine_function_after_all_fails_alone(harness: MakeHarness) -> None:
    class Breaks(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            return None

    breaks = Breaks()
    async with harness(breaks, Polite()) as h:

        def raises(*_: Any) -> None:
            raise RuntimeError("not even a coroutine")

        breaks.run = raises  # type: ignore[method-assign,assignment]
        bad = await h.client.start_for(Breaks, "a", None)
        good = await h.client.start_for(Polite, "b", None)
        assert await good.result("1s") == "fine"
        with pytest.raises(ExecutionFailed, match="not even a coroutine"):
            await bad.result("1s")


def stumbles(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, over: Callable[..., Any]) -> None:
    """Have the engine meet an error of its own, once: at the first call whose arguments are about execution b."""
    proper, left = getattr(where, name), ["b"]

    def call(*arguments: Any) -> Any:
        if over(*arguments) in left:
            left.remove("b")
            raise RuntimeError("a fault of the engine's own")
        return proper(*arguments)

    monkeypatch.setattr(where, name, call)


async def batch(h: Harness) -> list[ExecutionHandle[str]]:
    return [await h.client.start_for(Polite, each, None) for each in "abc"]


async def statuses_after_beats(h: Harness) -> list[ExecutionStatus]:
    """Return how a batch stands after two beats: the first tells of a time after the claim, the second what is held since."""
    await h.run_to_idle()
    for _ in range(2):
        await h.advance("1s")
    return [(await h.client.status(each)).status for each in "abc"]


async def test_one_claim_that_cannot_start_does_not_strand_its_batch(
    harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    stumbles(monkeypatch, zart.run, "ExecutionInfo", lambda execution_id, *_: execution_id)
    async with harness(Polite()) as h:
        handles = await batch(h)
        await h.run_to_idle()
        records = [await each.record() for each in handles]
        assert [each.status for each in records] == ["completed", "waiting", "completed"]
        assert records[1].reason == "the engine met an error of its own; see the worker's log"
        assert await handles[1].result("2s") == "fine"  # it is tried again


async def test_one_claim_that_cannot_be_taken_in_does_not_strand_its_batch(
    harness: MakeHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stumbles(monkeypatch, zart.run, "Replay", lambda claim: claim.token.execution_id)
    async with harness(Polite()) as h:
        await batch(h)
        await h.worker.beat()
        assert await h.worker.claim_due() == 3
        assert sorted(run.execution_id for run in h.worker.runs) == ["a", "c"]
        assert await statuses_after_beats(h) == ["completed"] * 3
        assert "execution b cannot be taken in" in caplog.text
        execution = await h.scheduler.get("b")
        assert execution is not None
        assert (execution.fence, execution.crashes) == (3, 0)  # handing back raises it too


@pytest.mark.parametrize("where", ["ExecutionInfo", "_advance"])
async def test_what_cannot_even_be_set_aside_is_handed_out_again(
    harness: MakeHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    if where == "ExecutionInfo":
        stumbles(monkeypatch, zart.run, "ExecutionInfo", lambda execution_id, *_: execution_id)
    else:
        stumbles(monkeypatch, zart.run.Run, "_advance", lambda run, *_: run.execution_id)
    stumbles(monkeypatch, zart.run, "set_aside", lambda claim, *_: claim.token.execution_id)
    async with harness(Polite()) as h:
        await batch(h)
        assert await statuses_after_beats(h) == ["completed"] * 3
        assert "execution b cannot be set aside" in caplog.text
        assert "cannot be taken in" not in caplog.text


async def test_what_cannot_be_said_is_let_go_and_handed_out_again(
    harness: MakeHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stumbles(monkeypatch, zart.run.Run, "take", lambda run: run.execution_id)
    async with harness(Polite()) as h:
        await batch(h)
        assert await statuses_after_beats(h) == ["completed"] * 3
        assert "execution b cannot say what it has to" in caplog.text


async def test_a_surrogate_in_an_error_still_ends_in_a_failure(harness: MakeHarness) -> None:
    class Fails(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            raise FileNotFoundError("\udcff.txt\x00")

    async with harness(Fails()) as h:
        handle = await h.client.start_for(Fails, "x", None)
        with pytest.raises(ExecutionFailed):
            await handle.result("1s")
        assert "udcff" in ((await handle.record()).reason or "")


def _exit(_: Any) -> int:
    raise SystemExit(6)


@attrs.frozen
class Exits:
    number: int = attrs.field(converter=_exit)


async def test_an_exit_in_a_constructor_or_a_capture_ends_no_worker(harness: MakeHarness) -> None:
    class Takes(TaskHandler[Exits, None]):
        async def run(self, ctx: TaskContext, data: Exits) -> None:
            return None

    class Captures(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.sleep("first", 0)
            await ctx.capture("exits", lambda: _exit(None))

    async with harness(Takes(), Captures(), Polite()) as h:
        await h.client.start("a", "Takes", {"number": 1})
        captures = await h.client.start_for(Captures, "b", None)
        polite = await h.client.start_for(Polite, "c", None)
        assert await polite.result("1s") == "fine"
        assert (await h.client.wait("a", "1s")).status is ExecutionStatus.FAILED
        with pytest.raises(ExecutionFailed, match="exits"):
            await captures.result("1s")


async def test_an_operation_inside_a_step_is_refused(harness: MakeHarness) -> None:
    class Nests(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            async def outer() -> str:
                try:
                    return str(await ctx.step("inner", Polite().run, ctx, None))
                except InsideStep as error:
                    return str(error)

            return await ctx.step("outer", outer)

    async with harness(Nests()) as h:
        handle = await h.client.start_for(Nests, "x", None)
        assert "'outer'" in await handle.result("1s")
        assert [s.name for s in (await handle.record()).steps] == ["outer"]


async def test_far_datetimes_break_nothing(harness: MakeHarness) -> None:
    async with harness(Polite()) as h:
        far = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))
        handle = await h.client.start_for(Polite, "x", None, at=far)
        assert handle.scheduled_at.year == 9999
        assert [each.execution_id for each in await h.client.list_executions()] == ["x"]


async def test_a_letter_that_was_set_aside_stays_aside(harness: MakeHarness) -> None:
    class Two(TaskHandler[None, list[Any]]):
        async def run(self, ctx: TaskContext, data: None) -> list[Any]:
            first = await ctx.wait_for_event("e", int)
            await ctx.sleep("nap", "1h")
            try:
                return [first, await ctx.wait_for_event("e", timeout="1h")]
            except EventTimeout:
                return [first, "timed out"]

    async with harness(Two()) as h:
        handle = await h.client.start_for(Two, "x", None)
        await handle.send("e", "no number")
        await handle.send("e", 5)
        assert await handle.result("3h") == [5, "timed out"]
        wait = next(s for s in (await handle.record()).steps if s.name == "e")
        assert "expected int" in wait.errors[0]


async def test_a_scheduled_step_that_waits_for_its_retry_is_parked_after_the_bodys_end(harness: MakeHarness) -> None:
    calls: list[int] = []

    class Schedules(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            async def flaky() -> None:
                calls.append(1)
                if len(calls) == 1:
                    raise ValueError("once")

            ctx.schedule(Step.of("flaky", flaky, retry=RetryConfig.fixed(1, "1h")))
            return "done"

    async with harness(Schedules()) as h:
        handle = await h.client.start_for(Schedules, "x", None)
        await h.run_to_idle()
        assert not h.worker.runs
        assert await handle.result("2h") == "done"
        assert len(calls) == 2


async def test_a_value_that_is_captured_has_the_same_limit(harness: MakeHarness) -> None:
    class Captures(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            return len(await ctx.capture("large", lambda: "x" * (3 * 1024 * 1024)))

    async with harness(Captures()) as h:
        handle = await h.client.start_for(Captures, "x", None)
        with pytest.raises(ExecutionFailed, match="large"):
            await handle.result("1s")


async def test_a_body_that_says_so_is_not_tried_again(harness: MakeHarness) -> None:
    runs: list[int] = []

    class Gives(TaskHandler[None, None]):
        max_retries = 3

        async def run(self, ctx: TaskContext, data: None) -> None:
            runs.append(1)
            raise NonRetryable("enough")

    async with harness(Gives()) as h:
        handle = await h.client.start_for(Gives, "x", None)
        with pytest.raises(ExecutionFailed):
            await handle.result("1h")
        assert len(runs) == 1


class Declined(Exception):
    pass


async def test_what_the_handler_declares_its_steps_may_raise(harness: MakeHarness) -> None:
    class Pays(TaskHandler[None, str]):
        raises = (Declined,)

        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                await ctx.step("pay", self.pay)
            except Declined as error:
                return str(error)
            return ""

        async def pay(self) -> None:
            raise Declined("no")

    async with harness(Pays()) as h:
        handle = await h.client.start_for(Pays, "x", None)
        assert await handle.result("1s") == "no"


async def test_a_wait_past_the_deadline_is_warned_of(harness: MakeHarness, caplog: pytest.LogCaptureFixture) -> None:
    class Waits(TaskHandler[None, None]):
        timeout = "1h"

        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.sleep("long", "2h")

    caplog.set_level(logging.WARNING)
    async with harness(Waits()) as h:
        await h.client.start_for(Waits, "x", None)
        await h.run_to_idle()
        assert sum("after the execution's deadline" in record.getMessage() for record in caplog.records) == 1


async def test_cancel_of_an_old_handle_leaves_the_new_run_alone(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.wait_for_event("go")

    async with harness(Waits()) as h:
        old = await h.client.start_for(Waits, "x", None)
        assert await old.cancel()
        new = await h.client.start_for(Waits, "x", None)
        assert not await old.cancel()
        assert (await new.record()).status is ExecutionStatus.PENDING


async def test_a_lost_race_is_shown_as_abandoned(harness: MakeHarness) -> None:
    class Races(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            waits = [asyncio.create_task(ctx.wait_for_event(name)) for name in ("a", "b")]
            done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in left:
                each.cancel()
            return str(done.pop().result())

    async with harness(Races()) as h:
        handle = await h.client.start_for(Races, "x", None)
        await h.run_to_idle()
        await handle.send("b", 1)
        assert await handle.result("1s") == "1"
        record = await handle.record()
        assert {s.name: s.status for s in record.steps} == {"a": "abandoned", "b": "completed"}
        assert record.waiting_for == ()


async def test_an_event_whose_wait_was_cancelled_in_time_is_there_for_on_failure(harness: MakeHarness) -> None:
    class Cancels(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            wait = asyncio.create_task(ctx.wait_for_event("e", int))
            # Both are saved in one group; the step's turn comes first, and then the wait's outcome is handed to nobody.
            await ctx.step("first", arrange)
            wait.cancel()
            raise ValueError("on to compensation")

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> str:
            return f"took {await ctx.wait_for_event('e', int, timeout='5m')}"

    async def arrange() -> None:
        await handle.send("e", 7)
        run = h.worker.runs[0]
        asyncio.get_running_loop().call_soon(run.deliver, [Mail(1, "e", "7", 0)])  # right after the step has settled

    async with harness(Cancels()) as h:
        handle = await h.client.start_for(Cancels, "x", None)
        assert await handle.result("2h") == "took 7"
        assert [s.name for s in (await handle.record()).steps] == ["first", "e", "e"]


async def test_a_lost_race_of_a_live_execution_is_shown_as_abandoned(harness: MakeHarness) -> None:
    class Races(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            waits = [asyncio.create_task(ctx.wait_for_event(name)) for name in ("a", "b")]
            waits.append(asyncio.create_task(ctx.sleep("limit", "1d")))
            _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in left:
                each.cancel()
            return str(await ctx.wait_for_event("c"))

    async with harness(Races()) as h:
        handle = await h.client.start_for(Races, "x", None)
        await h.run_to_idle()
        assert {each.name for each in (await handle.record()).waiting_for} == {"a", "b", "limit"}
        await handle.send("b", 1)
        for _ in range(2):
            await h.run_to_idle()
            record = await handle.record()
            assert [each.name for each in record.waiting_for] == ["c"]
            statuses = {"b": "completed", "a": "abandoned", "limit": "abandoned", "c": "waiting"}
            assert {step.name: step.status for step in record.steps} == statuses
            await h.kill()
            await h.restart()
        await handle.send("c", 2)
        assert await handle.result("1s") == "2"
