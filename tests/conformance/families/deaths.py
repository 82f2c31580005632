"""Death between every pair of round trips. Beside these, every scenario that can bear it is played with deaths at each save."""

import asyncio
import gc
import weakref
from typing import Any

from tests.conformance.compositions import said
from tests.conformance.families.step import failing
from tests.conformance.ladder import LINES, OUTPUT, SAVES, ladder
from tests.conformance.language import AtSave, Completed, Crash, CrashIn, Event, Failed, Leave, Sees, family
from zart import RetryConfig, TaskContext, WorkerConfig

FAMILY = "death between every pair of round trips"
scenario, inapplicable = family(FAMILY)

for number in range(1, len(SAVES) + 1):
    for mark, when, why in (("a", "before", "has arrived"), ("b", "after", "is answered")):
        scenario(
            f"B-{number}{mark}",
            f"the worker dies when save {number} {'is sent, before it' if mark == 'a' else 'is stored, before it'} {why}",
            story=[AtSave(number, Crash(), when)],
            expect=LINES,
            end=Completed(OUTPUT),
        )(ladder)


@scenario(
    "B-7",
    "steps, retries, branches, events and timers in one body, with two deaths at each save",
    story=[Event("go", 1)],
    expect=[
        "step first = 1",
        "step flaky attempt 1 failed: <*>Transient: no, next in 1m",
        'step flaky = "done"',
        'step left = "l"',
        'step right = "r"',
        "event go takes mail 1 = 1",
        "sleep pause begins, due in 1h",
        "sleep pause is over",
        "uuid id = <*>",
    ],
    end=Completed([1, "done", ["l", "r"], 1]),
    unordered=True,
)
async def everything(ctx: TaskContext, data: None) -> Any:
    first = await ctx.step("first", said(1), returns=int)
    flaky = await ctx.step_with_retry("flaky", RetryConfig.fixed(1, "1m"), failing(1), returns=str)
    both = await asyncio.gather(ctx.step("left", said("l"), returns=str), ctx.step("right", said("r"), returns=str))
    event = await ctx.wait_for_event("go", int)
    await ctx.sleep("pause", "1h")
    await ctx.uuid("id")
    return [first, flaky, list(both), event]


async def makes_good(ctx: TaskContext, data: Any, failure: Any) -> str:
    """Make good, with a step whose name the body has used too."""
    value = await ctx.step("a", said(10), returns=int)
    await ctx.sleep("pause", "5m")
    return f"made good {value}"


@scenario(
    "B-8",
    "what makes good a failure is as durable as the body, and its steps have names of their own",
    expect=[
        "step a = 1",
        "step b failed: <*>ValueError: no",
        "body failed: <*>ValueError: no",
        "step a = 10",
        "sleep pause begins, due in 5m",
        "sleep pause is over",
    ],
    end=Completed("made good 10"),
    on_failure=makes_good,
)
async def compensated(ctx: TaskContext, data: None) -> Any:
    async def breaks() -> Any:
        raise ValueError("no")

    await ctx.step("a", said(1), returns=int)
    return await ctx.step("b", breaks)


@scenario(
    "B-9",
    "an execution that brings three workers down in a row fails, and says which",
    story=[CrashIn("kills", times=3)],
    expect=[],
    end=Failed("TaskError: crash loop: 3 workers died over it without a saved step: <*>"),
    config=WorkerConfig(lease="3s", heartbeat_interval="1s", max_crashes=3),
)
async def poison(ctx: TaskContext, data: None) -> Any:
    return await ctx.step("kills", said(1), returns=int)


@scenario(
    "B-10",
    "deaths count in a row: a saved step forgives those before it",
    story=[CrashIn("one", times=2), CrashIn("two", times=2)],
    expect=["step one = 1", "step two = 2"],
    end=Completed([1, 2]),
    config=WorkerConfig(lease="3s", heartbeat_interval="1s", max_crashes=3),
)
async def forgiven(ctx: TaskContext, data: None) -> Any:
    return [await ctx.step("one", said(1), returns=int), await ctx.step("two", said(2), returns=int)]


@scenario(
    "B-11",
    "a worker that leaves in good order hands back what waits, and nothing counts",
    story=[Leave(), Sees("waiting", ("pause",)), Leave()],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)
async def leaving(ctx: TaskContext, data: None, play: Any) -> Any:
    return await ladder(ctx, data, play)


@scenario(
    "B-12",
    "a failed body runs again; what it had saved stays, the failure that ended it is reopened",
    expect=[
        "step good = 1",
        "step bad failed: <*>ValueError: no",
        "body attempt 1 failed: <*>ValueError: no, next in 1m, reopens bad",
        'step bad = "done"',
    ],
    end=Completed([1, "done"]),
    retry=RetryConfig.fixed(1, "1m"),
)
async def second_attempt(ctx: TaskContext, data: None) -> Any:
    async def bad() -> str:
        if ctx.info.current_attempt == 0:
            raise ValueError("no")
        return "done"

    return [await ctx.step("good", said(1), returns=int), await ctx.step("bad", bad)]


@scenario(
    "B-13",
    "work that nothing but its own frame refers to is not collected as garbage",
    expect=["step waits = 1"],
    end=Completed(1),
)
async def uncollected(ctx: TaskContext, data: None) -> Any:
    async def waits() -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        known = weakref.ref(future)

        def collect() -> None:
            gc.collect()
            if (alive := known()) is not None:
                alive.set_result(1)

        loop.call_soon(lambda: loop.call_soon(collect))
        return await future

    return await ctx.step("waits", waits)
