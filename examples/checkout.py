"""A checkout: charge the card, send the receipt, wait for the parcel; and give the money back when it cannot be sent.

Run it alone with `python examples/checkout.py`, or serve it with `zart worker --app examples.checkout:registry`.
"""

import asyncio
import tempfile
from decimal import Decimal

from attrs import define, field, frozen

from zart import (
    DurableScheduler,
    ExecutionFailed,
    ExecutionFailure,
    Registry,
    RetryConfig,
    StepFailure,
    TaskContext,
    TaskHandler,
    Worker,
    connect,
)


@frozen
class Order:
    """What the customer wants."""

    id: str
    card: str
    total: Decimal


@frozen
class Shipment:
    """What the warehouse reports; without a tracking number it could not send the parcel."""

    tracking: str | None


@frozen
class Receipt:
    """How the order ended."""

    order: str
    paid: Decimal
    tracking: str | None = None


class CardDeclined(Exception):
    """The bank said no: a decision, not a fault, so it is never retried."""


class NotShipped(Exception):
    """The warehouse could not send the parcel."""


@define
class Shop:
    """The world outside. A payment carries the order's id, so that the bank recognises a repeated call."""

    charges: dict[str, Decimal] = field(factory=dict)
    letters: list[str] = field(factory=list)

    async def charge(self, order: Order) -> str:
        """Take the money."""
        if order.card.startswith("0"):
            raise CardDeclined(f"card {order.card} is not valid")
        self.charges[order.id] = order.total
        return f"payment for {order.id}"

    async def refund(self, order_id: str) -> Decimal:
        """Give the money back."""
        return self.charges.pop(order_id)

    async def write(self, text: str) -> None:
        """Send the customer a letter."""
        self.letters.append(text)


class Checkout(TaskHandler[Order, Receipt]):
    """The workflow and, in `on_failure`, its compensation, which is as durable as the workflow itself."""

    name = "checkout"
    timeout = "36h"
    raises = (CardDeclined, NotShipped)

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def run(self, ctx: TaskContext, order: Order) -> Receipt:
        """Charge, confirm, wait for the parcel."""
        retry = RetryConfig.fixed(3, "1s")
        payment = await ctx.step_with_retry("charge", retry, self.shop.charge, order, raises=CardDeclined)
        await ctx.step("receipt", self.shop.write, f"thank you: {payment}")
        shipment = await ctx.wait_for_event("shipped", Shipment, timeout="24h")
        if shipment.tracking is None:
            raise NotShipped(f"order {order.id} is out of stock")
        return Receipt(order.id, order.total, shipment.tracking)

    async def on_failure(self, ctx: TaskContext, order: Order, failure: ExecutionFailure) -> Receipt:
        """Give back what was taken; the failure is saved already, and `run` never runs again."""
        match failure:
            case StepFailure(step="charge"):
                raise failure.error  # nothing was taken: the order simply fails
            case _:
                await ctx.step("refund", self.shop.refund, order.id)
                await ctx.step("apology", self.shop.write, f"we are sorry: {failure.error}")
                return Receipt(order.id, Decimal(0))


registry = Registry([Checkout(Shop())])


async def main() -> None:
    """Run three orders: one arrives, one is out of stock, one has a bad card."""
    shop = Shop()
    handler = Checkout(shop)
    with tempfile.TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/zart.db") as scheduler, Worker(scheduler, [handler]):
            client = DurableScheduler(scheduler)
            good = await client.start_for(handler, "order-1", Order("order-1", "4242", Decimal("19.90")))
            gone = await client.start_for(handler, "order-2", Order("order-2", "4242", Decimal("5.00")))
            poor = await client.start_for(handler, "order-3", Order("order-3", "0000", Decimal("7.50")))
            await good.send("shipped", Shipment("PARCEL-1"))
            await gone.send("shipped", Shipment(None))
            arrived, refunded = await good.result("30s"), await gone.result("30s")
            try:
                declined = f"not at all: {await poor.result('30s')}"
            except ExecutionFailed as failed:
                declined = str(failed.failure.error)
    print(f"order-1 was paid with {arrived.paid} and is on its way as {arrived.tracking}")
    print(f"order-2 was charged and refunded; the last letter says: {shop.letters[-1]}")
    print(f"order-3 was declined: {declined}")
    as_it_should_be = (
        arrived == Receipt("order-1", Decimal("19.90"), "PARCEL-1")
        and refunded == Receipt("order-2", Decimal(0))
        and shop.charges == {"order-1": Decimal("19.90")}
        and declined == "card 0000 is not valid"
    )
    if not as_it_should_be:
        raise SystemExit(f"not as it should be: {arrived}, {refunded}, {declined}, {shop}")


if __name__ == "__main__":
    asyncio.run(main())
