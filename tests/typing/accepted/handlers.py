"""What users write, and the types that checkers must find in it: handlers, the client, and functions as both."""

from typing import assert_type

from attrs import frozen

import zart
from zart import DurableScheduler, ExecutionFailure, ExecutionHandle, Registry, TaskContext, TaskHandler, zart_durable
from zart.testing import Harness, replay_check


@frozen
class Order:
    """An input."""

    id: str


@frozen
class Receipt:
    """An output."""

    payment: str


class Checkout(TaskHandler[Order, Receipt]):
    """A handler as a class, with something that it depends on."""

    name = "checkout"
    max_retries = 3
    timeout = "3d"
    queue = "slow"
    raises = (ValueError, KeyError)

    def __init__(self, bank: str) -> None:
        self.bank = bank

    async def run(self, ctx: TaskContext, data: Order) -> Receipt:
        """Work."""
        return Receipt(data.id)

    async def on_failure(self, ctx: TaskContext, data: Order, failure: ExecutionFailure) -> Receipt:
        """Make good."""
        return Receipt(str(failure.error))


async def refund(order: Order, failure: ExecutionFailure) -> Receipt:
    """Make good, as a function."""
    return Receipt(f"{order.id}: {failure.error}")


async def give_up(order: Order, failure: ExecutionFailure) -> Receipt:
    """Fail all the same."""
    raise failure.error


@zart_durable("sell", timeout="36h", max_retries=2, raises=KeyError)
async def sell(order: Order) -> Receipt:
    """Work, as a function."""
    return Receipt(order.id)


@zart_durable("refunding", on_failure=refund)
async def refunding(order: Order) -> Receipt:
    """Work, and be made good."""
    return Receipt(order.id)


@zart_durable(on_failure=give_up)
async def giving_up(order: Order) -> Receipt:
    """Work, and fail."""
    return Receipt(order.id)


@zart_durable()
async def tick() -> int:
    """Take nothing."""
    return 1


registry = Registry([Checkout("bank"), sell, tick])


@registry.durable("registered", on_failure=refund)
async def registered(order: Order) -> Receipt:
    """Work, and be registered."""
    return Receipt(order.id)


def made(bank: str) -> TaskHandler[Order, str]:
    """Return a handler that depends on something."""

    @registry.durable("closure")
    async def closure(order: Order) -> str:
        return bank + order.id

    return closure


async def client(client: DurableScheduler) -> None:
    """Use the client."""
    order = Order("o")
    for handler in (Checkout, Checkout("bank"), sell, refunding, giving_up, registered):
        assert_type(await client.wait_for(handler, "x", "1s"), Receipt)
    assert_type(await client.start_for(Checkout, "x", order), ExecutionHandle[Receipt])
    assert_type(await client.start_for(Checkout("bank"), "x", order, delay="1s"), ExecutionHandle[Receipt])
    assert_type(await client.start_for(sell, "x", order), ExecutionHandle[Receipt])
    assert_type(await client.start_for(refunding, "x", order), ExecutionHandle[Receipt])
    assert_type(await client.start_for(registered, "x", order), ExecutionHandle[Receipt])
    assert_type(await client.start_for(giving_up, "x", order), ExecutionHandle[Receipt])
    assert_type(await client.start_for(tick, "x", None), ExecutionHandle[int])
    assert_type(await client.start_and_wait_for(sell, "x", order, "1s"), Receipt)
    assert_type(await client.start_and_wait_for(made("bank"), "x", order, "1s"), str)
    assert_type(await (await client.start_for(sell, "x", order)).result("1s"), Receipt)
    print(await client.wait_for(tick, "x", "1s"), await client.start_and_wait_for(Checkout, "x", order, "1s"))
    wider: Receipt | None = await client.wait_for(sell, "x", "1s")
    handle: ExecutionHandle[float] = await client.start_for(tick, "x", None)
    print(wider, handle)


async def functions_stay_functions() -> None:
    """Call what was decorated, as a unit test does."""
    await sell.fn(Order("o"))
    await replay_check(sell, Order("o"), [("shipped", 1)])
    async with Harness([sell, Checkout("bank")]) as h:
        assert_type(await h.client.start_and_wait_for(sell, "x", Order("o"), "1s"), Receipt)
    zart.Worker(zart.InMemoryScheduler(), [sell, tick])
