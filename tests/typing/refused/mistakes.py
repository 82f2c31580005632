"""Mistakes that mypy and pyright must both find. Each line with one is marked; a mark without a mistake is an error itself.

The mark says what mypy calls the mistake; pyright reads it as well.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

import asyncio
from typing import Any

from attrs import frozen

import zart
from zart import DurableScheduler, ExecutionFailure, RetryConfig, Step, TaskContext, TaskHandler, zart_durable, zart_step


@frozen
class Order:
    """An input."""

    id: str


@frozen
class Receipt:
    """An output."""

    payment: str


class Checkout(TaskHandler[Order, Receipt]):
    """A handler."""

    async def run(self, ctx: TaskContext, data: Order) -> Receipt:
        """Work."""
        return Receipt(data.id)


class Wrong(TaskHandler[Order, Receipt]):
    """A handler whose body takes and returns something else."""

    async def run(self, ctx: TaskContext, data: int) -> str:  # type: ignore[override]
        """Work."""
        return ""


@zart_durable("sell")
async def sell(order: Order) -> Receipt:
    """Work."""
    return Receipt(order.id)


@zart_durable()
async def tick() -> int:
    """Take nothing."""
    return 1


async def refund(order: int, failure: ExecutionFailure) -> str:
    """Make something else good."""
    return ""


async def checkout(order: Order) -> Receipt:
    """Work."""
    return Receipt(order.id)


async def two(one: int, other: int) -> None:
    """Take too much."""


def sync(order: Order) -> Receipt:
    """Be no coroutine function."""
    return Receipt(order.id)


zart_durable()(two)  # type: ignore[arg-type]
zart_durable()(sync)  # type: ignore[arg-type]
zart_durable("sell", on_failure=refund)(checkout)  # type: ignore[arg-type]
zart_durable("x", timeout=[1])  # type: ignore[call-overload]
zart_durable("x", on_failure=sync)  # type: ignore[arg-type]


async def client(client: DurableScheduler) -> None:
    """Use the client wrongly."""
    await client.start_for(Checkout, "x", "o")  # type: ignore[misc]
    await client.start_for(sell, "x", "o")  # type: ignore[misc]
    await client.start_for(sell, "x")  # type: ignore[call-arg]
    await client.start_for(tick, "x", 1)  # type: ignore[misc]
    await client.start_for(sell.fn, "x", Order("o"))  # type: ignore[arg-type]
    found: str = await client.wait_for(Checkout, "x", "1s")  # type: ignore[arg-type]
    other: str = await client.wait_for(sell, "x", "1s")  # type: ignore[arg-type]
    number: str = await client.start_and_wait_for(tick, "x", None, "1s")  # type: ignore[arg-type]
    await sell(Order("o"))  # type: ignore[operator]
    print(found, other, number)


async def charge(order_id: str, amount: int, currency: str = "EUR") -> Receipt:
    """Return a result asynchronously."""
    return Receipt(order_id)


def count(text: str) -> int:
    """Return a result from a thread."""
    return len(text)


async def write(connection: Any, text: str) -> int:
    """Write to the storage's own database."""
    return len(text)


async def steps(ctx: TaskContext) -> None:
    """Ask for steps wrongly."""
    await ctx.step("s", charge, "o", "1")  # type: ignore[arg-type, call-arg]
    await ctx.step("s", charge, "o")  # type: ignore[arg-type]
    await ctx.step("s", charge, "o", 1, "CHF", 4)  # type: ignore[arg-type, call-arg]
    await ctx.step("s", count, 1)  # type: ignore[arg-type]
    await ctx.step("s", charge("o", 1))  # type: ignore[call-overload]
    await ctx.step("s", count, "x", timeout=[1])  # type: ignore[call-overload]
    await ctx.step("s", count, text="x")  # type: ignore[call-overload]
    await ctx.step_with_retry("s", count, "x")  # type: ignore[call-overload]
    await zart.z_step("s", count, 1)  # type: ignore[arg-type]
    await zart.z_step_with_retry("s", count, 1)  # type: ignore[arg-type]
    await zart.z_step_with_retry("s", count, "x", backoff="fibonacci")  # type: ignore[call-overload]
    await ctx.transaction("t", write, 1)  # type: ignore[arg-type]
    await zart.transaction("t", count)  # type: ignore[arg-type]
    text: str = await ctx.step("s", count, "x")  # type: ignore[arg-type]
    receipt: int = await zart.z_step("s", charge, "o", 1)  # type: ignore[arg-type, call-arg]
    print(text, receipt)


@zart_step("charge-{order_id}", retry=RetryConfig.fixed(3, "1s"))
async def charging(order_id: str, amount: int) -> Receipt:
    """Return a result asynchronously."""
    return Receipt(order_id)


zart_step()  # type: ignore[call-overload]
zart_step("s", retry=3)  # type: ignore[call-overload]
zart_step("s", timeout_scope="each")  # type: ignore[call-overload]


async def step_objects() -> None:
    """Make steps wrongly."""
    charging("o")  # type: ignore[call-arg]
    charging("o", "1")  # type: ignore[arg-type]
    charging("o", 1, currency="CHF")  # type: ignore[call-arg]
    Step.of("s", count, 1)  # type: ignore[arg-type]
    Step.of("s")  # type: ignore[call-overload]
    text: str = await charging("o", 1)  # type: ignore[assignment]
    some: int = await zart.step_or(charging("o", 1), None)  # type: ignore[arg-type]
    await zart.require(charging)  # type: ignore[arg-type]
    await asyncio.create_task(charging)  # type: ignore[arg-type]
    await asyncio.wait([charging("o", 1)])  # type: ignore[type-var]
    await zart.require(count)  # type: ignore[arg-type]
    await zart.wait([charging("o", 1)])  # type: ignore[arg-type]
    print(text, some)


async def events(ctx: TaskContext) -> None:
    """Ask for events wrongly."""
    order: Order = await ctx.wait_for_event("e", Receipt)  # type: ignore[assignment]
    other: Order = await zart.wait_for_event("e", Receipt)  # type: ignore[assignment]
    third: Order = await zart.z_wait_event("e", Receipt)  # type: ignore[assignment]
    await zart.wait_for_event("e", Receipt, timeout=[])  # type: ignore[call-overload]
    await zart.sleep_until("s", "tomorrow")  # type: ignore[arg-type]
    number: int = await zart.now("n")  # type: ignore[assignment]
    print(order, other, third, number)
