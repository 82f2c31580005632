"""The function style, on every backend: one engine, whether an operation is a method or a free function."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pytest
from attrs import frozen
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

import zart
from tests.runtime.conftest import MakeHarness
from zart import (
    BodyFailure,
    BusinessErr,
    DeadlineExceeded,
    EventTimeout,
    ExecutionFailed,
    ExecutionFailure,
    NoActiveExecution,
    NonRetryable,
    NotSupported,
    Ok,
    Registry,
    RetriesExhausted,
    RetryConfig,
    RetryExhausted,
    Step,
    StepFailed,
    StepFailure,
    StepTimedOut,
    TaskContext,
    TaskHandler,
    ZartErr,
    ZartStep,
    zart_durable,
    zart_step,
)
from zart.scheduler import Transactional
from zart.testing import replay_check


@frozen
class Order:
    id: str
    total: Decimal


@frozen
class Receipt:
    payment: str
    tracking: str


class Declined(Exception):
    pass


# ---- the main job ---------------------------------------------------------------------------------------------------


async def test_a_function_is_a_handler_and_awaits_its_steps(harness: MakeHarness) -> None:
    calls: list[str] = []

    @zart_step("charge-{order_id}", retry=RetryConfig.fixed(3, "1s"), timeout="30s", raises=(Declined,))
    async def charge(order_id: str, amount: Decimal) -> str:
        calls.append(order_id)
        if len(calls) < 3:
            raise ConnectionError("the bank does not answer")
        return f"{amount} for {order_id}"

    @zart_durable("checkout", timeout="36h", max_retries=2)
    async def checkout(order: Order) -> Receipt:
        payment = await charge(order.id, amount=order.total)
        tracking = await zart.wait_for_event("shipped", str, timeout="24h")
        return Receipt(payment, tracking)

    async with harness(checkout) as h:
        handle = await h.client.start_for(checkout, "c-1", Order("o-1", Decimal("9.90")))
        assert handle.task_name == "checkout"
        await h.advance("2s")
        await h.kill()
        await h.restart()
        await handle.send("shipped", "PARCEL-1")
        assert await handle.result("1h") == Receipt("9.90 for o-1", "PARCEL-1")
        record = await handle.record()
        assert [(step.name, step.attempts) for step in record.steps] == [("charge-o-1", 3), ("shipped", 0)]
    assert calls == ["o-1"] * 3


async def test_every_free_function_does_what_the_method_does(harness: MakeHarness) -> None:
    async def give(value: int) -> int:
        if value < 0:
            raise Declined(value)
        return value

    class Gives(ZartStep[int]):
        name = "class"

        async def run(self) -> int:
            return 9

    @zart_step("give-{value}", raises=Declined)
    async def given(value: int) -> int:
        return await give(value)

    @zart_durable()
    async def everything() -> list[Any]:
        started = await zart.now("now")
        found: list[Any] = [await given(1), await zart.require(given(2)), await Gives()]
        found += [await zart.step(given(3)), await zart.step(given(-3))]
        found += [await zart.step_or(given(-4), 4), await zart.step_or_else(given(-5), lambda error: error.args[0])]
        found += await zart.wait([zart.schedule(given(6)), zart.schedule(given(-6))])
        found += [await zart.z_step("z", give, 7), await zart.z_step_with_retry("zr", give, 8, retries=1, backoff="fixed")]
        await zart.sleep("nap", "1h")
        await zart.sleep_until("late", started + timedelta(hours=2))
        found += [await zart.now("later") - started, await zart.capture("captured", lambda: 10)]
        found += [await zart.uuid("uuid"), await zart.random("random")]
        found += [await zart.wait_for_event("e", int), await zart.wait_for_event("e", int, name="again")]
        try:
            await zart.z_wait_event("never", int)
        except EventTimeout as error:
            found.append(f"{error.event} {await zart.now('end') - started}")
        info = zart.context()
        return [*map(repr, found), f"{info.execution_id} {info.task_name} {info.current_attempt}"]

    async with harness(everything) as h:
        handle = await h.client.start_for(everything, "e-1", None)
        await handle.send("e", 11)
        await handle.send("e", 12)
        found = await handle.result("100h")
        uuid, random = found.pop(13), found.pop(13)
        names = [step.name for step in (await handle.record()).steps]
    assert eval(uuid, {"UUID": UUID}).version == 7
    assert 0 <= float(random) < 1
    assert found == [
        "1", "2", "9", "Ok(value=3)", "BusinessErr(error=Declined(-3))",
        "4", "-5", "Ok(value=6)", "BusinessErr(error=Declined(-6))", "7", "8",
        "datetime.timedelta(seconds=7200)", "10", "11", "12", "'never 2 days, 2:00:00'", "e-1 everything 0",
    ]  # fmt: skip
    assert names == [
        "now", "give-1", "give-2", "class", "give-3", "give--3", "give--4", "give--5", "give-6", "give--6", "z", "zr", "nap",
        "late", "later", "captured", "uuid", "random", "e", "again", "never", "end",
    ]  # fmt: skip


@pytest.mark.parametrize(("backoff", "delays"), [("none", []), ("fixed", [2, 2]), ("linear", [2, 4]), ("exponential", [2, 4])])
async def test_backoffs_of_the_shorthand(harness: MakeHarness, backoff: Any, delays: list[int]) -> None:
    def fail() -> None:
        raise OSError("no")

    @zart_durable()
    async def tries() -> None:
        await zart.z_step_with_retry("s", fail, retries=2, backoff=backoff)

    async with harness(tries) as h:
        began = h.clock.now()
        handle = await h.client.start_for(tries, "x", None)
        with pytest.raises(ExecutionFailed):
            await handle.result("1h")
        record = await handle.record()
        assert record.steps[0].attempts == len(delays) + 1
        assert record.completed_at == began + timedelta(seconds=sum(delays))


async def test_the_execution_is_found_wherever_code_runs(harness: MakeHarness) -> None:
    def deep(number: int) -> Awaitable[str]:
        return zart.z_step(f"deep-{number}", lambda: zart.context().execution_id)

    async def branch(number: int) -> str:
        await asyncio.sleep(0)
        return f"{number} {zart.context().execution_id} {await deep(number)}"

    def in_a_thread() -> str:
        info = zart.context()
        return f"{info.execution_id} {info.current_attempt} of {info.max_retries}"

    @zart_durable()
    async def finds() -> list[str]:
        first = await asyncio.gather(branch(1), branch(2))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch(number)) for number in (3, 4)]
        thread = await zart.z_step_with_retry("thread", in_a_thread, retries=5)
        return [*first, *(task.result() for task in tasks), thread]

    async with harness(finds) as h:
        results = [await h.client.start_for(finds, name, None) for name in ("a", "b")]
        for handle in results:
            name = handle.execution_id
            assert await handle.result("1s") == [*(f"{number} {name} {name}" for number in (1, 2, 3, 4)), f"{name} 0 of 5"]


async def test_gathered_steps_run_side_by_side(harness: MakeHarness) -> None:
    gate = asyncio.Barrier(3)

    @zart_step("meet-{number}")
    async def meet(number: int) -> int:
        await gate.wait()
        return number

    @zart_durable()
    async def meets() -> list[int]:
        return list(await asyncio.gather(*(meet(number) for number in range(3))))

    async with harness(meets) as h:
        assert await h.client.start_and_wait_for(meets, "x", None, "1s") == [0, 1, 2]


async def test_asyncio_takes_steps_as_they_are(harness: MakeHarness) -> None:
    calls: list[int] = []

    @zart_step("double-{number}")
    async def double(number: int) -> int:
        calls.append(number)
        return number * 2

    class Seven(ZartStep[int]):
        name = "seven"

        async def run(self) -> int:
            return 7

    @zart_durable()
    async def composes() -> list[Any]:
        lone = asyncio.create_task(double(1), name="lone")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(2)), group.create_task(Seven().as_step())]
        found: list[Any] = [
            await lone,
            *(task.result() for task in tasks),
            *await asyncio.gather(double(3), Seven().as_step().named("s")),
        ]
        done, late = await asyncio.wait([asyncio.ensure_future(double(4)), asyncio.create_task(zart.sleep("nap", "1h"))])
        assert not late
        found += sorted(task.result() or 0 for task in done)
        return [*found, *[await each for each in asyncio.as_completed([double(5)])], await asyncio.shield(double(6))]

    async with harness(composes) as h:
        handle = await h.client.start_for(composes, "x", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        assert await handle.result("2h") == [2, 4, 7, 6, 7, 0, 8, 10, 12]
    assert sorted(calls) == [1, 2, 3, 4, 5, 6]


async def test_a_class_of_steps_is_a_task_too(harness: MakeHarness) -> None:
    class Seven(ZartStep[int]):
        name = "seven"

        async def run(self) -> int:
            return 7

    @zart_durable()
    async def starts() -> int:
        seven: Any = Seven()  # a checker wants to see the coroutine: Seven().as_step()
        return int(await asyncio.create_task(seven))

    async with harness(starts) as h:
        assert await h.client.start_and_wait_for(starts, "x", None, "1s") == 7


async def test_one_step_in_two_tasks_is_one_name_twice(harness: MakeHarness) -> None:
    step = Step.of("one", lambda: 1)

    @zart_durable()
    async def twice() -> list[str]:
        tasks = [asyncio.create_task(step) for _ in range(2)]
        return [str(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]

    async with harness(twice) as h:
        first, second = await h.client.start_and_wait_for(twice, "x", None, "1s")
    assert first == "1"
    assert second.startswith("the name 'one' is used twice in one execution")


async def test_a_step_is_not_driven_by_hand(harness: MakeHarness) -> None:
    @zart_durable()
    async def drives() -> str:
        try:
            Step.of("s", lambda: 1).send(None)
        except TypeError as error:
            return str(error)

    async with harness(drives) as h:
        handle = await h.client.start_for(drives, "x", None)
        assert await handle.result("1s") == "step 's' is not driven by hand; await it, or give it to asyncio.create_task"
        assert (await handle.record()).steps == []


async def test_a_task_of_a_step_inside_a_step_says_what_to_do(harness: MakeHarness) -> None:
    async def on_the_loop() -> None:
        await asyncio.create_task(Step.of("inner", lambda: 1))

    def in_a_thread() -> None:
        asyncio.run(Step.of("inner", lambda: 1))

    @zart_durable()
    async def nests() -> list[str]:
        outer = [Step.of("loop", on_the_loop), Step.of("thread", in_a_thread)]
        return [str(each) for each in await asyncio.gather(*outer, return_exceptions=True)]

    async with harness(nests) as h:
        for name, said in zip(("loop", "thread"), await h.client.start_and_wait_for(nests, "x", None, "1s"), strict=True):
            assert f"'inner' was asked for inside the function of step '{name}'; steps do not nest" in said


async def test_what_is_asked_for_in_another_thread_of_a_body_says_what_to_do(harness: MakeHarness) -> None:
    async def awaits(step: Step[int]) -> int:
        return await step

    asks: list[Callable[[], Any]] = [
        lambda: asyncio.run(zart.require(Step.of("elsewhere", lambda: 1))),
        lambda: asyncio.run(awaits(Step.of("elsewhere", lambda: 1))),
        lambda: asyncio.run(zart.sleep("elsewhere", "1s")),
        lambda: asyncio.run(zart.now("elsewhere")),
        lambda: zart.schedule(Step.of("elsewhere", lambda: 1)),
    ]

    @zart_durable()
    async def in_a_thread() -> list[str]:
        told = []
        for ask in asks:
            try:
                await asyncio.to_thread(ask)
            except NoActiveExecution as error:
                told.append(str(error))
        return told

    async with harness(in_a_thread) as h:
        handle = await h.client.start_for(in_a_thread, "x", None)
        told = await handle.result("1s")
        assert len(told) == len(asks)
        assert set(told) == {told[0]}
        assert "'elsewhere' was asked for in another thread or event loop than that of the handler's body; await it" in told[0]
        assert (await handle.record()).steps == []


@pytest.mark.parametrize("cause", [None, ValueError("because")])
async def test_a_bare_nonretryable_stops_at_once(harness: MakeHarness, cause: Exception | None) -> None:
    calls = []

    def stops() -> None:
        calls.append(1)
        raise NonRetryable from cause

    @zart_durable()
    async def calls_it() -> str:
        try:
            await zart.z_step_with_retry("stops", stops, retries=3, delay=0)
        except StepFailed as error:
            return f"{error.error_type}: {error.message}"
        return "never"

    async with harness(calls_it) as h:
        handle = await h.client.start_for(calls_it, "x", None)
        said = await handle.result("1s")
    assert said == ("NonRetryable: not worth another try" if cause is None else "ValueError: because")
    assert calls == [1]


async def test_a_body_that_is_not_worth_another_try_is_not_run_again(harness: MakeHarness) -> None:
    calls = []

    @zart_durable(max_retries=3)
    async def stops() -> None:
        calls.append(1)
        raise NonRetryable

    async with harness(stops) as h:
        handle = await h.client.start_for(stops, "x", None)
        with pytest.raises(ExecutionFailed, match="not worth another try"):
            await handle.result("1h")
    assert calls == [1]


async def test_one_name_twice_is_refused_and_named_gives_another(harness: MakeHarness) -> None:
    @zart_step("once")
    def once() -> int:
        return 1

    @zart_durable()
    async def twice() -> list[Any]:
        found: list[Any] = [await once(), await once().named("again")]
        try:
            await once()
        except zart.DuplicateStepName as error:
            found.append(error.name)
        return found

    async with harness(twice) as h:
        assert await h.client.start_and_wait_for(twice, "x", None, "1s") == [1, 1, "once"]


async def test_a_step_made_outside_and_a_method_step_are_performed_inside(harness: MakeHarness) -> None:
    class Bank:
        def __init__(self, rate: int) -> None:
            self.rate = rate

        @zart_step("pay-{amount}")
        def pay(self, amount: int) -> int:
            return amount * self.rate

    def handler(bank: Bank) -> TaskHandler[int, list[int]]:
        fixed = Step.of("fixed", bank.pay.fn, 1)

        @zart_durable("pays")
        async def pays(amount: int) -> list[int]:
            return [await fixed, await bank.pay(amount)]

        return pays

    made = handler(Bank(3))
    async with harness(made) as h:
        assert await h.client.start_and_wait_for(made, "x", 5, "1s") == [3, 15]


async def test_the_context_of_a_class_and_free_functions_are_one(harness: MakeHarness) -> None:
    class Both(TaskHandler[None, list[Any]]):
        async def run(self, ctx: TaskContext, data: None) -> list[Any]:
            first = await ctx.wait_for_event("e", int)
            second = await zart.wait_for_event("e", int)
            return [first, second, ctx.info is zart.context()]

    async with harness(Both()) as h:
        handle = await h.client.start_for(Both, "x", None)
        await handle.send("e", 1)
        await handle.send("e", 2)
        assert await handle.result("1s") == [1, 2, True]
        assert [step.name for step in (await handle.record()).steps] == ["e", "e#2"]


async def test_a_transaction_is_a_step_where_storage_has_them(harness: MakeHarness) -> None:
    async def add(connection: AsyncConnection, one: int, other: int) -> int:
        return int((await connection.execute(select(literal(one) + literal(other)))).scalar_one())

    @zart_durable()
    async def adds() -> int | str:
        try:
            return await zart.transaction("add", add, 1, 2, retry=RetryConfig.fixed(1, "1s"))
        except NotSupported:
            return "not supported"

    async with harness(adds) as h:
        wanted = 3 if isinstance(h.scheduler, Transactional) else "not supported"
        assert await h.client.start_and_wait_for(adds, "x", None, "1m") == wanted


async def test_registries_of_one_process_run_each_its_own(harness: MakeHarness) -> None:
    registries = {name: Registry() for name in ("one", "two")}
    for name, registry in registries.items():

        def work(name: str = name) -> str:
            return name

        @registry.durable("same")
        async def same(data: str, work: Callable[[], str] = work) -> str:
            step: Step[str] = Registry.step("work")(work)()
            return data + await step

    for name, registry in registries.items():
        (task,) = registry
        async with harness(task.handler) as h:
            handle = await h.client.start(f"x-{name}", "same", "I am ")
            assert await handle.result("1s") == f"I am {name}"


async def test_a_function_style_workflow_survives_a_crash_after_every_save() -> None:
    @zart_step("double-{number}", retry=RetryConfig.fixed(1, "1s"))
    async def double(number: int) -> int:
        if not zart.context().is_retry():
            raise OSError("once")
        return number * 2

    @zart_step("square-{number}")
    def square(number: int) -> int:
        return number * number

    async def mend(data: int, failure: ExecutionFailure) -> list[Any]:
        return [str(await zart.now("mended")), str(failure.error), await square(data)]

    @zart_durable("sound", on_failure=mend)
    async def sound(data: int) -> list[Any]:
        await asyncio.gather(double(data), square(data + 1), zart.sleep("nap", "1h"))
        await zart.z_wait_event("never", timeout="2h")
        return []

    await replay_check(sound, 3)


# ---- failures as values ---------------------------------------------------------------------------------------------


class Plain(Exception):
    pass


class Coded(Exception):
    def __init__(self, code: int, *, retry: bool = False) -> None:
        super().__init__(f"declined with {code}")
        self.code = code
        self.retry = retry


class Cheaper(Plain):
    pass


@attrs.define
class AttrsError(Exception):
    amount: Decimal
    when: datetime
    notes: list[str] = attrs.field(factory=list)


@attrs.frozen
class FrozenError(Exception):
    amount: Decimal


@dataclass
class DataError(Exception):
    amount: Decimal
    ids: frozenset[int]


@dataclass(frozen=True)
class FrozenDataError(Exception):
    code: int


class Slotted(Exception):
    __slots__ = ("extra",)

    def __init__(self, extra: str) -> None:
        self.extra = extra


class Wordy(Exception):
    def __str__(self) -> str:
        return "always the same words"


NOTED = Plain("noted")
NOTED.add_note("a note")
CHAINED = Plain("chained")
CHAINED.__cause__ = ValueError("the cause")
FAR = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BUSINESS: list[Exception] = [
    Plain(),
    Plain("text"),
    Plain("text", 3, None, ("a", 1), Decimal("1.10"), FAR, b"\x00"),
    Plain("nul \x00, surrogate \ud800, nan", float("inf")),
    Cheaper("a subclass of a declared class"),
    Coded(3, retry=True),
    AttrsError(Decimal("1.10"), FAR, ["x"]),
    FrozenError(Decimal("-0")),
    DataError(Decimal("1.10"), frozenset({1, 2})),
    FrozenDataError(7),
    Slotted("x"),
    Wordy(1, 2),
    NOTED,
    CHAINED,
    KeyError("key"),
    OSError(2, "no such file", "path"),
    ExceptionGroup("several", [Plain("one"), Coded(2)]),
]


def essence(error: BaseException) -> tuple[Any, ...]:
    """Return what must be the same of an error on the first run and on replay."""
    fields = {
        name: getattr(error, name)
        for name in ("amount", "when", "notes", "ids", "code", "retry", "extra")
        if hasattr(error, name)
    }
    notes = getattr(error, "__notes__", [])
    inner = [essence(each) for each in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    return type(error), str(error), repr(error.args), repr(fields), notes, inner


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("number", range(len(BUSINESS)), ids=lambda number: f"{number}-{type(BUSINESS[number]).__name__}")
async def test_a_business_error_comes_back_as_itself(harness: MakeHarness, number: int, kind: str) -> None:
    given = BUSINESS[number]
    wanted = essence(given)
    declared = Plain if isinstance(given, Plain) else type(given)
    seen: list[BaseException] = []
    declared_for_all = (declared, Plain, Coded)

    def decide() -> None:
        raise given

    async def decide_on_the_loop() -> None:
        raise given

    fn = decide if kind == "sync" else decide_on_the_loop

    @zart_durable()
    async def decides() -> str:
        # A decision is not retried, whatever the policy.
        match await zart.step(Step.of("s", fn, raises=declared_for_all, retry=RetryConfig.fixed(3, "1s"))):
            case BusinessErr(error):
                seen.append(error)
        await zart.sleep("nap", "1h")
        return "decided"

    async with harness(decides) as h:
        handle = await h.client.start_for(decides, "x", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        assert await handle.result("2h") == "decided"
        assert (await handle.record()).steps[0].attempts == 1
    assert len(seen) == 2
    for error in seen:
        assert essence(error) == wanted
        assert error.zart_step == "s"


async def test_an_error_declared_by_the_handler_is_a_business_error_of_all_its_steps(harness: MakeHarness) -> None:
    async def decline() -> int:
        raise Declined("no")

    @zart_durable(raises=Declined)
    async def declares() -> list[str]:
        outcome = await zart.step(Step.of("s", decline))
        waited = await zart.wait([zart.schedule(Step.of("t", decline))])
        other = await zart.step_or_else(Step.of("u", decline), str)
        return [*(type(each).__name__ for each in (outcome, *waited)), str(other)]

    async with harness(declares) as h:
        assert await h.client.start_and_wait_for(declares, "x", None, "1s") == ["BusinessErr", "BusinessErr", "no"]


async def test_every_outcome_is_a_value(harness: MakeHarness) -> None:
    async def fail() -> None:
        raise KeyError("k")

    async def decline() -> None:
        raise Declined("card", 3)

    def unsaveable() -> Any:
        return Registry()

    @zart_durable()
    async def matches() -> list[str]:
        steps: list[Step[Any]] = [
            Step.of("ok", lambda: 1),
            Step.of("business", decline, raises=Declined),
            Step.of("failed", fail),
            Step.of("exhausted", fail, retry=RetryConfig.fixed(2, "1s")),
            Step.of("insistent", decline, raises=Declined, retry=RetryConfig.fixed(2, "1s", retry_on=Declined)),
            Step.of("late", fail, retry=RetryConfig.fixed(2, "10s"), timeout="5s"),
            Step.of("unsaveable", unsaveable),
        ]
        found = []
        for step in steps:
            match await zart.step(step):
                case Ok(value):
                    found.append(f"ok {value}")
                case BusinessErr(Declined(args=args)):
                    found.append(f"business {args}")
                case ZartErr(StepFailed(step=name, error_type=kind)):
                    found.append(f"{name} {kind}")
                case ZartErr(RetryExhausted(attempts=attempts, last_error=StepFailed() as last)):
                    found.append(f"{attempts} times {last.error_type}")
                case ZartErr(RetryExhausted(attempts=attempts, last_error=last)):
                    found.append(f"{attempts} times {last!r}")
                case ZartErr(StepTimedOut(timeout=timeout)):
                    found.append(f"after {timeout:g} s")
                case ZartErr(error):
                    found.append(type(error).__name__)
        await zart.sleep("nap", "1h")
        passes.append(found)
        return found

    passes: list[list[str]] = []
    async with harness(matches) as h:
        handle = await h.client.start_for(matches, "x", None)
        await h.advance("1m")
        await h.kill()
        await h.restart()
        assert await handle.result("2h") == [
            "ok 1",
            "business ('card', 3)",
            "failed KeyError",
            "3 times KeyError",
            "3 times Declined('card', 3)",
            "after 5 s",
            "UndeclaredType",
        ]


@frozen
class Case:
    """How a body fails, and what `on_failure` must be told."""

    name: str
    wanted: str
    times: int = 1


CASES = [
    Case("step", "StepFailure pay KeyError, raised as StepFailed"),
    Case("business", "StepFailure decide Declined, raised as Declined"),
    Case("exhausted", "StepFailure again RetryExhausted, raised as RetryExhausted"),
    Case("event", "StepFailure go EventTimeout, raised as EventTimeout"),
    Case("body", "BodyFailure ZeroDivisionError, raised as ZeroDivisionError"),
    Case("declared", "BodyFailure Declined, raised as Declined"),
    Case("deadline", "DeadlineExceeded, raised as TaskTimeout"),
    Case("twice", "RetriesExhausted after 2: BodyFailure ZeroDivisionError, raised as MaxRetriesExhausted", 2),
]


def told(failure: ExecutionFailure) -> str:
    """Say what a failure is, by `match`."""
    match failure:
        case StepFailure(step=step, error_type=kind):
            return f"StepFailure {step} {kind.rpartition('.')[2]}"
        case RetriesExhausted(attempts=attempts, last=last):
            return f"RetriesExhausted after {attempts}: {told(last)}"
        case DeadlineExceeded():
            return "DeadlineExceeded"
        case BodyFailure(error_type=kind):
            return f"BodyFailure {kind.rpartition('.')[2]}"
        case _:
            return "something else"


async def fails_as(case: str) -> str:
    def fail() -> None:
        raise KeyError("k")

    def decline() -> None:
        raise Declined("no")

    match case:
        case "step":
            await zart.z_step("pay", fail)
        case "business":
            await Step.of("decide", decline, raises=Declined)
        case "exhausted":
            await zart.z_step_with_retry("again", fail, retries=1)
        case "event":
            await zart.z_wait_event("go", timeout="1h")
        case "deadline":
            await zart.wait_for_event("go")
        case "declared":
            raise Declined("by the body")
        case _:
            raise ZeroDivisionError("by the body")
    return "not at all"


@pytest.mark.parametrize("style", ["class", "function"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_on_failure_matches_what_happened(harness: MakeHarness, case: Case, style: str) -> None:
    async def compensate(data: str, failure: ExecutionFailure) -> str:
        said = f"{told(failure)}, raised as {type(failure.error).__name__}"
        await zart.sleep("nap", "1m")
        return said

    @zart_durable("fails", on_failure=compensate, timeout="1d", max_retries=case.times - 1, raises=Declined)
    async def fails(data: str) -> str:
        return await fails_as(data)

    class Fails(TaskHandler[str, str]):
        name = "fails"
        timeout = "1d"
        max_retries = case.times - 1
        raises = Declined

        async def run(self, ctx: TaskContext, data: str) -> str:
            return await fails_as(data)

        async def on_failure(self, ctx: TaskContext, data: str, failure: ExecutionFailure) -> str:
            return await compensate(data, failure)

    handler = fails if style == "function" else Fails()
    async with harness(handler) as h:
        handle = await h.client.start_for(handler, "x", case.name)
        assert await handle.result("30h") == case.wanted


async def test_a_failure_reaches_those_who_wait_as_itself(harness: MakeHarness) -> None:
    @zart_durable(raises=AttrsError)
    async def declines() -> None:
        def decline() -> None:
            raise AttrsError(Decimal("1.10"), FAR)

        await zart.z_step("s", decline)

    async with harness(declines) as h:
        with pytest.raises(ExecutionFailed) as failed:
            await h.client.start_and_wait_for(declines, "x", None, "1s")
        with pytest.raises(ExecutionFailed) as again:
            await h.client.wait_for(declines, "x", "1s")
    for each in (failed, again):
        error = each.value.failure.error
        assert isinstance(error, AttrsError)
        assert essence(error) == essence(AttrsError(Decimal("1.10"), FAR))


async def test_the_original_is_the_cause_on_the_first_run(harness: MakeHarness) -> None:
    seen: list[StepFailed] = []

    @zart_durable()
    async def looks() -> None:
        def fail() -> None:
            raise KeyError("k")

        try:
            await zart.z_step("s", fail)
        except StepFailed as error:
            seen.append(error)
        await zart.sleep("nap", "1h")

    async with harness(looks) as h:
        handle = await h.client.start_for(looks, "x", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        await handle.result("2h")
    first, replayed = seen
    assert isinstance(first.__cause__, KeyError)
    assert replayed.__cause__ is None
    assert "in fail\n" in replayed.traceback
    assert first.traceback == replayed.traceback


async def test_status_keeps_the_error_of_every_attempt(harness: MakeHarness) -> None:
    errors = iter([OSError("first"), ValueError("second"), KeyError("third"), OSError("fourth"), None])

    async def flaky() -> int:
        error = next(errors)
        if error is not None:
            raise error
        return 1

    @zart_durable(max_retries=1, retry=None)
    async def tries() -> int:
        return await zart.z_step_with_retry("s", flaky, retries=2, backoff="fixed", delay="1h")

    async with harness(tries) as h:
        handle = await h.client.start_for(tries, "x", None)
        await h.run_to_idle()
        (step,) = (await handle.record()).steps
        assert (step.status, step.attempts, step.errors, step.error) == ("waiting", 1, ("OSError: first",), "OSError: first")
        assert await handle.result("10h") == 1
        first, second = (await handle.record()).steps
    assert (first.status, first.attempts) == ("retried", 3)
    assert first.errors == ("OSError: first", "ValueError: second", "KeyError: 'third'")
    assert first.error is not None
    assert first.error.startswith("RetryExhausted: step 's' failed 3 times, the last time with: ")
    assert (second.status, second.attempts, second.errors) == ("completed", 2, ("OSError: fourth",))


async def test_equal_steps_are_two_steps(harness: MakeHarness) -> None:
    @zart_step("ping")
    async def ping(number: int, numbers: list[int]) -> int:
        return number

    @zart_durable("twice")
    async def twice(data: None) -> list[int]:
        return await asyncio.gather(ping(1, [1]), ping(1, [1]).named("again"), ping(1, [1]))

    async with harness(twice) as h:
        await h.client.start_for(twice, "t-1", None)
        with pytest.raises(ExecutionFailed, match="used twice in one execution"):
            await h.client.wait_for(twice, "t-1", "1h")


async def test_a_body_may_call_its_context_what_it_likes(harness: MakeHarness) -> None:
    class Doubles(TaskHandler):  # type: ignore[type-arg] # the annotations say it
        name = "doubles"

        async def run(self, context: TaskContext, number: int) -> int:
            return 2 * number

    async with harness(Doubles()) as h:
        await h.client.start_for(Doubles, "d-1", 4)
        assert await h.client.wait_for(Doubles, "d-1", "1h") == 8
