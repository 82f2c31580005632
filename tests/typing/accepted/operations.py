"""The operations, as methods and as free functions: arguments are checked, and results inferred."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, assert_type
from uuid import UUID

from attrs import frozen

import zart
from zart import (
    BusinessErr,
    ExecutionInfo,
    Ok,
    Registry,
    RetryConfig,
    Step,
    StepHandle,
    StepOutcome,
    TaskContext,
    ZartErr,
    ZartStep,
    zart_step,
)

POLICY = RetryConfig.exponential(3, "2s")


@frozen
class Charge:
    """A result."""

    id: str


class Declined(Exception):
    """A decision."""


async def charge(order_id: str, amount: int, currency: str = "EUR") -> Charge:
    """Return a result asynchronously."""
    return Charge(order_id)


def count(text: str) -> int:
    """Return a result from a thread."""
    return len(text)


async def nothing() -> None:
    """Return nothing."""


def several(first: int, *rest: str) -> str:
    """Take any number."""
    return f"{first}{rest}"


class Bank:
    """Something with methods."""

    async def pay(self, amount: int) -> Charge:
        """Pay."""
        return Charge(str(amount))

    @zart_step("pay-{amount}")
    async def step(self, amount: int) -> Charge:
        """Pay, as a step."""
        return Charge(str(amount))


class Class(ZartStep[Charge]):
    """A step as a class."""

    name = "class"
    retry = POLICY
    raises = Declined

    async def run(self) -> Charge:
        """Work."""
        return Charge("c")


@zart_step("charge-{order_id}", retry=POLICY, timeout="30s", raises=(Declined,))
async def charging(order_id: str, amount: int, *, currency: str = "EUR") -> Charge:
    """Return a result asynchronously."""
    return Charge(order_id)


@zart_step("count")
def counting(text: str) -> int:
    """Return a result from a thread."""
    return len(text)


@zart_step("untyped", returns=Charge)
def untyped(order_id: str) -> Any:
    """Say elsewhere what is returned."""
    return Charge(order_id)


@Registry.step("registered", timeout="1s")
def registered(text: str) -> int:
    """Be a step of a registry."""
    return len(text)


async def steps(ctx: TaskContext, loose: Callable[..., Any]) -> None:
    """Ask for steps."""
    assert_type(await ctx.step("s", charge, "o", 1), Charge)
    assert_type(await ctx.step("s", charge, "o", 1, "CHF", timeout="1s", raises=Declined, retry=POLICY), Charge)
    assert_type(await ctx.step("s", count, "text"), int)
    assert_type(await ctx.step("s", nothing), None)
    assert_type(await ctx.step("s", lambda: 1), int)
    assert_type(await ctx.step("s", lambda: charge("o", 1)), Charge)
    assert_type(await ctx.step("s", partial(charge, "o", currency="CHF"), 1), Charge)
    assert_type(await ctx.step("s", Bank().pay, 1), Charge)
    assert_type(await ctx.step("s", several, 1, "a", "b"), str)
    assert_type(await ctx.step("s", Charge, "o"), Charge)
    assert_type(await ctx.step("s", len, [1]), int)
    assert_type(await ctx.step("s", charge, "o", 1, returns=Charge), Charge)
    assert_type(await ctx.step("s", loose, 1, 2), Any)
    print(await ctx.step("s", count, "text"), await zart.z_step("s", charge, "o", 1))
    assert_type(await ctx.step_with_retry("s", POLICY, charge, "o", 1), Charge)
    assert_type(await ctx.step_with_retry("s", POLICY, count, "text", returns=int), int)
    assert_type(await zart.z_step("s", charge, "o", 1), Charge)
    assert_type(await zart.z_step("s", count, "text"), int)
    assert_type(await zart.z_step_with_retry("s", charge, "o", 1, retries=2, backoff="linear", delay="1s"), Charge)


async def transactions(ctx: TaskContext) -> None:
    """Ask for steps that write to the storage's own database."""

    async def write(connection: Any, text: str) -> int:
        return len(text)

    assert_type(await ctx.transaction("t", write, "text"), int)
    assert_type(await zart.transaction("t", write, "text", retry=POLICY), int)


async def step_objects(ctx: TaskContext) -> None:
    """Make steps, and await them."""
    step = Step.of("s", charge, "o", 1, retry=POLICY)
    assert_type(step, Step[Charge])
    assert_type(step.named("t"), Step[Charge])
    assert_type(Step.of("s", count, "text"), Step[int])
    assert_type(Step.of("s", count, "text", returns=int), Step[int])
    assert_type(charging("o", 1, currency="CHF"), Step[Charge])
    assert_type(counting(text="text"), Step[int])
    assert_type(untyped("o"), Step[Charge])
    assert_type(registered("text"), Step[int])
    assert_type(Bank().step(1), Step[Charge])
    assert_type(await charging.fn("o", 1), Any)
    assert_type(await step, Charge)
    assert_type(await Class(), Charge)
    assert_type(await zart.require(step), Charge)
    assert_type(await ctx.require(Class()), Charge)
    assert_type(await zart.step(step), StepOutcome[Charge])
    assert_type(await ctx.outcome(Class()), StepOutcome[Charge])
    assert_type(await zart.step_or(step, None), Charge | None)
    assert_type(await ctx.step_or(counting("x"), 0), int)
    assert_type(await zart.step_or_else(step, lambda error: error.args), Charge | tuple[Any, ...])
    handle = zart.schedule(step)
    assert_type(handle, StepHandle[Charge])
    assert_type(await zart.wait([handle]), list[StepOutcome[Charge]])
    assert_type([outcome.unwrap() for outcome in await ctx.wait([ctx.schedule(step)])], list[Charge])
    assert_type(await asyncio.gather(step, counting("x")), tuple[Charge, int])
    assert_type(await asyncio.create_task(step), Charge)
    assert_type(await asyncio.ensure_future(counting("x")), int)
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(counting("x")), asyncio.Task[int])
        assert_type(group.create_task(Class().as_step(), name="class"), asyncio.Task[Charge])
    print(await step, await zart.require(step), await zart.step_or(counting("x"), 0))
    wider: Charge | None = await ctx.require(step)
    some: list[StepHandle[Charge | int]] = [zart.schedule(step), zart.schedule(counting("x"))]
    outcomes: list[StepOutcome[Charge | int]] = await zart.wait(some)
    print(wider, outcomes)
    match await zart.step(step):
        case Ok(value):
            assert_type(value, Charge)
        case BusinessErr(error) | ZartErr(error):
            assert_type(error, BaseException)


async def the_rest(ctx: TaskContext) -> None:
    """Ask for events, time and chance."""
    assert_type(await ctx.wait_for_event("e"), Any)
    assert_type(await ctx.wait_for_event("e", Charge, timeout="48h"), Charge)
    assert_type(await ctx.wait_for_event("e", list[int], name="w"), list[int])
    assert_type(await ctx.wait_for_event("e", int | None), Any)
    assert_type(await zart.wait_for_event("e", Charge, timeout="48h"), Charge)
    assert_type(await zart.wait_for_event("e"), Any)
    print(await ctx.wait_for_event("e", Charge))
    number: float = await ctx.wait_for_event("e", int)
    maybe: int | None = await ctx.wait_for_event("e", int | None)
    print(number, maybe)
    assert_type(await zart.z_wait_event("e", Charge), Charge)
    assert_type(await zart.z_wait_event("e", timeout="1h"), Any)
    assert_type(await zart.capture("c", lambda: 1), int)
    assert_type(await ctx.capture("c", lambda: Charge("x")), Charge)
    assert_type(await zart.now("n"), datetime)
    assert_type(await zart.uuid("u"), UUID)
    assert_type(await zart.random("r"), float)
    assert_type(zart.context(), ExecutionInfo)
    await zart.sleep("s", "1h")
    await zart.sleep_until("s", datetime.now(UTC))
