"""What is refused, and that each refusal is one clear error with nothing lost."""

import math
import re
from datetime import date, datetime
from pathlib import PurePath
from typing import Any, Generic, TypeVar

import pytest
from attrs import frozen

from tests.runtime.conftest import MakeHarness
from zart import (
    DuplicateStepName,
    DurableScheduler,
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
    ZartStep,
    connect,
    context,
    require,
    schedule,
    step,
    step_or,
    step_or_else,
    zart_step,
)
from zart.codec import codec_for


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


@pytest.mark.parametrize("handles", [None, 3, "one"])
async def test_what_is_no_list_of_handles_is_refused(harness: MakeHarness, handles: Any) -> None:
    class Waits(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.wait(ctx.schedule(Step.of("one", _do_nothing)) if handles == "one" else handles)

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        with pytest.raises(ExecutionFailed, match="wait takes several handles, as a list, not"):
            await handle.result("1s")


@pytest.mark.parametrize("bad", [3, None, "handle"])
async def test_what_is_no_handle_is_refused(harness: MakeHarness, bad: Any) -> None:
    class Waits(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.wait([ctx.schedule(Step.of("one", _do_nothing)), bad])

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        with pytest.raises(ExecutionFailed, match="wait takes the handles that schedule has returned, not"):
            await handle.result("1s")


class Named(ZartStep[None]):
    name = "named"

    async def run(self) -> None:
        return None


@pytest.mark.parametrize(
    ("bad", "mend"),
    [
        (zart_step("s")(_do_nothing), "not <step 's' of _do_nothing>; call it"),
        (Named, "Named'>; call it"),
        (_do_nothing, "; call it"),
        (3, r"not 3; make one with Step\.of\(name, fn, \*args\)"),
        (None, "not None; make one"),
    ],
)
async def test_what_is_no_step_is_refused(harness: MakeHarness, bad: Any, mend: str) -> None:
    class Asks(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            found = []
            for operation in (require, step, schedule, ctx.require, ctx.outcome, ctx.schedule):
                try:
                    await operation(bad)  # type: ignore[misc]
                except TypeError as error:
                    found.append(str(error))
            for operation in (step_or, step_or_else, ctx.step_or, ctx.step_or_else):
                try:
                    await operation(bad, str)
                except TypeError as error:
                    found.append(str(error))
            return found

    async with harness(Asks()) as h:
        said = await h.client.start_and_wait_for(Asks, "x", None, "1s")
    assert len(said) == 10
    for each in said:
        assert re.search(f"a step is wanted here, .*{mend}", each)


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


async def test_a_number_that_no_database_holds_is_refused(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        await h.client.start("x", "Echo", 1)
        with pytest.raises(ValueError, match="run must be at most 2147483647, not 2147483648"):
            await h.client.status("x", 2**31)
        with pytest.raises(ExecutionNotFound, match="no run 2147483647"):
            await h.client.status("x", 2**31 - 1)
        for name in ("limit", "offset"):
            with pytest.raises(ValueError, match=f"{name} must be at most 2147483647, not {10**30}"):
                await h.client.list_executions(**{name: 10**30})  # type: ignore[arg-type] # mypy does not know which
            assert len(await h.client.list_executions(**{name: 2**31 - 1})) == (name == "limit")  # type: ignore[arg-type] # as above


async def test_what_asks_for_no_list_is_refused(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        for asked, message in (
            ({"status": "done"}, "status must be one of pending, running, waiting, completed, failed, cancelled, not 'done'"),
            ({"status": 3}, "status must be one of .*, not 3"),
            ({"task_name": 3}, "task name must be text, not int"),
            ({"after": 3}, "after must be text, not int"),
            ({"limit": "x"}, "limit must be a whole number from 1, not 'x'"),
            ({"order": "up"}, "order must be 'asc' or 'desc', not 'up'"),
        ):
            with pytest.raises((ValueError, TypeError), match=message):
                await h.client.list_executions(**asked)  # type: ignore[arg-type] # the point


@pytest.mark.parametrize("item", [("x", "Echo"), "abc", 3, None])
async def test_what_is_no_start_is_refused(harness: MakeHarness, item: Any) -> None:
    async with harness(Echo()) as h:
        with pytest.raises(TypeError, match=r"start_many takes tuples \(execution_id, task_name, data\), not"):
            await h.client.start_many([item])


async def test_a_bad_patience_or_type_is_refused_before_anything_happens(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        with pytest.raises(ValueError, match="timeout: 'soon' is no duration"):
            await h.client.start_and_wait_for(Echo, "x", 1, "soon")
        with pytest.raises(ExecutionNotFound):
            await h.client.status("x")
        with pytest.raises(TypeError, match="values of type Opaque cannot be saved"):
            await h.client.wait_completion("x", Opaque, "1s")


async def test_a_run_that_is_not_there_is_named(harness: MakeHarness) -> None:
    async with harness(Echo()) as h:
        await h.client.start("x", "Echo", 1)
        for call in (h.client.cancel("x", run=7), h.client.offer_event("x", "e", run=7), h.client.wait("x", 0, run=7)):
            with pytest.raises(ExecutionNotFound, match="execution 'x' has no run 7"):
                await call
        for call in (h.client.cancel("y", run=7), h.client.offer_event("y", "e", run=7), h.client.wait("y", 0, run=7)):
            with pytest.raises(ExecutionNotFound, match="no execution has the id 'y'"):
                await call


@pytest.mark.parametrize("bad", [None, "memory://", 3])
def test_what_is_no_scheduler_is_refused_by_the_client(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"the client takes a scheduler, such as connect\('sqlite:///zart.db'\), not"):
        DurableScheduler(bad)


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


class Opaque:
    pass


def test_types_that_cannot_be_stored_are_refused_with_the_class() -> None:
    with pytest.raises(TypeError, match="values of type Opaque cannot be saved"):

        class Input(TaskHandler[Opaque, None]):
            async def run(self, ctx: TaskContext, data: Opaque) -> None:
                return None

    with pytest.raises(TypeError, match=r"values of type Opaque cannot be saved"):

        class Output(TaskHandler[None, list[Opaque]]):
            async def run(self, ctx: TaskContext, data: None) -> list[Opaque]:
                return []

    with pytest.raises(TypeError, match="values of type Opaque cannot be saved"):

        class Annotated(TaskHandler):  # type: ignore[type-arg] # the annotations say it
            async def run(self, ctx: TaskContext, data: Opaque) -> None:
                return None

    with pytest.raises(TypeError, match="values of type Opaque cannot be saved"):

        class Returns(TaskHandler):  # type: ignore[type-arg] # as above
            async def run(self, ctx: TaskContext, data: None) -> Opaque:
                return Opaque()


def test_types_that_are_defined_later_are_looked_up_by_the_registry() -> None:
    class Named(TaskHandler["Nowhere", None]):  # type: ignore[name-defined] # the point
        async def run(self, ctx: TaskContext, data: Any) -> None:
            return None

    class Returns(TaskHandler):  # type: ignore[type-arg] # the annotations say it
        async def run(self, ctx: "Unimported", data: int) -> "Later":  # type: ignore[name-defined] # noqa: F821 # the context's type is nobody's business
            return Later()

    with pytest.raises(TypeError, match=r"'Nowhere'.* is only named"):
        Registry([Named()])
    with pytest.raises(TypeError, match=r"the return annotation 'Later' of .*Returns.run cannot be resolved"):
        Registry([Returns()])

    @frozen
    class Later:
        number: int = 1

    task = Registry([Returns()])["Returns"]
    assert (task.data, task.output) == (codec_for(int), codec_for(Later))


In = TypeVar("In")
Out = TypeVar("Out")


async def test_types_are_found_through_generic_classes(harness: MakeHarness) -> None:
    class Swapped(TaskHandler[In, list[Out]], Generic[Out, In]):
        async def run(self, ctx: TaskContext, data: In) -> list[Out]:
            return [self.make(data)]

        def make(self, data: In) -> Out:
            raise NotImplementedError

    class Half(Swapped[int, In]):
        pass

    class Prices(Half[Line]):
        def make(self, data: Line) -> int:
            return data.price

    async with harness(Prices()) as h:
        assert await h.client.start_and_wait_for(Prices, "x", Line(3), "1s") == [3]
        with pytest.raises(UndeclaredType, match="Line is declared"):
            await h.client.start_for(Prices, "y", 3)  # type: ignore[misc]
    task = Registry([Prices()])["Prices"]
    assert (task.data, task.output) == (codec_for(Line), codec_for(list[int]))


class Unready(Echo):
    @property
    def raises(self) -> Any:  # type: ignore[override] # only an instance can tell
        return ValueError


class Unresolved(TaskHandler[Any, "Nowhere"]):  # type: ignore[name-defined] # the point
    async def run(self, ctx: TaskContext, data: Any) -> Any:
        return data


async def test_what_is_no_handler_is_refused_by_the_client(harness: MakeHarness) -> None:
    bad: Any
    async with harness(Echo()) as h:
        for bad in ("Echo", Line, Echo().run, None):
            for call in (h.client.start_for(bad, "x", 1), h.client.wait_for(bad, "x", 1)):
                with pytest.raises(TypeError, match="a handler is wanted here, an instance or a subclass of TaskHandler, not"):
                    await call
        with pytest.raises(TypeError, match="raises takes exception classes, not <property"):
            await h.client.start_for(Unready, "x", 1)
        with pytest.raises(TypeError, match="Nowhere"):
            await h.client.start_for(Unresolved, "x", 1)
        with pytest.raises(ExecutionNotFound):
            await h.client.status("x")


def test_one_of_retry_and_max_retries_may_replace_the_other() -> None:
    class Retries(Echo):
        retry = RetryConfig.fixed(5, "1s")

    class Counts(Retries):
        retry = None
        max_retries = 3

    class Policy(Counts):
        retry = RetryConfig.none()
        max_retries = 0

    registry = Registry([Retries(), Counts(), Policy()])
    assert [task.retry.max_retries for task in registry] == [5, 3, 0]


def test_handlers_are_checked_when_they_are_made_and_registered() -> None:
    with pytest.raises(TypeError, match="both retry and max_retries"):

        class Both(TaskHandler[None, None]):
            retry = RetryConfig.none()
            max_retries = 3

            async def run(self, ctx: TaskContext, data: None) -> None:
                return None

    with pytest.raises(TypeError, match="handlers come several at a time, as a list, not <"):
        Registry(Echo())  # type: ignore[arg-type]
    registry = Registry([Echo()])
    with pytest.raises(ValueError, match="'Echo' is registered already"):
        registry.register(Echo())
    registry.register(Echo(), "other")
    with pytest.raises(TypeError, match=r"Echo\(\)"):
        registry.register(Echo)  # type: ignore[arg-type]
    with pytest.raises(UnknownTask, match="Echo, other"):
        registry["missing"]


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
