"""What an execution leaves in memory when its claim is over: nothing that waits for the garbage collector."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from zart import EventTimeout, Step, StepFailed, TaskContext, TaskHandler
from zart.testing import Harness

Body = Callable[[TaskContext], Awaitable[int]]


async def number() -> int:
    return 1


async def refuse() -> int:
    raise ValueError("no")


async def in_a_row(ctx: TaskContext) -> int:
    return await ctx.step("a", number) + await ctx.step("b", number)


async def side_by_side(ctx: TaskContext) -> int:
    return sum(await asyncio.gather(ctx.step("a", number), ctx.step("b", number)))


async def in_tasks(ctx: TaskContext) -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ctx.step(name, number)) for name in "ab"]
    return sum(task.result() for task in tasks)


async def scheduled(ctx: TaskContext) -> int:
    [outcome] = await ctx.wait([ctx.schedule(Step.of("a", number))])
    return outcome.unwrap()


async def failing(ctx: TaskContext) -> int:
    return await ctx.step("a", refuse)


async def caught(ctx: TaskContext) -> int:
    try:
        return await ctx.step("a", refuse)
    except StepFailed:
        return 0


async def too_late(ctx: TaskContext) -> int:
    try:
        return await ctx.wait_for_event("e", type=int, timeout="1m")
    except EventTimeout:
        return 0


async def parked(ctx: TaskContext) -> int:
    return await ctx.wait_for_event("e", type=int)


async def raising(ctx: TaskContext) -> int:
    raise ValueError("no")


class Bodily(TaskHandler[None, int]):
    """Does what it is given."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def run(self, ctx: TaskContext, data: None) -> int:
        return await self.body(ctx)


BODIES: list[Body] = [in_a_row, side_by_side, in_tasks, scheduled, failing, caught, too_late, parked, raising]


@pytest.mark.parametrize("body", BODIES)
async def test_a_claim_that_is_over_leaves_no_circles(body: Body) -> None:
    handler = Bodily(body)
    async with Harness([handler]) as harness:
        await harness.client.start_for(handler, "first", None)  # for what is made once
        await harness.advance("2m")
        gc.collect()
        gc.disable()
        try:
            await harness.client.start_for(handler, "second", None)
            await harness.advance("2m")
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = Counter(type(each).__qualname__ for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not left
