"""The workflow that is measured: trivial on purpose, so that what is seen is the engine and the database."""

from collections.abc import Callable

from attrs import frozen

from zart.context import TaskContext
from zart.handler import TaskHandler


@frozen
class Order:
    """What the workflow gets."""

    steps: int
    customer: str


@frozen
class Line:
    """What every step returns."""

    number: int
    customer: str
    paid: bool


async def charge(number: int, customer: str) -> Line:
    """Do nothing, and say so in a typed value."""
    return Line(number, customer, paid=True)


def unheard() -> None:
    """Hear that something has happened, and leave it at that."""


@frozen
class Sequential(TaskHandler[Order, Line]):
    """Steps one after the other; tells when a body begins."""

    began: Callable[[], None] = unheard

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Charge so many lines."""
        self.began()
        line = Line(0, data.customer, paid=False)
        for number in range(data.steps):
            line = await ctx.step(f"charge-{number}", charge, number, data.customer)
        return line
