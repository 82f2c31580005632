"""The workflows that are measured beside the one of `zart bench`: as trivial as that."""

import asyncio
from collections.abc import Callable

from attrs import frozen

from zart import TaskContext, TaskHandler
from zart.cli.bench.flow import Line, Order, charge, unheard

PAUSE = 0.02


def _no_step(number: int) -> None:
    """Hear of a step, and leave it at that."""


@frozen
class Fan(TaskHandler[Order, Line]):
    """All steps at once."""

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Charge so many lines."""
        steps = (ctx.step(f"charge-{number}", charge, number, data.customer) for number in range(data.steps))
        lines = await asyncio.gather(*steps)
        return lines[-1]


@frozen
class Long(TaskHandler[Order, Line]):
    """Steps one after the other; tells of each as it is called."""

    called: Callable[[int], None] = _no_step

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Charge so many lines."""
        line = Line(0, data.customer, paid=False)
        for number in range(data.steps):
            line = await ctx.step(f"charge-{number}", self._charge, number, data.customer)
        return line

    async def _charge(self, number: int, customer: str) -> Line:
        self.called(number)
        return await charge(number, customer)


@frozen
class Paused(TaskHandler[Order, Line]):
    """Steps that wait for the world outside; tells when a body begins and ends."""

    began: Callable[[], None] = unheard
    ended: Callable[[], None] = unheard

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Charge so many lines, slowly."""
        self.began()
        line = Line(0, data.customer, paid=False)
        for number in range(data.steps):
            line = await ctx.step(f"charge-{number}", self._charge, number, data.customer)
        self.ended()
        return line

    async def _charge(self, number: int, customer: str) -> Line:
        await asyncio.sleep(PAUSE)
        return await charge(number, customer)


@frozen
class Shipped(TaskHandler[Order, Line]):
    """Waits for an event, then takes a step; tells when that begins."""

    went_on: Callable[[], None] = unheard

    async def run(self, ctx: TaskContext, data: Order) -> Line:
        """Wait, and charge."""
        number = await ctx.wait_for_event("shipped", int)
        return await ctx.step("charge", self._charge, number, data.customer)

    async def _charge(self, number: int, customer: str) -> Line:
        self.went_on()
        return await charge(number, customer)
