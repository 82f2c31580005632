"""The workflows that are measured: trivial on purpose, so that what is seen is the engine."""

import asyncio
import time

from attrs import frozen

from zart import TaskContext, TaskHandler


@frozen
class Order:
    """What every workflow here gets."""

    steps: int
    customer: str


@frozen
class Line:
    """What every step here returns."""

    number: int
    customer: str
    paid: bool


async def charge(number: int, customer: str) -> Line:
    """Do nothing, and say so in a typed value."""
    return Line(number, customer, paid=True)


class Sequential(TaskHandler[Order, Line]):
    """Steps one after the other."""

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Charge so many lines."""
        line = Line(0, data.customer, paid=False)
        for number in range(data.steps):
            line = await ctx.step(f"charge-{number}", charge, number, data.customer)
        return line


class Timed(TaskHandler[Order, Line]):
    """The same; notes when each step began, and can be held at one."""

    def __init__(self, hold_at: int | None = None) -> None:
        self.began: list[float] = []
        self.hold_at = hold_at
        self.held = asyncio.Event()

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Charge so many lines, looking at the clock."""
        line = Line(0, data.customer, paid=False)
        for number in range(data.steps):
            line = await ctx.step(f"charge-{number}", self._charge, number, data.customer)
        return line

    async def _charge(self, number: int, customer: str) -> Line:
        self.began.append(time.perf_counter())
        if number == self.hold_at:
            self.held.set()
            await asyncio.Event().wait()
        return await charge(number, customer)


class Shipped(TaskHandler[Order, Line]):
    """Waits for an event, then takes a step; notes when that began."""

    def __init__(self) -> None:
        self.went_on = asyncio.Event()
        self.at = 0.0

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Wait, and charge."""
        number = await ctx.wait_for_event("shipped", int)
        return await ctx.step("charge", self._charge, number, data.customer)

    async def _charge(self, number: int, customer: str) -> Line:
        self.at = time.perf_counter()
        self.went_on.set()
        return await charge(number, customer)
