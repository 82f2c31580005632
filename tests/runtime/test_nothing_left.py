"""What an execution leaves in memory when its claim is over: nothing that waits for the garbage collector."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from zart import EventTimeout, RetryConfig, Step, StepFailed, TaskContext, TaskHandler
from zart.stage import Stage
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


async def captured(ctx: TaskContext) -> int:
    return await ctx.capture("a", lambda: 1)


async def retried(ctx: TaskContext) -> int:
    calls = count()

    async def second_time() -> int:
        if not next(calls):
            raise ValueError("not yet")
        return 1

    return await ctx.step("a", second_time, retry=RetryConfig.fixed(1, "1s"))


async def given_up(ctx: TaskContext) -> int:
    waiting = asyncio.create_task(ctx.wait_for_event("e", type=int))
    await ctx.step("a", number)
    waiting.cancel()
    return await ctx.step("b", number)


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


ALL_WELL: list[Body] = [in_a_row, side_by_side, in_tasks, scheduled, captured, retried, given_up]
BODIES: list[Body] = [*ALL_WELL, failing, caught, too_late, parked, raising]


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


async def waited() -> int:
    await asyncio.sleep(0)
    return 1


async def waiting(ctx: TaskContext) -> int:
    return sum(await asyncio.gather(ctx.step("a", waited), ctx.step("b", waited)))


@pytest.mark.parametrize("body", [side_by_side, waiting])
async def test_whoever_rests_keeps_nothing_of_what_has_ended(body: Body) -> None:
    handler = Bodily(body)
    before = [each for each in gc.get_objects() if type(each) is Stage]  # what other tests have left
    async with Harness([handler]) as harness:
        await asyncio.gather(*(harness.client.start_for(handler, str(number), None) for number in range(10)))
        await harness.run_to_idle()
        gc.collect()
        known = set(map(id, before))
        new = [each for each in gc.get_objects() if type(each) is Stage and id(each) not in known]
        assert len(new) <= 1  # the last one may be somebody's still
