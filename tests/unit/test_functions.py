"""`@zart_durable`, `@zart_step` and the free functions where there is no execution around them."""

import asyncio
import inspect
import sys
from datetime import date
from functools import partial, wraps
from types import ModuleType
from typing import Any

import pytest
from attrs import frozen

import zart
import zart.testing
from zart import InsideStep, NoActiveExecution, Registry, RetryConfig, Step, TaskHandler, ZartStep, zart_durable, zart_step
from zart.calls import is_coroutine_function
from zart.codec import codec_for
from zart.registry import data_codec, output_codec


@frozen
class Order:
    id: str
    total: int


async def charge(order: Order, day: date = date(2026, 1, 2), *, currency: str = "EUR") -> str:
    return f"{order.total} {currency} on {day}"


def add(one: int, other: int) -> int:
    return one + other


# ---- steps ----------------------------------------------------------------------------------------------------------


def test_a_decorated_function_runs_nothing_and_returns_a_step() -> None:
    calls: list[int] = []

    @zart_step("count")
    def count(number: int) -> int:
        calls.append(number)
        return number

    step = count(1)
    assert isinstance(step, Step)
    assert (step.name, step.args, calls) == ("count", (1,), [])
    assert count.fn(2) == 2
    assert calls == [2]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("charge", "charge"),
        ("charge-{order.id}", "charge-o-1"),
        ("{order.total:05}/{currency}", "00007/EUR"),
        ("{day:%d %b}", "02 Jan"),
        ("{order!r}", "Order(id='o-1', total=7)"),
        ("{{x}}-{currency}", "{x}-EUR"),
        ("{{x}}", "{x}"),
    ],
)
def test_a_name_is_filled_from_the_arguments(template: str, name: str) -> None:
    step = zart_step(template)(charge)(Order("o-1", 7))
    assert step.name == name
    assert step.named("other").name == "other"
    assert step.named("other").args == step.args


async def test_arguments_reach_the_function_however_they_are_given() -> None:
    factory = zart_step("charge-{currency}")(charge)
    step = factory(order=Order("o-1", 7), currency="CHF")
    assert step.name == "charge-CHF"
    assert is_coroutine_function(step.fn)
    assert await step.fn(*step.args) == "7 CHF on 2026-01-02"


def variadic(first: int, *rest: int, unit: str, **others: int) -> str:
    return f"{first} {rest} {unit} {others}"


def positional(first: int, second: int = 2, /, third: int = 3) -> str:
    return f"{first} {second} {third}"


@pytest.mark.parametrize(
    ("fn", "template", "args", "kwargs", "name", "result"),
    [
        (variadic, "{first} {unit}", (1, 2, 3), {"unit": "s", "x": 4}, "1 s", "1 (2, 3) s {'x': 4}"),
        (variadic, "{first}", (1,), {"unit": "s"}, "1", "1 () s {}"),
        (positional, "{first} {second} {third}", (1,), {}, "1 2 3", "1 2 3"),
        (positional, "{first} {second} {third}", (7, 8, 9), {}, "7 8 9", "7 8 9"),
        (positional, "{first} {second} {third}", (7,), {"third": 9}, "7 2 9", "7 2 9"),
        (charge, "{order} {day:%d} {currency}", (1,), {"currency": "CHF"}, "1 02 CHF", None),
    ],
)
def test_any_signature_is_called_and_named_alike(
    fn: Any, template: str, args: Any, kwargs: Any, name: str, result: str
) -> None:
    step: Any = zart_step(template)(fn)(*args, **kwargs)
    assert step.name == name
    if result is not None:
        assert step.fn(*step.args) == result


@pytest.mark.parametrize(
    ("fn", "args"),
    [(variadic, ()), (variadic, (1,)), (variadic, (1, 2)), (positional, ()), (positional, (1, 2, 3, 4)), (charge, ())],
)
def test_arguments_that_do_not_fit_any_signature_are_refused(fn: Any, args: Any) -> None:
    factory: Any = zart_step("s")(fn)
    with pytest.raises(TypeError, match=r"step 's' cannot be made: \w+\(\): "):
        factory(*args)


@pytest.mark.parametrize("template", ["charge-{nobody}", "{}", "{0}", "{nobody.id}", "{nobody[0]}", "{day:{nobody}}"])
def test_a_field_that_is_no_parameter_is_refused_at_once(template: str) -> None:
    with pytest.raises(ValueError, match="the parameters of charge are: order, day, currency"):
        zart_step(template)(charge)


@pytest.mark.parametrize(("template", "message"), [("a{", "cannot be read"), ("", "step name"), ("a\x00", "step name")])
def test_a_bad_name_is_refused_at_once(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zart_step(template)(charge)


def test_what_makes_no_name_is_refused_by_the_call() -> None:
    with pytest.raises(ValueError, match=r"cannot be filled from the arguments of charge: AttributeError"):
        zart_step("{order.nothing}")(charge)(Order("o-1", 7))
    with pytest.raises(ValueError, match="step name"):
        zart_step("{currency}")(charge)(Order("o-1", 7), currency="x" * 256)


def test_wrong_arguments_are_refused_by_the_call_and_not_by_the_step() -> None:
    factory: Any = zart_step("charge")(charge)
    with pytest.raises(TypeError, match=r"step 'charge' cannot be made: charge\(\): missing a required argument: 'order'"):
        factory()
    with pytest.raises(TypeError, match="too many positional arguments"):
        factory(1, 2, 3)


def test_options_are_checked_at_once_and_reach_the_step() -> None:
    class Declined(Exception):
        pass

    policy = RetryConfig.fixed(3, "1s")
    factory = zart_step("c", retry=policy, timeout="30s", timeout_scope="per_attempt", raises=Declined)(charge)
    options = factory(Order("o-1", 7)).options
    assert (options.retry, options.timeout, options.per_attempt, options.raises) == (policy, 30_000_000, True, (Declined,))
    with pytest.raises(ValueError, match="timeout"):
        zart_step("c", timeout=-1)
    with pytest.raises(TypeError, match="raises"):
        zart_step("c", raises=("Declined",))
    with pytest.raises(TypeError, match=r"write @zart_step\('name-of-the-step'\)"):
        zart_step(charge)


def generate() -> Any:
    yield 1


async def generate_on_the_loop() -> Any:
    yield 1


class Generates:
    def __call__(self) -> Any:
        yield 1


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (generate, "generate is a generator function, and what it yields cannot be saved; return a list instead"),
        (generate_on_the_loop, "generate_on_the_loop is a generator function"),
        (partial(generate), "is a generator function"),
        (Generates(), "is a generator function"),
        (staticmethod(add), "write @staticmethod above @zart_step, not below: add is decorated as a staticmethod"),
        (classmethod(add), "write @classmethod above @zart_step, not below"),
        (zart_step("s")(add), "add is made into a step already"),
        (zart_step("s")(add)(1, 2), "zart_step decorates functions, and Step.* is none"),
        (property(add), "zart_step decorates functions"),
        (3, "zart_step decorates functions, and 3 is none"),
        (min, "the parameters of min cannot be told; call it in a function of your own"),
    ],
)
def test_what_makes_no_steps_is_refused_by_the_decorator(fn: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        zart_step("s")(fn)


async def test_a_step_object_calls_a_function() -> None:
    called = charge(Order("o-1", 7))
    with pytest.raises(TypeError, match="this is of type coroutine; pass the function and its arguments, and do not call it"):
        Step.of("s", called)
    with pytest.raises(TypeError, match="this is of type int; pass a function"):
        Step.of("s", 3)
    called.close()


def test_a_class_of_steps_without_a_name_is_told_so() -> None:
    class Nameless(ZartStep[int]):
        async def run(self) -> int:
            return 1

    with pytest.raises(TypeError, match="Nameless is a step without a name; give its class one"):
        Nameless().as_step()


def test_a_result_that_cannot_be_saved_is_refused_at_once() -> None:
    message = r"the result of .*\bbad cannot be saved: values of type Registry cannot be saved; use"

    def bad() -> Registry: ...

    for fn in (bad, partial(bad)):
        with pytest.raises(TypeError, match=message):
            zart_step("bad")(fn)
        with pytest.raises(TypeError, match=message):
            Step.of("bad", fn)


def test_a_result_defined_further_down_is_looked_up_by_the_first_call() -> None:
    namespace: dict[str, Any] = {"zart_step": zart_step, "frozen": frozen}
    exec("@zart_step('later')\ndef later() -> 'Later': ...\n@frozen\nclass Later:\n    a: int\nstep = later()", namespace)
    assert namespace["step"].codec is codec_for(namespace["Later"])


def test_a_result_with_parts_defined_further_down_is_looked_up_by_the_first_call() -> None:
    namespace: dict[str, Any] = {"zart_step": zart_step, "frozen": frozen, "__name__": "part"}
    exec("@frozen\nclass Whole:\n    part: 'Part'\n@zart_step('later')\ndef later() -> Whole: ...", namespace)
    with pytest.raises(TypeError, match="an annotation of Whole cannot be resolved"):
        namespace["later"]()
    module = ModuleType("part")
    module.__dict__.update(namespace, Part=Order)
    sys.modules["part"] = module
    try:
        assert namespace["later"]().codec is codec_for(namespace["Whole"])
    finally:
        del sys.modules["part"]


def test_in_a_class_steps_are_methods() -> None:
    class Bank:
        def __init__(self, name: str) -> None:
            self.name = name

        @zart_step("pay-{order_id}")
        def pay(self, order_id: str) -> str:
            return f"{self.name} pays {order_id}"

    one, two = Bank("one"), Bank("two")
    steps = [one.pay("x"), two.pay("y")]
    assert [(step.name, step.fn(*step.args)) for step in steps] == [("pay-x", "one pays x"), ("pay-y", "two pays y")]
    assert Bank.pay.fn(one, "z") == "one pays z"
    assert list(inspect.signature(one.pay).parameters) == ["order_id"]


def test_the_name_of_a_methods_step_may_speak_of_its_object() -> None:
    class Bank:
        def __init__(self, name: str) -> None:
            self.name = name

        @zart_step("{self.name}-pays-{amount}-{unit}")
        def pay(self, amount: int, *, unit: str = "EUR") -> str:
            return f"{self.name} {amount} {unit}"

        @classmethod
        @zart_step("{cls.__name__}-opens-{number}")
        def open(cls, number: int) -> str:
            return f"{cls.__name__} {number}"

        @staticmethod
        @zart_step("add-{number}")
        def add(number: int) -> int:
            return number + 1

    class Big(Bank):
        pass

    bank = Bank("one")
    steps: list[Step[Any]] = [
        bank.pay(1),
        bank.pay(amount=2, unit="CHF"),
        Bank.pay(bank, 3),
        Big.open(4),
        bank.open(5),
        Bank.add(6),
        bank.add(7),
    ]
    assert [(step.name, step.fn(*step.args)) for step in steps] == [
        ("one-pays-1-EUR", "one 1 EUR"),
        ("one-pays-2-CHF", "one 2 CHF"),
        ("one-pays-3-EUR", "one 3 EUR"),
        ("Big-opens-4", "Big 4"),
        ("Bank-opens-5", "Bank 5"),
        ("add-6", 7),
        ("add-7", 8),
    ]
    wrong: Any = bank.pay
    with pytest.raises(TypeError, match="too many positional arguments"):
        wrong(1, 2)


class Adder:
    def __call__(self, one: int, other: int = 1) -> int:
        return one + other


@pytest.mark.parametrize("fn", [Adder(), partial(add, other=1), partial(add, 1)])
def test_whatever_can_be_called_makes_steps_and_no_methods(fn: Any) -> None:
    class Holder:
        step = zart_step("s")(fn)

    step = Holder().step(2)
    assert isinstance(step.fn, type(fn))
    assert step.fn(*step.args) == 3
    assert step.codec is codec_for(int)


def test_a_factory_shows_what_it_is_made_of() -> None:
    factory = zart_step("charge-{order.id}")(charge)
    assert inspect.signature(factory) == inspect.signature(charge)
    assert repr(factory) == "<step 'charge-{order.id}' of charge>"
    assert factory.template == "charge-{order.id}"


# ---- handlers -------------------------------------------------------------------------------------------------------


async def checkout(order: Order) -> str:
    """Sell something."""
    return order.id


def test_a_durable_function_is_a_handler_with_its_own_types_and_options() -> None:
    policy = RetryConfig.fixed(2, "1s")
    handler = zart_durable("shop", timeout="36h", retry=policy, queue="slow", failure_timeout="1m", raises=(ValueError,))(
        checkout
    )
    assert isinstance(handler, TaskHandler)
    assert handler.fn is checkout
    assert handler.__doc__ == "Sell something."
    assert repr(handler) == "<task 'shop' of checkout>"
    assert data_codec(handler) is codec_for(Order)
    assert output_codec(handler) is codec_for(str)
    task = Registry([handler])["shop"]
    assert (task.queue, task.retry, task.timeout, task.failure_timeout) == ("slow", policy, 36 * 3600_000_000, 60_000_000)
    assert task.raises == (ValueError,)
    assert not task.compensates


def test_the_name_is_by_default_the_functions() -> None:
    assert zart_durable()(checkout).name == "checkout"


async def test_a_function_without_arguments_takes_none() -> None:
    @zart_durable()
    async def tick() -> int:
        return 1

    assert data_codec(tick) is codec_for(None)


def test_types_are_found_in_closures_wrappers_methods_and_partials() -> None:
    @frozen
    class Local:
        a: int

    async def local(data: "Local", /) -> "Local":
        return Local(data.a)

    @wraps(local)
    async def wrapped(*args: Any, **options: Any) -> Any:
        return await local(*args, **options)

    class Shop:
        async def sell(self, order: Order) -> str:
            return order.id

    async def priced(price: int, order: Order) -> str:
        return f"{order.id} {price}"

    found = [zart_durable("x")(fn) for fn in (local, wrapped, Shop().sell, partial(priced, 3))]
    assert [handler.data_type for handler in found] == [Local, Local, Order, Order]
    assert [handler.output_type for handler in found] == [Local, Local, str, str]


def test_an_annotation_that_names_nothing_is_refused_by_the_registry() -> None:
    @zart_durable("lost")
    async def lost(data: "Nowhere") -> None: ...  # noqa: F821 # the point

    with pytest.raises(TypeError, match=r"the annotation 'Nowhere' of 'data' of .*lost cannot be resolved"):
        Registry([lost])


async def two(a: int, b: int) -> None: ...
async def keyword(*, a: int) -> None: ...
def sync(a: int) -> None: ...
async def good(data: Any, failure: Any) -> None: ...


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zart_durable()(two), "two must take one argument, the input, or none"),
        (lambda: zart_durable()(keyword), "keyword must take one argument, the input, or none"),
        (lambda: zart_durable()(sync), "sync must be an async function"),
        (lambda: zart_durable()(generate_on_the_loop), "generate_on_the_loop is a generator function"),
        (lambda: zart_durable()(staticmethod(checkout)), "write @staticmethod above @zart_durable, not below"),
        (lambda: zart_durable()(zart_step("s")(checkout)), "checkout is made into a step already"),
        (lambda: zart_durable()(3), "zart_durable decorates functions, and 3 is none"),
        (lambda: zart_durable(checkout), r"write @zart_durable\(\) above checkout"),
        (lambda: zart_durable("x", max_retries=1, retry=RetryConfig.none()), "both retry and max_retries"),
        (lambda: zart_durable("x", on_failure=sync), "on_failure must be an async function"),
        (lambda: zart_durable("x", on_failure=checkout), r"on_failure checkout must take \(data, failure\)"),
        (lambda: zart_durable("")(checkout), "task name"),
        (
            lambda: zart_durable()(partial(checkout)),
            r"has no name to be the task name; write zart_durable\('name-of-the-task'\)",
        ),
    ],
)
def test_what_cannot_be_a_handler_is_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_an_on_failure_makes_it_compensate() -> None:
    assert Registry([zart_durable("x", on_failure=good)(checkout)])["x"].compensates


def test_decorating_registers_nowhere_and_registries_do_not_know_of_each_other() -> None:
    one, two = Registry(), Registry()

    @one.durable("shop")
    async def first(order: Order) -> int:
        return 1

    @two.durable("shop")
    async def second(order: Order) -> int:
        return 2

    zart_durable("elsewhere")(checkout)
    assert [task.handler for task in one] == [first]
    assert [task.handler for task in two] == [second]
    with pytest.raises(ValueError, match="'shop' is registered already"):
        one.durable("shop")(checkout)


def test_a_step_of_a_registry_is_a_step() -> None:
    step = Registry.step("charge-{order.id}", timeout="1s")(charge)(Order("o-1", 7))
    assert (step.name, step.options.timeout) == ("charge-o-1", 1_000_000)


# ---- free functions -------------------------------------------------------------------------------------------------


def _one() -> int:
    return 1


CALLS: dict[str, Any] = {
    "require": lambda: zart.require(Step.of("s", _one)),
    "step": lambda: zart.step(Step.of("s", _one)),
    "step_or": lambda: zart.step_or(Step.of("s", _one), 2),
    "step_or_else": lambda: zart.step_or_else(Step.of("s", _one), repr),
    "schedule": lambda: zart.schedule(Step.of("s", _one)),
    "wait": lambda: zart.wait([]),
    "sleep": lambda: zart.sleep("s", 1),
    "sleep_until": lambda: zart.sleep_until("s", zart_now()),
    "wait_for_event": lambda: zart.wait_for_event("e"),
    "capture": lambda: zart.capture("c", _one),
    "now": lambda: zart.now("n"),
    "uuid": lambda: zart.uuid("u"),
    "random": lambda: zart.random("r"),
    "transaction": lambda: zart.transaction("t", good),
    "z_step": lambda: zart.z_step("z", _one),
    "z_step_with_retry": lambda: zart.z_step_with_retry("z", _one),
    "z_wait_event": lambda: zart.z_wait_event("e"),
}


def zart_now() -> Any:
    return date(2026, 1, 1)


def test_every_free_function_is_among_these() -> None:
    free = {name for name in zart.__all__ if inspect.isfunction(thing := getattr(zart, name)) and _is_free(thing)}
    assert free == {*CALLS, "context"}


def _is_free(thing: Any) -> bool:
    return bool(thing.__module__ == "zart.functions")


@pytest.mark.parametrize("name", CALLS)
async def test_a_free_function_outside_an_execution_says_what_to_do(name: str) -> None:
    with pytest.raises(NoActiveExecution, match=rf"zart\.{name}\(\) was called outside an execution; start a handler"):
        await CALLS[name]()


async def test_a_step_outside_an_execution_says_what_to_do() -> None:
    with pytest.raises(NoActiveExecution, match="step 's' was awaited outside an execution; start a handler"):
        await Step.of("s", _one)
    with pytest.raises(NoActiveExecution, match=r"zart.context\(\) was called outside an execution"):
        zart.context()


async def test_a_task_of_a_step_outside_an_execution_says_what_to_do() -> None:
    for make in (asyncio.create_task, asyncio.ensure_future, asyncio.gather):
        with pytest.raises(NoActiveExecution, match="step 's' was awaited outside an execution; start a handler"):
            await make(Step.of("s", _one))
    task = asyncio.create_task(Step.of("s", _one))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TypeError, match="Passing coroutines is forbidden"):
        await asyncio.wait([Step.of("s", _one)])


def test_a_step_run_outside_an_execution_says_what_to_do() -> None:
    with pytest.raises(NoActiveExecution, match="step 's' was awaited outside an execution; start a handler"):
        asyncio.run(Step.of("s", _one))


async def test_a_step_run_by_a_thread_outside_an_execution_says_what_to_do() -> None:
    with pytest.raises(NoActiveExecution, match="step 's' was awaited outside an execution; start a handler"):
        await asyncio.to_thread(asyncio.run, Step.of("s", _one))


@pytest.mark.parametrize("name", CALLS)
async def test_a_free_function_inside_a_step_says_what_to_do(name: str) -> None:
    seen: list[str] = []

    @zart_durable("nests")
    async def nests() -> None:
        async def inner() -> None:
            try:
                await CALLS[name]()
            except InsideStep as error:
                seen.append(str(error))

        await zart.z_step("outer", inner)

    async with zart.testing.Harness([nests]) as h:
        await h.client.start_and_wait_for(nests, "x", None, "1s")
    wanted = (
        f"'zart.{name}()' was asked for inside the function of step 'outer'; steps do not nest:"
        " call the function directly, or ask for the operation in the handler's body"
    )
    assert seen == [wanted]


async def test_a_backoff_of_no_known_kind_is_refused() -> None:
    @zart_durable("backs-off")
    async def backs_off() -> None:
        await zart.z_step_with_retry("s", _one, backoff="fibonacci")

    async with zart.testing.Harness([backs_off]) as h:
        with pytest.raises(zart.ExecutionFailed, match="backoff must be 'none', 'fixed', 'linear' or 'exponential'"):
            await h.client.start_and_wait_for(backs_off, "x", None, "1s")
