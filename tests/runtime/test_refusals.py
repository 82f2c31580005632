"""What is refused, and that each refusal is one clear error with nothing lost."""

import math
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

import pytest
from attrs import frozen

from tests.runtime.conftest import MakeHarness
from zart import (
    DuplicateStepName,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    ExecutionStatus,
    InsideStep,
    NoActiveExecution,
    Registry,
    RetryConfig,
    Step,
    TaskContext,
    TaskHandler,
    UndeclaredType,
    UnknownTask,
    WaitTimedOut,
    Worker,
    connect,
    context,
)


class Echo(TaskHandler[Any, Any]):
    async def run(self, ctx: TaskContext, data: Any) -> Any:
        return data


@frozen
class Line:
    price: int


@frozen
class Order:
    lines: list[Line]


async def _do_nothing() -> None:
    return None


@pytest.mark.parametrize("bad", [math.nan, -1, True, "soon", None])
async def test_bad_durations_fail_the_body_with_one_error(harness: MakeHarness, bad: Any) -> None:
    class Sleeps(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.sleep("nap", bad)

    async with harness(Sleeps()) as h:
        handle = await h.client.start_for(Sleeps, "x", None)
        with pytest.raises(ExecutionFailed, match="duration"):
            await handle.result("1s")


async def test_a_naive_datetime_is_refused(harness: MakeHarness) -> None:
    class Sleeps(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.sleep_until("nap", datetime(2030, 1, 1))  # noqa: DTZ001 # naive on purpose

    async with harness(Sleeps()) as h:
        handle = await h.client.start_for(Sleeps, "x", None)
        with pytest.raises(ExecutionFailed, match="time zone"):
            await handle.result("1s")
        with pytest.raises(ValueError, match="time zone"):
            await h.client.start("y", "Sleeps", at=datetime(2030, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("moment", ["2030-01-01", 5, None, date(2030, 1, 1)])
async def test_what_is_no_datetime_is_refused(harness: MakeHarness, moment: Any) -> None:
    class Sleeps(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.sleep_until("nap", moment)

    async with harness(Sleeps()) as h:
        handle = await h.client.start_for(Sleeps, "x", None)
        with pytest.raises(ExecutionFailed, match=r"must be an aware datetime such as datetime\.now\(UTC\), not"):
            await handle.result("1s")
        if moment is not None:
            with pytest.raises(TypeError, match=r"at must be an aware datetime such as datetime\.now\(UTC\), not"):
                await h.client.start_for(Sleeps, "y", None, at=moment)
            with pytest.raises(ExecutionNotFound):
                await h.client.status("y")


@pytest.mark.parametrize("bad", [3, None, "handle"])
async def test_what_is_no_handle_is_refused(harness: MakeHarness, bad: Any) -> None:
    class Waits(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.wait([ctx.schedule(Step.of("one", _do_nothing)), bad])

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        with pytest.raises(ExecutionFailed, match="wait takes the handles that schedule has returned, not"):
            await handle.result("1s")


@pytest.mark.parametrize("length", [253, 254, 255])
async def test_waits_for_an_event_with_a_long_name(harness: MakeHarness, length: int) -> None:
    class Waits(TaskHandler[bool, list[int]]):
        async def run(self, ctx: TaskContext, data: bool) -> list[int]:
            names = [None, "second"] if data else [None, None]
            return [await ctx.wait_for_event("e" * length, int, name=name) for name in names]

    async with harness(Waits()) as h:
        for named in (True, False):
            handle = await h.client.start_for(Waits, f"x{named}", named)
            for number in (1, 2):
                await handle.send("e" * length, number)
            if named or length == 253:
                assert await handle.result("1s") == [1, 2]
            else:
                with pytest.raises(ExecutionFailed, match=r"wait number 2 for the event .* give it one with name="):
                    await handle.result("1s")


@pytest.mark.parametrize("run", ["x", "1", 0, -1, 1.0, True])
async def test_what_is_no_run_is_refused(harness: MakeHarness, run: Any) -> None:
    async with harness(Echo()) as h:
        await h.client.start("x", "Echo", 1)
        for call in (
            h.client.status("x", run),
            h.client.wait("x", 0, run=run),
            h.client.cancel("x", run=run),
            h.client.offer_event("x", "e", run=run),
        ):
            with pytest.raises(ValueError, match="run must be a whole number from 1, not"):
                await call
        assert (await h.client.status("x", 1)).run == 1


@pytest.mark.parametrize("bad", [3, None, b"x", ["x"]])
async def test_what_is_no_text_is_refused(harness: MakeHarness, bad: Any) -> None:
    async with harness(Echo()) as h:
        for call in (
            h.client.start(bad, "Echo"),
            h.client.start("x", bad),
            h.client.status(bad),
            h.client.wait(bad, 1),
            h.client.cancel(bad),
            h.client.offer_event(bad, "e"),
            h.client.offer_event("x", bad),
        ):
            with pytest.raises(TypeError, match="must be text, not"):
                await call


@pytest.mark.parametrize("bad", [None, b"sqlite:///x.db", 3, PurePath("x.db")])
def test_what_is_no_url_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"connect takes a URL as text, not .*; use `memory://`"):
        connect(bad)


async def test_a_handle_cancels_its_own_run_even_if_another_begins_at_that_moment(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        handle = await h.client.start("x", "Echo", 1)
        cancel = h.scheduler.cancel

        async def overtaken(*asked: Any) -> Any:
            await cancel(["x"])
            await h.client.start("x", "Echo", 2)
            return await cancel(*asked)

        h.scheduler.cancel = overtaken  # type: ignore[method-assign] # so that it happens in between
        assert not await handle.cancel()
        assert (await h.client.status("x")).status is ExecutionStatus.PENDING


@pytest.mark.parametrize("name", ["", "x" * 256, "a\x00", "a\n"])
async def test_bad_names_are_refused(harness: MakeHarness, name: str) -> None:
    class Steps(TaskHandler[str, None]):
        async def run(self, ctx: TaskContext, data: str) -> None:
            await ctx.step(name, _do_nothing)

    async with harness(Steps()) as h:
        for call in (
            h.client.start(name, "Steps"),
            h.client.start("x", name),
            h.client.start("x", "Steps", queue=name),
            h.client.offer_event("x", name),
            h.client.status(name),
        ):
            with pytest.raises(ValueError, match="character"):
                await call
        handle = await h.client.start_for(Steps, "x", "")
        with pytest.raises(ExecutionFailed, match="step name"):
            await handle.result("1s")


async def test_a_second_use_of_a_step_name_is_refused(harness: MakeHarness) -> None:
    class Twice(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("same", _do_nothing)
            try:
                await ctx.sleep("same", 1)
            except DuplicateStepName as error:
                return error.name
            return ""

    async with harness(Twice()) as h:
        handle = await h.client.start_for(Twice, "x", None)
        assert await handle.result("1s") == "same"


async def test_an_input_that_does_not_decode_fails_with_the_path(harness: MakeHarness) -> None:
    class Typed(TaskHandler[Order, None]):
        async def run(self, ctx: TaskContext, data: Order) -> None:
            return None

    async with harness(Typed()) as h:
        await h.client.start("x", "Typed", {"lines": [{"price": 1}, {"price": "two"}]})
        await h.run_to_idle()
        record = await h.client.status("x")
        assert record.status is ExecutionStatus.FAILED
        assert record.reason is not None
        assert "lines[1].price" in record.reason


async def test_undeclared_input_is_refused_before_anything_is_stored(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        with pytest.raises(UndeclaredType):
            await h.client.start("x", "Echo", object())
        with pytest.raises(ExecutionNotFound):
            await h.client.status("x")


async def test_ids_in_use_and_ids_unknown(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        await h.client.start("x", "Echo", 1)
        with pytest.raises(ExecutionAlreadyExists) as exists:
            await h.client.start("x", "Echo", 1)
        assert exists.value.status is ExecutionStatus.PENDING
        await h.run_to_idle()
        for reuse in ("failed", "never"):
            with pytest.raises(ExecutionAlreadyExists):
                await h.client.start("x", "Echo", 1, reuse=reuse)
        with pytest.raises(ExecutionFinished):
            await h.client.offer_event("x", "e")
        for call in (h.client.status("no"), h.client.cancel("no"), h.client.offer_event("no", "e"), h.client.wait("no", 1)):
            with pytest.raises(ExecutionNotFound):
                await call
        assert not await h.client.cancel("x")
        with pytest.raises(ValueError, match="reuse"):
            await h.client.start("y", "Echo", reuse="always")


async def test_a_handle_is_pinned_to_its_run(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            return int(await ctx.wait_for_event("go", int))

    async with harness(Waits()) as h:
        first = await h.client.start_for(Waits, "x", None)
        await first.send("go", 1)
        assert await first.result("1s") == 1
        second = await h.client.start_for(Waits, "x", None)
        with pytest.raises(ExecutionFinished):
            await first.send("go", 2)
        assert await first.result("1s") == 1
        assert (await h.client.status("x", run=1)).result == 1
        with pytest.raises(WaitTimedOut):
            await second.result("1s")


async def test_an_event_id_twice_is_one_event(harness: MakeHarness) -> None:
    class Two(TaskHandler[None, list[int]]):
        async def run(self, ctx: TaskContext, data: None) -> list[int]:
            return [await ctx.wait_for_event("e", int), await ctx.wait_for_event("e", int)]

    async with harness(Two()) as h:
        handle = await h.client.start_for(Two, "x", None)
        assert await handle.send("e", 1, event_id="one") == "recorded"
        assert await handle.send("e", 1, event_id="one") == "duplicate"
        await handle.send("e", 2)
        assert await handle.result("1s") == [1, 2]


async def test_a_payload_that_does_not_decode_is_set_aside_and_the_wait_goes_on(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            return int(await ctx.wait_for_event("e", int))

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        await handle.send("e", "not a number")
        await h.run_to_idle()
        record = await handle.record()
        assert record.status is ExecutionStatus.WAITING
        assert record.reason is not None
        assert "set aside" in record.reason
        await handle.send("e", 7)
        assert await handle.result("1s") == 7


async def test_steps_do_not_nest(harness: MakeHarness) -> None:
    class Nests(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            async def inner() -> str:
                try:
                    await Step.of("inner", _do_nothing)
                except InsideStep as error:
                    return str(error)
                return ""

            return await ctx.step("outer", inner)

    async with harness(Nests()) as h:
        handle = await h.client.start_for(Nests, "x", None)
        assert "'outer'" in await handle.result("1s")
    with pytest.raises(NoActiveExecution):
        await Step.of("s", _do_nothing)
    with pytest.raises(NoActiveExecution):
        context()


async def test_the_context_is_found_in_steps_and_their_threads(harness: MakeHarness) -> None:
    class Looks(TaskHandler[int, list[int]]):
        async def run(self, ctx: TaskContext, data: int) -> list[int]:
            assert context() is ctx.info
            seen = await ctx.step_with_retry("s", RetryConfig.fixed(2, 0), self.look)
            return [seen, ctx.info.data, ctx.info.current_attempt]

        def look(self) -> int:
            info = context()
            assert info.max_retries == 2
            if not info.is_retry():
                raise ValueError
            return info.current_attempt

    async with harness(Looks()) as h:
        handle = await h.client.start_for(Looks, "x", 5)
        assert await handle.result("1s") == [1, 5, 0]


def test_handlers_are_checked_when_they_are_made_and_registered() -> None:
    with pytest.raises(TypeError, match="both retry and max_retries"):

        class Both(TaskHandler[None, None]):
            retry = RetryConfig.none()
            max_retries = 3

            async def run(self, ctx: TaskContext, data: None) -> None:
                return None

    registry = Registry([Echo()])
    with pytest.raises(ValueError, match="'Echo' is registered already"):
        registry.register(Echo())
    registry.register(Echo(), "other")
    with pytest.raises(TypeError, match=r"Echo\(\)"):
        registry.register(Echo)  # type: ignore[arg-type]
    with pytest.raises(UnknownTask, match="Echo, other"):
        registry["missing"]

    class Opaque:
        pass

    class Unstorable(TaskHandler[Opaque, None]):
        async def run(self, ctx: TaskContext, data: Opaque) -> None:
            return None

    with pytest.raises(TypeError):
        registry.register(Unstorable())


async def test_a_worker_needs_handlers(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        with pytest.raises(ValueError, match="at least one handler"):
            Worker(h.scheduler, [])
        with pytest.raises(ValueError, match="registered already"):
            Worker(h.scheduler, [Echo(), Echo()])


async def test_a_task_that_nobody_has_registered_stays_and_says_so(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        await h.client.start("x", "Nobody")
        await h.run_to_idle()
        record = await h.client.status("x")
        assert record.status is ExecutionStatus.PENDING
        assert record.reason == "no worker for Nobody"
