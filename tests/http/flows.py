"""Handlers that the tests of the HTTP API start."""

import asyncio

from attrs import frozen

from zart import Registry, TaskContext, TaskHandler


@frozen
class Order:
    """An input with fields."""

    dataset: str
    rows: int = 1


@frozen
class Approval:
    """An event with fields."""

    approved: bool


class Pipeline(TaskHandler[Order, dict[str, int]]):
    """Does a step, waits to be approved, does another."""

    name = "pipeline"

    async def run(self, ctx: TaskContext, order: Order) -> dict[str, int]:
        await ctx.step("extract", lambda: order.rows)
        approval = await ctx.wait_for_event("approval", Approval, name="await-approval")
        written = await ctx.step("load", lambda: order.rows * 2 if approval.approved else 0)
        return {"rows_written": written}


class Fails(TaskHandler[None, None]):
    """Fails at once."""

    name = "fails"

    async def run(self, ctx: TaskContext, _: None) -> None:
        await ctx.step("break", _broken)


def _broken() -> None:
    raise LookupError("no such table")


class Strange(TaskHandler[None, float]):
    """Returns what JSON cannot say."""

    name = "strange"

    async def run(self, ctx: TaskContext, _: None) -> float:
        return float("nan")


class Endless(TaskHandler[None, None]):
    """Runs until cancelled."""

    name = "endless"

    async def run(self, ctx: TaskContext, _: None) -> None:
        await ctx.step("run", asyncio.Event().wait, returns=bool)


HANDLERS = (Pipeline(), Fails(), Strange(), Endless())
registry = Registry(HANDLERS)
